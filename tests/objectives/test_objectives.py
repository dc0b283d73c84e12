"""Objectives: sums that add up over any cut, and padding that counts nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl import metrics
from jaxdl.objectives import (
    HEADS,
    binary,
    classification,
    heads,
    losses,
    regression,
)


def forward(params, model_state, inputs, context, key):
    """A linear map that counts its calls in its model state."""
    del context, key
    outputs = inputs @ params["kernel"] + params["bias"]
    return outputs, {"calls": model_state["calls"] + 1}


def make_params(outputs):
    rng = np.random.default_rng(7)
    kernel = jnp.asarray(rng.normal(size=(4, outputs)), jnp.float32)
    return {"kernel": kernel, "bias": jnp.zeros(outputs)}


def make_batch(targets, seed=0):
    inputs = np.random.default_rng(seed).normal(size=(len(targets), 4))
    return {
        "inputs": jnp.asarray(inputs, jnp.float32),
        "targets": jnp.asarray(targets),
        "mask": jnp.ones(len(targets)),
        "position": jnp.arange(len(targets)),
    }


STATE = {"calls": 0}
OBJECTIVES = {
    "classification": (
        classification(forward, classes=3, label_smoothing=0.1),
        make_batch(np.array([0, 1, 2, 2, 1, 0])),
    ),
    "soft": (
        classification(forward),
        make_batch(np.random.default_rng(1).dirichlet(np.ones(3), 6)),
    ),
    "multilabel": (
        binary(forward, multilabel=True),
        make_batch(np.random.default_rng(2).integers(0, 2, (6, 3))),
    ),
    "regression": (
        regression(forward),
        make_batch(np.random.default_rng(3).normal(size=(6, 3))),
    ),
}


def gradient(objective, params, batch, key=None):
    def summed(params):
        (total, count), (_, measured) = objective(params, STATE, {}, batch, key, True)
        return total, (count, measured)

    run = jax.jit(jax.value_and_grad(summed, has_aux=True))
    (total, (count, measured)), grads = run(params)
    return total, count, grads, measured


@pytest.mark.parametrize("name", OBJECTIVES)
def test_sums_over_parts_are_the_sum_over_the_whole(name):
    objective, batch = OBJECTIVES[name]
    params = make_params(3)
    whole = gradient(objective, params, batch)
    parts = [
        gradient(objective, params, {k: v[a:b] for k, v in batch.items()})
        for a, b in [(0, 2), (2, 6)]
    ]
    summed = jax.tree.map(lambda *leaves: sum(leaves), *parts)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5),
        summed,
        whole,
    )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_padding_counts_nothing_whatever_it_holds(name):
    objective, batch = OBJECTIVES[name]
    params = make_params(3)
    real = gradient(objective, params, batch)
    junk = {
        "inputs": jnp.full((2, 4), jnp.nan),
        "targets": jnp.full((2, *batch["targets"].shape[1:]), -1).astype(
            batch["targets"].dtype
        ),
        "mask": jnp.zeros(2),
        "position": jnp.array([6, 7]),
    }
    padded = {k: jnp.concatenate([v, junk[k]]) for k, v in batch.items()}
    found = gradient(objective, params, padded)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, real
    )


def test_loss_pair_and_metrics_of_classification():
    objective, batch = OBJECTIVES["classification"]
    params = make_params(3)
    (total, count), (state, measured) = objective(params, STATE, {}, batch, None, False)
    logits = batch["inputs"] @ params["kernel"]
    expected = losses.cross_entropy(logits, batch["targets"])
    assert float(count) == 6
    assert float(total) == pytest.approx(float(expected.sum()), rel=1e-6)
    assert state == {"calls": 1}
    read = metrics.read(measured)
    assert read["loss"] == pytest.approx(float(expected.mean()), rel=1e-6)
    share = np.mean(np.argmax(logits, axis=1) == batch["targets"])
    assert read["accuracy"] == pytest.approx(share)


def test_labels_are_smoothed_in_training_alone():
    objective, batch = OBJECTIVES["classification"]
    params = make_params(3)
    (smoothed, _), _ = objective(params, STATE, {}, batch, None, True)
    logits = batch["inputs"] @ params["kernel"]
    expected = losses.cross_entropy(logits, batch["targets"], 0.1).sum()
    plain = losses.cross_entropy(logits, batch["targets"]).sum()
    assert float(smoothed) == pytest.approx(float(expected), rel=1e-6)
    assert abs(float(smoothed) - float(plain)) > 1e-3


def test_top5_accuracy():
    params = make_params(7)
    batch = make_batch(np.arange(6))
    _, (_, measured) = classification(forward, top5=True)(
        params, STATE, {}, batch, None, False
    )
    read = metrics.read(measured)
    logits = np.asarray(batch["inputs"] @ params["kernel"])
    best = np.argsort(-logits, axis=1)[:, :5]
    share = np.mean([t in row for t, row in zip(range(6), best, strict=True)])
    assert read["top5_accuracy"] == pytest.approx(share)


def test_metrics_of_labels_and_values():
    objective, batch = OBJECTIVES["multilabel"]
    params = make_params(3)
    read = metrics.read(objective(params, STATE, {}, batch, None, False)[1][1])
    right = (np.asarray(batch["inputs"] @ params["kernel"]) > 0) == batch["targets"]
    assert read["accuracy"] == pytest.approx(np.mean(right))
    assert read["exact_match"] == pytest.approx(np.mean(right.all(axis=1)))

    objective, batch = OBJECTIVES["regression"]
    read = metrics.read(objective(params, STATE, {}, batch, None, False)[1][1])
    error = np.asarray(batch["inputs"] @ params["kernel"] - batch["targets"])
    assert read["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-5)
    assert read["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)
    assert read["loss"] == pytest.approx((error**2).mean(), rel=1e-5)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_one_yes_or_no_has_an_output_column_or_none(seed):
    batch = make_batch(np.array([0, 1, 1, 0, 1, 0]), seed)

    def flat(params, model_state, inputs, context, key):
        outputs, model_state = forward(params, model_state, inputs, context, key)
        return outputs[:, 0], model_state

    params = make_params(1)
    column = binary(forward)(params, STATE, {}, batch, None, True)
    plain = binary(flat)(params, STATE, {}, batch, None, True)
    jax.tree.map(np.testing.assert_array_equal, column, plain)


def test_prepare_and_model_draw_from_keys_of_their_own():
    drawn = {}

    def prepare(batch, key, training):
        drawn["prepare"] = (jax.random.key_data(key).tolist(), training)
        return {**batch, "inputs": batch["inputs"] * 0}

    def model(params, model_state, inputs, context, key):
        drawn["model"] = jax.random.key_data(key).tolist()
        drawn["context"] = context
        return forward(params, model_state, inputs, context, key)

    batch = make_batch(np.array([0, 1]))
    objective = classification(model, prepare=prepare)
    key = jax.random.key(3)
    hyper = {"dropout": 0.25}
    (total, _), _ = objective(make_params(3), STATE, hyper, batch, key, True)
    assert float(total) == pytest.approx(2 * np.log(3), rel=1e-6)
    assert drawn["prepare"][1] is True
    own = jax.random.key_data(key).tolist()
    assert len({str(x) for x in (drawn["prepare"][0], drawn["model"], own)}) == 3
    assert drawn["context"].dropout == 0.25
    assert drawn["context"].training is True
    np.testing.assert_array_equal(drawn["context"].mask, batch["mask"])


def test_what_prepare_makes_of_padding_counts_nothing():
    def standardise(batch, key, training):
        inputs = batch["inputs"]
        return {**batch, "inputs": inputs / jnp.std(inputs, axis=1, keepdims=True)}

    batch = make_batch(np.array([0, 1, 2]))
    batch["mask"] = jnp.array([1.0, 1.0, 0.0])
    objective = classification(forward, prepare=standardise)
    total, count, grads, _ = gradient(objective, make_params(3), batch)
    assert float(count) == 2
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves((total, grads)))


def test_a_model_of_another_number_of_classes_is_refused():
    batch = make_batch(np.array([0, 1]))
    with pytest.raises(ValueError, match="gives 3 classes and the data has 4"):
        classification(forward, classes=4)(make_params(3), STATE, {}, batch, None, True)
    with pytest.raises(ValueError, match="label smoothing"):
        classification(forward, label_smoothing=-0.1)
    with pytest.raises(ValueError, match="unknown regression loss 'l2'.*mse, mae"):
        regression(forward, loss="l2")


@pytest.mark.parametrize("way", ["jit", "vmap"])
def test_objectives_are_pure_under_transformations(way):
    objective, batch = OBJECTIVES["classification"]
    params = make_params(3)

    def loss(scale):
        scaled = jax.tree.map(lambda x: x * scale, params)
        return objective(scaled, STATE, {}, batch, None, True)[0][0]

    scales = jnp.array([0.5, 1.0, 2.0])
    expected = [float(loss(scale)) for scale in scales]
    run = jax.vmap(loss) if way == "vmap" else lambda s: [jax.jit(loss)(x) for x in s]
    np.testing.assert_allclose(run(scales), expected, rtol=1e-6)


def test_heads_fit_their_losses():
    logits = jnp.array([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]])
    probabilities = HEADS["multiclass"].activation(logits)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-6)
    rows = HEADS["multiclass"].encode([0, 1], 3)
    loss = HEADS["multiclass"].loss(logits, jnp.asarray(rows))
    by_hand = -np.log(np.asarray(probabilities)[[0, 1], [0, 1]])
    np.testing.assert_allclose(loss, by_hand, rtol=1e-5)

    rows = HEADS["multilabel"].encode([[0, 2], []], 3)
    np.testing.assert_array_equal(rows, [[1, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(HEADS["binary"].encode([0, 1, 1], 2), [0, 1, 1])
    half = HEADS["binary"].activation(jnp.zeros(1))
    np.testing.assert_array_equal(half, [0.5])
    values = HEADS["regression"].encode([1, 2.5])
    np.testing.assert_array_equal(HEADS["regression"].activation(values), [1, 2.5])


def test_labels_that_are_no_class_are_refused():
    with pytest.raises(ValueError, match="label 3 is none of the 3 classes"):
        heads.one_hot([0, 3], 3)
    with pytest.raises(ValueError, match="label -1 is none"):
        heads.k_hot([[0], [-1]], 3)
