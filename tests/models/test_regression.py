"""Regression in the target's own unit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import models
from jaxdl.models.regression import deviation_of, with_target

X = jax.random.normal(jax.random.key(1), (6, 3))


@pytest.fixture(scope="module")
def linear():
    """A linear model and its variables: parameters, model state."""
    model = models.create("regression", classes=1, hidden=[], initializer="normal")
    return model, *models.init(model, jax.random.key(0), X)


def test_values_are_the_mean_plus_deviations(linear):
    model, params, model_state = linear
    targets = np.array([10.0, 14.0, 12.0])
    told = with_target({**model_state, "other": {}}, targets)
    assert told["other"] == {}
    assert float(told["target"]["mean"][0]) == 12.0
    assert float(deviation_of(told)[0]) == pytest.approx(targets.std())
    found = model.apply({"params": params, **told}, X)
    plain = X @ params["output"]["kernel"] + params["output"]["bias"]
    assert found.shape == (6, 1)
    np.testing.assert_allclose(found, 12 + targets.std() * plain, rtol=1e-5)


def test_without_a_target_it_is_the_plain_network(linear):
    model, params, model_state = linear
    mlp = models.create("mlp", classes=1, hidden=[])
    np.testing.assert_array_equal(
        model.apply({"params": params, **model_state}, X),
        mlp.apply({"params": params}, X),
    )


def test_targets_that_are_all_alike_have_deviation_one():
    told = with_target({}, np.full((4, 2), 3.0))
    np.testing.assert_array_equal(told["target"]["mean"], [3, 3])
    np.testing.assert_array_equal(deviation_of(told), [1, 1])


def test_gradients_are_the_plain_networks_in_the_targets_unit(linear):
    model, params, _ = linear
    mlp = models.create("mlp", classes=1, hidden=[])
    state = with_target({}, np.array([1.0, 5.0]))
    found = jax.grad(lambda p: jnp.sum(model.apply({"params": p, **state}, X)))(params)
    plain = jax.grad(lambda p: jnp.sum(mlp.apply({"params": p}, X)))(params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, 2 * b, rtol=1e-6), found, plain
    )
