"""One calling form for modules of ours, of others, and plain functions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl.batch import Context
from jaxdl.layers import BatchNorm, Dropout
from jaxdl.models import example, forward, init
from jaxdl.models.apply import in_batches

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (4, 6))
TRAINING = Context(training=True, dropout=0.5)


class Ours(nn.Module):
    @nn.compact
    def __call__(self, x, context):
        x = BatchNorm()(nn.Dense(8)(x), context)
        return nn.Dense(2)(Dropout()(x, context))


class Plain(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(x)


class Theirs(nn.Module):
    """As Flax's own examples are written."""

    @nn.compact
    def __call__(self, x, train: bool):
        x = nn.BatchNorm(use_running_average=not train)(x)
        return nn.Dropout(0.5, deterministic=not train)(x)


class Deterministic(nn.Module):
    @nn.compact
    def __call__(self, x, *, deterministic):
        return nn.Dropout(0.5)(x, deterministic=deterministic)


@pytest.mark.parametrize("model", [Ours(), Theirs()])
def test_training_updates_the_model_state_and_evaluation_does_not(model):
    params, state = jax.jit(partial(init, model))(KEY, X)
    assert set(state) == {"batch_stats"}
    run = jax.jit(forward(model))
    _, trained = run(params, state, X, TRAINING, KEY)
    assert jax.tree.structure(trained) == jax.tree.structure(state)
    changed = jax.tree.map(lambda a, b: bool(np.any(a != b)), trained, state)
    assert all(jax.tree.leaves(changed))
    outputs, evaluated = run(params, trained, X, Context(), None)
    jax.tree.map(np.testing.assert_array_equal, evaluated, trained)
    np.testing.assert_array_equal(
        outputs, run(params, trained, X, Context(dropout=0.9), None)[0]
    )


@pytest.mark.parametrize("model", [Ours(), Theirs(), Deterministic()])
def test_the_key_decides_what_drops(model):
    params, state = init(model, KEY, X)
    run = jax.jit(forward(model))
    first, again, other = (
        run(params, state, X, TRAINING, jax.random.key(seed))[0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_a_module_that_asks_for_nothing_gets_the_inputs_alone():
    params, state = init(Plain(), KEY, X)
    assert state == {}
    expected = X @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    for context in (TRAINING, Context()):
        outputs, new = forward(Plain())(params, state, X, context, None)
        np.testing.assert_allclose(outputs, expected, atol=1e-6)
        assert new == {}


def test_plain_functions_run_as_modules_do():
    outputs, state = forward(lambda w, x: x @ w)(jnp.ones((6, 2)), {}, X, TRAINING, KEY)
    np.testing.assert_allclose(outputs, X @ jnp.ones((6, 2)))
    assert state == {}

    def masked(w, x, context):
        return x * context.mask[:, None] * w

    mask = jnp.array([1.0, 0, 1, 0])
    outputs, _ = forward(masked)(2.0, {}, X, Context(mask=mask), None)
    np.testing.assert_array_equal(outputs, 2 * X * mask[:, None])


def test_initial_parameters_need_shapes_and_one_key_alone():
    params, state = init(Ours(), KEY, jnp.zeros((1, 6)))
    same, _ = init(Ours(), KEY, X)
    jax.tree.map(np.testing.assert_array_equal, params, same)
    np.testing.assert_array_equal(state["batch_stats"]["BatchNorm_0"]["mean"], 0.0)


def test_an_example_of_a_spec_and_of_several_by_name():
    one = example({"shape": [3, 2], "dtype": "int32"})
    assert (one.shape, one.dtype) == ((1, 3, 2), jnp.int32)
    several = example(
        {"source": {"shape": [4]}, "target": {"shape": [], "dtype": "int8"}}
    )
    assert several["source"].dtype == jnp.float32
    assert several["target"].shape == (1,)
    for broken in ({}, {"source": {}}):
        with pytest.raises(ValueError, match="empty"):
            example(broken)


def test_any_method_of_a_module_runs_in_the_same_form():
    class Halves(nn.Module):
        @nn.compact
        def __call__(self, x, context: Context = TRAINING):
            return nn.Dense(2)(x)

        def double(self, x, context: Context):
            return 2 * self(x) if context.training else self(x)

    params, _ = init(Halves(), KEY, X)
    once, _ = forward(Halves())(params, {}, X, Context(), None)
    same, _ = forward(Halves(), "double")(params, {}, X, Context(), None)
    twice, state = forward(Halves(), "double")(params, {}, X, TRAINING, KEY)
    np.testing.assert_array_equal(same, once)
    np.testing.assert_array_equal(twice, 2 * once)
    assert state == {}


@pytest.mark.parametrize("rows", [1, 6, 7, 13])
def test_rows_in_batches_are_the_rows_at_once(rows):
    values = np.random.default_rng(0).normal(size=(rows, 2))
    sizes = []

    def function(part):
        sizes.append(len(part))
        return {"sum": part.sum(1), "pair": (part, 2 * part)}

    found = in_batches(function, values, 6)
    np.testing.assert_array_equal(found["sum"], values.sum(1))
    np.testing.assert_array_equal(found["pair"][1], 2 * values)
    assert set(sizes) == {min(rows, 6)}
