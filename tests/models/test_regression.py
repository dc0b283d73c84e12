"""Regression in the target's own unit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

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


def test_gradient_in_float64():
    model = models.create("regression", classes=1, hidden=[4], activation="tanh")
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x = jnp.asarray(X, jnp.float64)
        params = {
            "Dense_0": {"kernel": rng.normal(size=(3, 4)), "bias": rng.normal(size=4)},
            "output": {"kernel": rng.normal(size=(4, 1)), "bias": rng.normal(size=1)},
        }
        state = with_target({}, np.array([1.0, 5.0]))

        @jax.jit
        def loss(params):
            return jnp.sum(model.apply({"params": params, **state}, x) ** 2)

        assert loss(params).dtype == jnp.float64
        check_grads(loss, (params,), order=1, modes=["rev"])
