"""The convolutional networks: the books' shapes, and images of other sizes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl import models
from jaxdl.batch import Context
from jaxdl.models import count_parameters, create

KEY = jax.random.key(0)
NAMES = ["cnn", "simple_cnn", "deep_cnn"]


def shapes_of(model, *shape):
    return jax.eval_shape(model.init_with_output, KEY, jnp.zeros(shape))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # 30 kernels of 5x5, 12x12x30 to 100, 100 to 10, and the biases.
        ("simple_cnn", 30 * 25 + 30 + 4320 * 100 + 100 + 100 * 10 + 10),
        # Six of 3x3, 4x4x64 to 50, 50 to 10.
        (
            "deep_cnn",
            9 * (1 * 16 + 16 * 16 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64)
            + (16 + 16 + 32 + 32 + 64 + 64)
            + (1024 * 50 + 50)
            + (50 * 10 + 10),
        ),
    ],
)
def test_the_books_networks_on_mnist(name, parameters):
    _, variables = shapes_of(create(name, classes=10), 1, 28, 28, 1)
    assert count_parameters(variables["params"]) == parameters
    assert set(variables) == {"params"}


@settings(deadline=None, max_examples=15)
@given(
    name=st.sampled_from(NAMES),
    height=st.integers(6, 40),
    width=st.integers(6, 40),
    channels=st.sampled_from([1, 3]),
    batch_norm=st.booleans(),
)
def test_images_of_any_size(name, height, width, channels, batch_norm):
    model = create(name, classes=7, batch_norm=batch_norm)
    logits, variables = shapes_of(model, 2, height, width, channels)
    assert logits.shape == (2, 7)
    assert ("batch_stats" in variables) is batch_norm


@pytest.mark.parametrize("name", ["cnn", "simple_cnn"])
def test_learns_to_tell_two_patterns_apart(name):
    """Vertical from horizontal stripes at 8x8, in a few steps of plain descent."""
    model = create(name, classes=2)
    stripes = jnp.tile(jnp.array([1.0, -1.0]), 4)
    vertical = jnp.broadcast_to(stripes, (8, 8))
    x = jnp.stack([vertical, vertical.T] * 4)[..., None]
    x = x + 0.3 * jax.random.normal(KEY, x.shape)
    y = jnp.arange(8) % 2
    params, state = jax.jit(partial(models.init, model))(KEY, x)
    run = models.forward(model)
    context = Context(training=True)

    @jax.jit
    def step(params, state):
        def loss(params):
            logits, new = run(params, state, x, context, None)
            return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(8), y]), new

        (value, new), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        return jax.tree.map(lambda p, g: p - 0.05 * g, params, gradient), new, value

    losses = []
    for _ in range(10):
        params, state, value = step(params, state)
        losses.append(float(value))
    assert losses[-1] < 0.2 * losses[0]


def test_dropout_acts_before_affine_layers_and_never_on_logits():
    blocks = (((4, 3, 1),),)
    model = create("deep_cnn", classes=10, blocks=blocks)
    x = jax.random.normal(KEY, (4, 8, 8, 1))
    variables = jax.jit(model.init)(KEY, x)
    variables["params"]["output"]["bias"] = jnp.full(10, 5.0)
    context = Context(training=True, dropout=0.9)
    logits = model.apply(variables, x, context, rngs={"dropout": KEY})
    assert np.all(np.asarray(logits) != 0.0)
    assert not np.allclose(logits, model.apply(variables, x))


def test_other_inputs_are_one_clear_line():
    with pytest.raises(ValueError, match="takes .batch, height, width, channels"):
        create("cnn", classes=2).init(KEY, jnp.zeros((2, 8, 8)))
    with pytest.raises(ValueError, match=r"\(5, 5\) does not fit .*\(4, 4\)"):
        create("simple_cnn", classes=2).init(KEY, jnp.zeros((2, 4, 4, 1)))


@pytest.mark.parametrize("name", ["relu", "relu6", "leaky_relu"])
def test_what_comes_after_pooling_might_come_before(name, monkeypatch):
    """To the bit in value; gradients to rounding, which fusion moves."""
    model = create("cnn", classes=3, activation=name)
    x = jax.random.normal(KEY, (4, 9, 8, 1))
    variables = model.init(KEY, x)

    def loss(params):
        context = Context(training=True)
        logits, _ = model.apply(
            {**variables, "params": params}, x, context, mutable="batch_stats"
        )
        return jnp.sum(jnp.square(logits))

    def outcome():  # compiled anew: what is patched is no argument
        return jax.jit(lambda params: jax.value_and_grad(loss)(params))(
            variables["params"]
        )

    found = outcome()
    monkeypatch.setattr("jaxdl.models.cnn._ORDERED", ())
    expected = outcome()
    assert found[0] == expected[0]
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), found[1], expected[1]
    )
