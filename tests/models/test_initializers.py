"""Initializers: the standard deviations they promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.models import INITIALIZERS, MLP, initializer
from jaxdl.models.activations import ACTIVATIONS

KEY = jax.random.key(0)
SHAPE = (400, 100)


@pytest.mark.parametrize(
    ("name", "deviation"),
    [
        ("normal", 1.0),
        ("normal:0.01", 0.01),
        ("xavier", (1 / 400) ** 0.5),
        ("lecun", (1 / 400) ** 0.5),
        ("he", (2 / 400) ** 0.5),
        ("glorot", (2 / 500) ** 0.5),
    ],
)
def test_mean_zero_and_the_named_deviation(name, deviation):
    weights = np.asarray(initializer(name)(KEY, SHAPE))
    # Five standard errors of 40,000 draws.
    assert abs(weights.mean()) < 5 * deviation / 200
    assert abs(weights.std() / deviation - 1) < 5 / (2 * 40_000) ** 0.5


def test_he_and_xavier_are_normal_not_truncated():
    assert np.abs(initializer("he")(KEY, SHAPE)).max() > 3.5 * (2 / 400) ** 0.5


def test_a_kernel_counts_its_window_as_inputs():
    weights = initializer("he")(KEY, (5, 5, 16, 200))
    assert abs(float(weights.std()) / (2 / 400) ** 0.5 - 1) < 0.02


def test_zeros_and_orthogonal():
    assert not np.any(initializer("zeros")(KEY, SHAPE))
    q = initializer("orthogonal")(KEY, SHAPE)
    np.testing.assert_allclose(q.T @ q, np.eye(100), atol=1e-5)


@pytest.mark.parametrize("activation", [*ACTIVATIONS, "prelu"])
def test_auto_suits_the_activation(activation):
    rectifiers = ["celu", "elu", "gelu", "leaky_relu", "prelu", "relu", "relu6", "silu"]
    expected = "he" if activation in rectifiers else "xavier"
    np.testing.assert_array_equal(
        initializer("auto", activation)(KEY, (8, 4)), initializer(expected)(KEY, (8, 4))
    )


def test_he_keeps_the_signal_of_a_deep_relu_net_where_others_lose_it():
    """Mean square of the last of eight ReLU layers, for inputs of mean square 1."""

    def power(name):
        x = jax.random.normal(KEY, (200, 100))
        for i in range(8):
            key = jax.random.fold_in(KEY, i)
            x = jax.nn.relu(x @ initializer(name)(key, (100, 100)))
        return float(jnp.mean(x**2))

    assert 0.2 < power("he") < 5
    assert power("xavier") < 0.05
    assert power("normal:0.01") < 1e-15
    assert power("normal") > 1e6


def test_zero_weights_never_break_the_symmetry_of_hidden_units():
    model = MLP(classes=3, hidden=(4,), initializer="zeros")
    x = jax.random.normal(KEY, (5, 6))
    params = model.init(KEY, x)["params"]

    def loss(params):
        logits = model.apply({"params": params}, x)
        return -jax.nn.log_softmax(logits)[:, 0].mean()

    np.testing.assert_allclose(loss(params), np.log(3), rtol=1e-6)
    for _ in range(3):
        gradient = jax.grad(loss)(params)
        params = jax.tree.map(lambda p, g: p - g, params, gradient)
    kernel = params["Dense_0"]["kernel"]
    np.testing.assert_array_equal(kernel, kernel[:, :1].repeat(4, 1))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("kaiming", "unknown initializer 'kaiming': give one of auto, .*zeros"),
        ("normal:", "no standard deviation"),
        ("normal:-1", "positive"),
        ("normal:nan", "positive"),
        ("he:2", "unknown initializer 'he:2'"),
    ],
)
def test_errors_are_one_clear_line(name, message):
    with pytest.raises(ValueError, match=message) as error:
        initializer(name)
    assert "\n" not in str(error.value)


def test_every_name_makes_weights():
    for name in INITIALIZERS:
        assert initializer(name)(KEY, (3, 2)).shape == (3, 2)
