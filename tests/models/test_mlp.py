"""Logistic regression and the multi-layer perceptron against their arithmetic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl.batch import Context
from jaxdl.models import MLP, LogisticRegression, count_parameters

KEY = jax.random.key(0)


def test_one_layer_is_its_formula():
    model = MLP(classes=2, hidden=(3,), activation="sigmoid")
    x = jax.random.normal(KEY, (4, 2, 3))
    params = jax.jit(model.init)(KEY, x)["params"]
    hidden, output = params["Dense_0"], params["output"]
    h = 1 / (1 + jnp.exp(-(x.reshape(4, 6) @ hidden["kernel"] + hidden["bias"])))
    np.testing.assert_allclose(
        model.apply({"params": params}, x),
        h @ output["kernel"] + output["bias"],
        atol=1e-6,
    )


def test_softmax_of_the_books_logits():
    """The affine map with zero weights gives its bias: the book's three scores."""
    model = LogisticRegression(classes=3)
    x = jnp.ones((1, 4))
    params = jax.jit(model.init)(KEY, x)["params"]
    assert not np.any(params["output"]["kernel"])
    params["output"]["bias"] = jnp.array([0.3, 2.9, 4.0])
    for shift in (0.0, 1e4):  # no overflow
        probabilities = jax.nn.softmax(model.apply({"params": params}, x) + shift)
        np.testing.assert_allclose(probabilities[0], [0.018, 0.245, 0.737], atol=5e-4)
        np.testing.assert_allclose(probabilities.sum(), 1.0, rtol=1e-6)


def test_a_deep_linear_net_is_one_matrix():
    model = MLP(classes=3, hidden=(7, 5, 6), activation="identity")
    x = jax.random.normal(KEY, (10, 4))
    params = jax.jit(model.init)(KEY, x)["params"]
    matrix, shift = jnp.eye(4), jnp.zeros(4)
    for name in ("Dense_0", "Dense_1", "Dense_2", "output"):
        matrix = matrix @ params[name]["kernel"]
        shift = shift @ params[name]["kernel"] + params[name]["bias"]
    np.testing.assert_allclose(
        model.apply({"params": params}, x), x @ matrix + shift, atol=1e-5
    )


@pytest.mark.parametrize(
    ("activation", "solved"), [("tanh", True), ("identity", False)]
)
def test_only_a_nonlinear_net_separates_exclusive_or(activation, solved):
    x = jnp.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    y = jnp.array([0, 1, 1, 0])
    model = MLP(classes=2, hidden=(8,), activation=activation)

    def loss(params):
        logits = model.apply({"params": params}, x)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1))

    def step(params, _):
        gradient = jax.grad(loss)(params)
        return jax.tree.map(lambda p, g: p - 0.5 * g, params, gradient), None

    params = jax.jit(model.init)(KEY, x)["params"]
    params, _ = jax.jit(lambda p: jax.lax.scan(step, p, None, length=500))(params)
    right = (model.apply({"params": params}, x).argmax(1) == y).sum()
    assert (right == 4) if solved else (right < 4)


@settings(deadline=None, max_examples=15)
@given(
    hidden=st.lists(st.integers(1, 9), max_size=3),
    inputs=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    batch_norm=st.booleans(),
)
def test_shapes_and_parameter_counts(hidden, inputs, batch_norm):
    model = MLP(classes=4, hidden=hidden, batch_norm=batch_norm)
    x = jnp.zeros((2, *inputs))
    logits, variables = jax.eval_shape(model.init_with_output, KEY, x)
    assert logits.shape == (2, 4)
    sizes = [int(np.prod(inputs)), *hidden]
    pairs = zip(sizes[:-1], sizes[1:], strict=True)
    shifts = 2 if batch_norm else 1  # scale and bias of batch norm, or a bias
    expected = sum(a * b + shifts * b for a, b in pairs) + sizes[-1] * 4 + 4
    assert count_parameters(variables["params"]) == expected


def test_dropout_comes_through_the_context():
    model = MLP(classes=2, hidden=(50,))
    x = jnp.ones((3, 4))
    variables = jax.jit(model.init)(KEY, x)
    rngs = {"dropout": KEY}

    def run(rate):
        return model.apply(variables, x, Context(True, dropout=rate), rngs=rngs)

    np.testing.assert_array_equal(run(0.0), model.apply(variables, x))
    assert len(np.unique(run(0.5), axis=0)) == 3


def test_half_precision_keeps_float32_parameters_and_logits():
    model = MLP(classes=2, hidden=(8,), dtype="bfloat16", batch_norm=True)
    x = jax.random.normal(KEY, (3, 4))
    logits, variables = jax.eval_shape(model.init_with_output, KEY, x)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert logits.dtype == jnp.float32
    with pytest.raises(ValueError, match="unknown dtype 'half': give one of float32"):
        MLP(classes=2, dtype="half").init(KEY, x)
