"""The step: sums over examples, and options that compose."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import objectives, optimizers, train
from tests.train import problems
from tests.train.problems import assert_close, batch, bits, state, step


def run(function, first, steps=3, feed=batch):
    compiled = jax.jit(function)
    metrics = None
    for number in range(steps):
        first, metrics = compiled(first, feed(number))
    return first, metrics


def gradient(first, **options):
    """The mean gradient a step applies: under plain SGD of rate 1, what it moved."""
    unit = first.replace(hyper={**first.hyper, "learning_rate": jnp.asarray(1.0)})
    moved, _ = jax.jit(step(**options))(unit, batch())
    return jax.tree.map(lambda a, b: a - b, first.params, moved.params)


def test_loss_falls():
    first = state()
    _, early = run(step(), first, 1)
    _, late = run(step(), first, 40)
    assert late["loss"].total < 0.7 * early["loss"].total


@pytest.mark.parametrize("parts", [2, 3, 4, 6, 12])
def test_microbatches_add_up_to_the_batch_with_dropout(parts):
    """Keys belong to examples, so even the dropout masks are those of the batch."""
    assert_close(gradient(state(), accumulate_steps=parts), gradient(state()), 2e-5)


def test_microbatches_of_unequal_weight_add_up():
    """Masks leave unequal counts in the microbatches; padding may be NaN."""
    padded = batch()
    padded["mask"][[0, 2, 4, 6, 8]] = 0.0
    padded["inputs"][padded["mask"] == 0] = np.nan
    whole, _ = jax.jit(step())(state(), padded)
    parts, metrics = jax.jit(step(accumulate_steps=2))(state(), padded)
    assert_close(parts.params, whole.params, 2e-5)
    assert float(metrics["loss"].count) == 7


def test_microbatches_that_do_not_divide_say_so():
    with pytest.raises(ValueError, match="12 examples do not divide into 5"):
        step(accumulate_steps=5)(state(), batch())


def test_padding_changes_nothing():
    short = {k: v[:8] for k, v in batch().items()}
    padded = batch()
    padded["mask"][8:] = 0.0
    padded["inputs"][8:] = np.inf
    one, _ = jax.jit(step())(state(), short)
    two, _ = jax.jit(step())(state(), padded)
    assert_close(one.params, two.params)


def test_a_batch_of_padding_moves_nothing():
    empty = {**batch(), "mask": np.zeros(problems.BATCH, np.float32)}
    moved, _ = jax.jit(step())(state(), empty)
    assert bits(moved.params) == bits(state().params)


def test_clipping_bounds_the_norm_and_keeps_the_direction():
    free, clipped = gradient(state()), gradient(state(), clip_norm=0.01)
    assert float(optax.tree.norm(clipped)) == pytest.approx(0.01, rel=1e-3)
    factor = 0.01 / float(optax.tree.norm(free))
    assert_close(clipped, jax.tree.map(lambda g: g * factor, free), 1e-2, 1e-6)


def test_penalty_adds_its_own_gradient_and_stands_apart_from_the_loss():
    def penalty(params, hyper):
        return objectives.losses.l2(params, 0.5)

    free = gradient(state())
    held = gradient(state(), penalty=penalty)
    kernel = state().params["Dense_0"]["kernel"]
    difference = held["Dense_0"]["kernel"] - free["Dense_0"]["kernel"]
    np.testing.assert_allclose(difference, 0.5 * kernel, atol=1e-6)
    _, plain = run(step(), state(), 1)
    _, with_penalty = run(step(penalty=penalty), state(), 1)
    assert float(with_penalty["loss"].total) == float(plain["loss"].total)
    assert float(with_penalty["penalty"].total) > 0


def test_frozen_parameters_stay_to_the_bit():
    optimizer = optimizers.make("adam", weight_decay=0.1)
    first = state(optimizer, hyper={"weight_decay": 0.1})
    final, _ = run(step(optimizer, freeze="Dense_0"), first, 5)
    assert bits(final.params["Dense_0"]) == bits(first.params["Dense_0"])
    assert bits(final.params["Dense_1"]) != bits(first.params["Dense_1"])


def test_moving_average_follows_its_formula():
    first = state(ema_decay=0.9)
    expected = first.params
    now = first
    for number in range(4):
        now, _ = jax.jit(step())(now, batch(number))
        decay = min(0.9, (1 + number) / (10 + number))
        expected = jax.tree.map(
            lambda old, new, d=decay: d * old + (1 - d) * new, expected, now.params
        )
    assert_close(now.ema, expected)
    assert train.evaluation_params(now) is now.ema


def test_a_schedule_multiplies_the_rate_of_the_step():
    half = {"learning_rate": lambda number: jnp.where(number == 0, 1.0, 0.0)}
    one, metrics = run(step(schedules=half), state(), 1)
    three, _ = run(step(schedules=half), state(), 3)
    assert bits(one.params) == bits(three.params)
    assert float(metrics["learning_rate"].total) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="'warmth', which is not in the state's hyper"):
        step(schedules={"warmth": lambda n: n})(state(), batch())


@pytest.mark.parametrize(("rule", "name"), [("skip", "skipped"), ("stop", "nonfinite")])
def test_a_step_that_is_not_finite_leaves_the_state(rule, name):
    bad = batch()
    bad["inputs"][3] = np.nan
    first = state(ema_decay=0.9)
    after, metrics = jax.jit(step(on_nonfinite=rule))(first, bad)
    assert float(metrics[name].total) > 0
    assert bits(after.params) == bits(first.params)
    assert bits(after.opt_state) == bits(first.opt_state)
    assert int(after.step) == {"skip": 1, "stop": -1}[rule]
    later, metrics = jax.jit(step(on_nonfinite=rule))(after, batch())
    assert (float(metrics[name].total) == 0.0) is (rule == "skip")
    assert (bits(later.params) != bits(first.params)) is (rule == "skip")


def test_hyper_changes_without_compiling_anew():
    compiled = jax.jit(step())
    rates = jnp.array([0.1, 0.0])
    moved = [
        compiled(state(hyper={"learning_rate": rate}), batch())[0] for rate in rates
    ]
    assert compiled._cache_size() == 1
    assert bits(moved[1].params) == bits(state().params)
    assert bits(moved[0].params) != bits(state().params)


def test_same_seed_same_bits_and_another_seed_others():
    assert bits(run(step(), state())[0]) == bits(run(step(), state())[0])
    assert bits(run(step(), state())[0]) != bits(run(step(), state(seed=1))[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate_steps": 0}, "accumulate_steps is 0"),
        ({"clip_norm": -1.0}, "clip_norm is -1.0"),
        ({"on_nonfinite": "panic"}, "stop, skip, ignore"),
    ],
)
def test_options_out_of_range_say_so(options, message):
    with pytest.raises(ValueError, match=message):
        step(**options)
