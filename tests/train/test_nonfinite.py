"""Whatever is not finite, and however a step runs: the state stays as it was before
that step, which is named with what was wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import optimizers, parallel, train
from jaxdl.metrics import Mean
from jaxdl.train import population
from tests import quick
from tests.train.problems import bits

OPTIMIZER = optimizers.make("sgd")
SIZE = 4


def objective(params, model_state, hyper, data, key, training):
    """Linear, and beside it what a batch can poison: a metric of its own, and the
    gradient of a root, which at 0 has a value but no slope."""
    each = jnp.square(data["inputs"] @ params["a"])
    root = jnp.sqrt(data["slope"] * jnp.sum(jnp.square(params["b"]["w"])))
    pair = jnp.sum(each + root), jnp.asarray(float(len(each)))
    return pair, (model_state, {"other": Mean(jnp.sum(data["told"]), pair[1])})


def batch(at, count=None, poison=None, where=-1):
    """The batch of a step, one array of that of step ``where`` spoilt."""
    if count is not None:
        several = [batch(at + i, None, poison, where) for i in range(count)]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *several)
    draw = np.random.default_rng(at)
    inputs = draw.normal(size=(SIZE, 2)).astype(np.float32)
    data = {"inputs": inputs, "slope": np.ones(SIZE), "told": np.ones(SIZE)}
    data = {name: array.astype(np.float32) for name, array in data.items()}
    if at == where and poison:
        data[poison][2] = 0.0 if poison == "slope" else np.nan
    return data


def state():
    params = {"a": jnp.ones(2), "b": {"w": jnp.ones(2)}}
    return train.create_state(params, OPTIMIZER, hyper={"learning_rate": 0.01})


def make(**options):
    return train.make_step(objective, OPTIMIZER, on_nonfinite="stop", **options)


STEP = quick.jit(make())
BLOCK = quick.jit(parallel.scan(make()))

POISONS = {
    "inputs": "inputs of its example 2 (nan), then the metric loss (nan), then the "
    "metric gradient_norm (nan), then the gradient of a",
    "told": "told of its example 2 (nan), then the metric other (nan)",
    "slope": "the metric gradient_norm (nan), then the gradient of b/w",
}


@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("where", [0, 5, 11])
@pytest.mark.parametrize("block", [1, 4])
def test_the_state_stays_as_before_the_step_that_is_named(poison, where, block):
    def feed(at, count=None):
        return batch(at, count, poison, where)

    expected = state()
    for at in range(where):
        expected, _ = STEP(expected, batch(at))
    fitted = train.fit(
        state(),
        make(),
        feed,
        steps=16,
        way=lambda _: STEP,
        block_way=lambda _: BLOCK,
        steps_per_call=block,
    )
    assert fitted.status == "failed"
    assert train.failed_step(fitted.state) == where
    before = train.before_failure(fitted.state)
    assert bits(before) == bits(expected)
    if (where, block) == (5, 1):  # to explain compiles anew
        told = train.explain(make(), before, feed(where))
        assert ", then ".join(told) == POISONS[poison]


@pytest.mark.parametrize("poison", POISONS)
def test_microbatches_name_the_same(poison):
    step, data = make(accumulate_steps=2), batch(0, None, poison, 0)
    after, _ = quick.jit(step)(state(), data)
    assert train.failed_step(after) == 0
    told = train.explain(step, train.before_failure(after), data)
    assert told[-1] == POISONS[poison].split(", then ")[-1]


def test_members_stop_each_at_its_own_step():
    every = population.population_step(make(), population.side_by_side)
    members = population.stack([state(), state(), state()])
    compiled = quick.jit(every)
    for at in range(6):
        rows = [
            batch(at),
            batch(at, None, "slope", 2),
            batch(at, None, "inputs", 4),
        ]
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *rows)
        members, _ = compiled(members, stacked)
    found = [population.member(members.states, i) for i in range(3)]
    assert [train.failed_step(each) for each in found] == [None, 2, 4]
    assert members.failed.tolist() == [False, True, True]


def test_a_run_that_is_finite_is_as_without_the_guard():
    plain = quick.jit(train.make_step(objective, OPTIMIZER))
    one = other = state()
    for at in range(5):
        one, told = STEP(one, batch(at))
        other, _ = plain(other, batch(at))
        assert float(told["nonfinite"].total) == 0.0
    assert bits(one) == bits(other)
    assert train.failed_step(one) is None
    assert train.explain(make(), one, batch(5)) == []


def test_of_two_players_the_one_that_failed_is_named():
    def player(name, other):
        def lose(params, model_state, hyper, data, key, training):
            gap = params[name]["x"] - jax.lax.stop_gradient(params[other]["x"])
            root = jnp.sqrt(data[name] * jnp.sum(jnp.square(params[name]["y"])))
            each = jnp.square(gap) + root
            pair = jnp.sum(each), jnp.asarray(float(len(each)))
            return pair, (model_state, {f"{name}_loss": Mean(*pair)})

        return lose

    one, two = "generator", "discriminator"
    step = train.make_adversarial_step(
        player(one, two),
        player(two, one),
        OPTIMIZER,
        critic_updates=2,
        on_nonfinite="stop",
    )
    compiled = quick.jit(step)
    params = {name: {"x": jnp.ones(()), "y": jnp.ones(2)} for name in (one, two)}
    first = train.create_adversarial_state(
        params, OPTIMIZER, hyper={"learning_rate": 0.1}
    )
    for name in (one, two):
        data = {n: np.full(SIZE, n != name, np.float32) for n in (one, two)}
        after, _ = compiled(first, data)
        assert train.failed_step(after) == 0
        told = train.explain(step, train.before_failure(after), data)
        assert told[-1] == f"the gradient of {name}/y"
