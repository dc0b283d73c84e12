"""Activation functions: their known derivatives and names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxdl.batch import Context
from jaxdl.models import ACTIVATIONS, MLP, activation
from jaxdl.models.activations import RECTIFIERS, step, straight_through_step

X = jnp.linspace(-4.0, 4.0, 33)


def slope(f, x=X):
    return jax.vmap(jax.grad(f))(x)


def test_derivatives_in_closed_form():
    y = ACTIVATIONS["sigmoid"](X)
    np.testing.assert_allclose(slope(ACTIVATIONS["sigmoid"]), y * (1 - y), atol=1e-6)
    assert slope(ACTIVATIONS["sigmoid"]).max() == 0.25
    y = ACTIVATIONS["tanh"](X)
    np.testing.assert_allclose(slope(ACTIVATIONS["tanh"]), 1 - y**2, atol=1e-6)
    np.testing.assert_array_equal(slope(ACTIVATIONS["relu"]), X > 0)
    np.testing.assert_allclose(
        slope(ACTIVATIONS["leaky_relu"]), jnp.where(X >= 0, 1.0, 0.01), atol=1e-7
    )


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"straight_through_step"}))
def test_gradients_are_the_finite_differences(name):
    with jax.enable_x64(True):
        points = jnp.array([-2.3, -0.7, 0.4, 1.9])
        check_grads(jax.jit(ACTIVATIONS[name]), (points,), order=1)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_finite_where_inputs_are_large(name):
    f = jax.jit(jax.vmap(jax.value_and_grad(ACTIVATIONS[name])))
    for value in f(jnp.array([-1e4, -100.0, 0.0, 100.0, 1e4])):
        assert np.all(np.isfinite(value))


def test_the_step_and_its_straight_through_gradient():
    x = jnp.array([-1.0, 0.0, 0.5])
    for f in (step, straight_through_step):
        np.testing.assert_array_equal(f(x), [0.0, 0.0, 1.0])
    np.testing.assert_array_equal(slope(step, x), 0.0)
    np.testing.assert_array_equal(slope(straight_through_step, x), 1.0)


def test_prelu_learns_a_slope_for_each_place():
    model = MLP(classes=2, hidden=(3, 3), activation="prelu")
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 4)), Context())
    slopes = [name for name in shapes["params"] if name.startswith("PReLU")]
    assert len(slopes) == 2


def test_the_relu_family_has_names_of_activations():
    assert RECTIFIERS - {"prelu"} < set(ACTIVATIONS)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match="unknown activation 'rleu'.*prelu, relu"):
        activation("rleu")
