"""The attentive LSTM against Bahdanau's formulas, written out step by step."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.layers.additive_attention import AttentiveLSTM

KEY = jax.random.key(0)
BATCH, TIME, PLACES, INPUTS, VALUES, SIZE = 2, 3, 4, 2, 5, 3
LAYER = AttentiveLSTM(SIZE)


def draw(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


@pytest.fixture(scope="module")
def inputs():
    """x, memory, where it is valid, and where the carry begins."""
    valid = jnp.array([[True, True, True, False], [True, False, False, False]])
    carry = (draw(3, BATCH, SIZE), draw(4, BATCH, SIZE))
    return draw(1, BATCH, TIME, INPUTS), draw(2, BATCH, PLACES, VALUES), valid, carry


@pytest.fixture(scope="module")
def variables(inputs):
    """Drawn, which compiles quicker than what initialises them."""
    shapes = jax.eval_shape(LAYER.init, KEY, *inputs)
    return jax.tree.map(lambda leaf: np.asarray(draw(leaf.size, *leaf.shape)), shapes)


@pytest.fixture(scope="module")
def run():
    """Outputs, carry and attention weights."""
    apply = jax.jit(partial(LAYER.apply, mutable=["attention"]))

    def both(variables, *inputs):
        (outputs, carry), found = apply(variables, *inputs)
        return outputs, carry, found["attention"]["weights"]

    return both


def reference(params, x, memory, valid, carry):
    """One example, in NumPy: hidden states, means and weights."""

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    hidden, cell = carry
    outputs, maps = [], []
    for now in x:
        scores = np.array(
            [
                params["score"]
                @ np.tanh(hidden @ params["query_kernel"] + m @ params["key_kernel"])
                for m in memory[valid]
            ]
        )
        weights = np.exp(scores) / np.exp(scores).sum()
        mean = weights @ memory[valid]
        gates = (
            now @ params["kernel"]
            + mean @ params["memory_kernel"]
            + hidden @ params["recurrent_kernel"]
            + params["bias"]
        )
        i, f, g, o = np.split(gates, 4)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        outputs.append(np.concatenate([hidden, mean]))
        maps.append(weights)
    return np.array(outputs), (hidden, cell), np.array(maps)


def test_it_is_the_published_formula(variables, run, inputs):
    outputs, carry, weights = run(variables, *inputs)
    params = jax.tree.map(np.asarray, variables["params"])
    for i in range(BATCH):
        own = jax.tree.map(lambda leaf, i=i: np.asarray(leaf)[i], inputs)
        expected, last, maps = reference(params, *own)
        np.testing.assert_allclose(outputs[i], expected, atol=1e-5)
        np.testing.assert_allclose([part[i] for part in carry], last, atol=1e-5)
        np.testing.assert_allclose(weights[i, 0][:, own[2]], maps, atol=1e-5)
        assert not np.any(weights[i, 0][:, ~own[2]])


def test_padding_of_the_memory_never_matters_whatever_it_holds(variables, run, inputs):
    x, memory, valid, carry = inputs
    rubbish = jnp.where(valid[..., None], memory, 1e6)
    for one, other in zip(
        run(variables, *inputs)[:2],
        run(variables, x, rubbish, valid, carry)[:2],
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_a_memory_of_padding_alone_gives_numbers(variables, run, inputs):
    x, memory, valid, carry = inputs
    outputs, *_ = run(variables, x, memory, jnp.zeros_like(valid), carry)
    assert np.isfinite(outputs).all()


def test_two_halves_are_the_whole(variables, run, inputs):
    x, *others, carry = inputs
    whole, last, _ = run(variables, *inputs)
    parts = []
    for step in range(TIME):
        output, carry, _ = run(variables, x[:, step : step + 1], *others, carry)
        parts.append(output)
    np.testing.assert_allclose(jnp.concatenate(parts, axis=1), whole, atol=1e-6)
    np.testing.assert_allclose(carry, last, atol=1e-6)


def test_half_precision_keeps_float32_parameters_and_carry(inputs):
    layer = AttentiveLSTM(SIZE, dtype=jnp.bfloat16)
    (outputs, carry), variables = jax.eval_shape(layer.init_with_output, KEY, *inputs)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert {leaf.dtype for leaf in carry} == {jnp.dtype("float32")}
    assert outputs.dtype == jnp.bfloat16
