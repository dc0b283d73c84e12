"""Losses: figures of the textbooks, equalities, gradients against differences."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from jaxdl.objectives import losses

few = settings(max_examples=15, deadline=None)

# The running example of "Deep Learning from Scratch", chapter 4; class 2 is true.
PROBABILITIES = jnp.array([[0.1, 0.05, 0.6, 0.0, 0.05, 0.1, 0.0, 0.1, 0.0, 0.0]])
TRUTH = jnp.array([2])


def draw(seed, classes=5, batch=4):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(batch, classes)) * 3
    return jnp.asarray(logits, jnp.float32), jnp.asarray(
        rng.integers(0, classes, batch)
    )


def test_textbook_figures():
    rows = jax.nn.one_hot(TRUTH, 10)
    assert float(losses.sum_squared_error(PROBABILITIES, rows)[0]) == pytest.approx(
        0.0975, abs=1e-6
    )
    logits = jnp.log(PROBABILITIES)  # minus infinity where a class is impossible
    assert float(losses.cross_entropy(logits, TRUTH)[0]) == pytest.approx(
        0.5108, abs=5e-5
    )
    assert float(losses.cross_entropy(logits, rows)[0]) == pytest.approx(
        0.5108, abs=5e-5
    )
    softmax = jax.nn.softmax(jnp.array([0.3, 2.9, 4.0]))
    np.testing.assert_allclose(softmax, [0.018, 0.245, 0.737], atol=5e-4)


def test_a_net_that_knows_nothing_of_ten_classes_costs_log_ten():
    logits, targets = draw(0, classes=10, batch=500)
    assert float(losses.cross_entropy(logits * 1e-3, targets).mean()) == pytest.approx(
        2.303, abs=2e-3
    )


@few
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.1, 0.5]))
def test_integer_and_one_hot_targets_are_one_loss(seed, smoothing):
    logits, targets = draw(seed)
    rows = jax.nn.one_hot(targets, 5)
    sparse = losses.cross_entropy(logits, targets, smoothing)
    dense = losses.cross_entropy(logits, rows, smoothing)
    np.testing.assert_allclose(sparse, dense, rtol=1e-6, atol=1e-6)
    smoothed = optax.smooth_labels(rows, smoothing)
    reference = optax.softmax_cross_entropy(logits, smoothed)
    np.testing.assert_allclose(sparse, reference, rtol=1e-5, atol=1e-6)


def test_cross_entropy_equals_scikit_learn():
    logits, targets = draw(3, batch=50)
    powers = np.exp(np.asarray(logits, np.float64))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    theirs = sklearn.metrics.log_loss(targets, probabilities, labels=range(5))
    ours = float(losses.cross_entropy(logits, targets).mean())
    assert ours == pytest.approx(theirs, rel=1e-5)


@few
@given(st.integers(0, 2**32 - 1), st.floats(-1e4, 1e4))
def test_cross_entropy_does_not_see_a_shift_of_logits(seed, shift):
    logits, targets = draw(seed)
    shifted = losses.cross_entropy(logits + jnp.float32(shift), targets)
    plain = losses.cross_entropy(logits, targets)
    # Adding the shift itself rounds logits to its last bit.
    np.testing.assert_allclose(shifted, plain, rtol=1e-5, atol=4e-7 * (10 + abs(shift)))


def test_logits_of_any_size_are_safe():
    logits = jnp.array([[1e30, 0.0], [-1e30, 0.0]])
    loss, gradient = jax.value_and_grad(
        lambda z: losses.cross_entropy(z, jnp.array([0, 1])).sum()
    )(logits)
    assert float(loss) == 0.0
    assert bool(jnp.isfinite(gradient).all())
    extreme = losses.binary_cross_entropy(jnp.array([1e4, -1e4]), jnp.array([0.0, 0.0]))
    np.testing.assert_allclose(extreme, [1e4, 0.0])


@few
@given(st.integers(0, 2**32 - 1))
def test_gradient_of_cross_entropy_is_probability_minus_target(seed):
    logits, targets = draw(seed)
    gradient = jax.grad(lambda z: losses.cross_entropy(z, targets).sum())(logits)
    expected = jax.nn.softmax(logits) - jax.nn.one_hot(targets, 5)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


@few
@given(st.integers(0, 2**32 - 1))
def test_binary_cross_entropy_is_that_of_two_classes(seed):
    logits, _ = draw(seed, classes=1, batch=8)
    targets = jnp.arange(8) % 2
    pairs = jnp.concatenate([jnp.zeros_like(logits), logits], axis=1)
    two = losses.cross_entropy(pairs, targets)
    for shape in (logits, logits[:, 0]):
        one = losses.binary_cross_entropy(shape, targets)
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


def test_labels_are_averaged_in_binary_cross_entropy():
    logits, _ = draw(0, classes=3)
    targets = jnp.array([[0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]])
    each = [losses.binary_cross_entropy(logits[:, i], targets[:, i]) for i in range(3)]
    ours = losses.binary_cross_entropy(logits, targets)
    np.testing.assert_allclose(ours, np.mean(each, axis=0), rtol=1e-6)


def test_errors_of_values():
    outputs, targets = jnp.array([[1.0, 5.0]]), jnp.array([[0.5, 2.0]])
    assert float(losses.mse(outputs, targets)[0]) == pytest.approx((0.25 + 9) / 2)
    assert float(losses.mse(outputs, targets, half=True)[0]) == pytest.approx(9.25 / 4)
    assert float(losses.mae(outputs, targets)[0]) == pytest.approx(1.75)
    assert float(losses.huber(outputs, targets)[0]) == pytest.approx((0.125 + 2.5) / 2)
    reference = optax.huber_loss(outputs, targets, delta=0.7).mean()
    assert float(losses.huber(outputs, targets, 0.7)[0]) == pytest.approx(
        float(reference)
    )


NUMERIC = {
    "cross_entropy": lambda z, _: losses.cross_entropy(z, jnp.array([0, 2, 1])),
    "smoothed": lambda z, _: losses.cross_entropy(z, jnp.array([0, 2, 1]), 0.1),
    "soft": lambda z, t: losses.cross_entropy(z, jax.nn.softmax(t)),
    "binary": lambda z, t: losses.binary_cross_entropy(z, jax.nn.sigmoid(t)),
    "mse": losses.mse,
    "half_mse": lambda z, t: losses.mse(z, t, half=True),
    "sum": losses.sum_squared_error,
    "mae": losses.mae,
    "huber": losses.huber,
    "l2": lambda z, _: losses.l2({"kernel": z}, 0.3),
    "l1": lambda z, _: losses.l1({"kernel": z}, 0.3),
}


@pytest.mark.parametrize("name", NUMERIC)
def test_gradients_equal_differences(name):
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        z, t = (jnp.asarray(rng.normal(size=(3, 4))) for _ in range(2))

        def function(z):
            return NUMERIC[name](z, t).sum()

        assert function(z).dtype == jnp.float64
        check_grads(function, (z,), order=1, modes=["rev"], rtol=1e-6, atol=1e-7)


def test_partial_derivatives_of_a_sum_of_squares():
    gradient = jax.grad(lambda x: jnp.sum(x**2))
    for point, expected in [((3, 4), (6, 8)), ((0, 2), (0, 4)), ((3, 0), (6, 0))]:
        np.testing.assert_array_equal(gradient(jnp.array(point, jnp.float32)), expected)


PARAMS = {
    "Dense_0": {"kernel": jnp.full((2, 3), 2.0), "bias": jnp.full(3, 9.0)},
    "norm": {"scale": jnp.full(3, 9.0)},
}


def test_penalties_spare_biases_and_norms():
    assert float(losses.l2(PARAMS, 0.1)) == pytest.approx(0.05 * 6 * 4)
    assert float(losses.l1(PARAMS, 0.1)) == pytest.approx(0.1 * 6 * 2)
    gradient = jax.grad(losses.l2)(PARAMS, 0.1)
    np.testing.assert_allclose(gradient["Dense_0"]["kernel"], 0.1 * 2.0)
    np.testing.assert_array_equal(gradient["Dense_0"]["bias"], 0.0)
    np.testing.assert_array_equal(gradient["norm"]["scale"], 0.0)


def test_masked_examples_count_nothing():
    total, count = losses.total(jnp.array([1.0, jnp.nan]), jnp.array([1.0, 0.0]))
    assert (float(total), float(count)) == (1.0, 1.0)


def test_half_precision_is_raised():
    logits = jnp.array([[10.0, 10.01]], jnp.bfloat16)
    assert losses.cross_entropy(logits, jnp.array([0])).dtype == jnp.float32


def test_classes_that_are_none_give_nan():
    loss = losses.cross_entropy(jnp.zeros((3, 4)), jnp.array([-1, 4, 0]))
    np.testing.assert_array_equal(jnp.isnan(loss), [True, True, False])


def test_arguments_that_do_not_fit_are_refused():
    logits = jnp.zeros((4, 3))
    with pytest.raises(ValueError, match=r"\(4, 1\).*do not fit logits.*\(4, 3\)"):
        losses.cross_entropy(logits, jnp.zeros((4, 1), jnp.int32))
    with pytest.raises(ValueError, match="float32 do not fit"):
        losses.cross_entropy(logits, jnp.zeros(4))
    with pytest.raises(ValueError, match="of one shape"):
        losses.mse(logits, jnp.zeros((4, 2)))
    with pytest.raises(ValueError, match="label smoothing .* got 1.0"):
        losses.cross_entropy(logits, jnp.zeros(4, jnp.int32), 1.0)
    with pytest.raises(ValueError, match="above 0, got 0"):
        losses.huber(logits, logits, 0.0)
