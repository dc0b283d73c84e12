"""Regression with a unit: the loss is free of it, errors are in it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from jaxdl import metrics
from jaxdl.objectives import probabilities, regression

RNG = np.random.default_rng(0)
INPUTS = jnp.asarray(RNG.normal(size=(5, 2)), jnp.float32)
TARGETS = jnp.asarray(RNG.normal(size=5), jnp.float32)


def forward(params, model_state, inputs, context, key):
    del context, key
    return model_state["scale"] * (inputs @ params), model_state


def measured(objective, scale, mask=(1, 1, 1, 1, 1)):
    """Loss, gradient and figures where outputs and targets are so much larger."""
    params = jnp.array([[0.5], [-1.0]])
    batch = {
        "inputs": INPUTS,
        "targets": scale * TARGETS,
        "mask": jnp.asarray(mask, jnp.float32),
    }

    def total(params):
        state = {"scale": jnp.float32(scale)}
        (loss, count), (_, found) = objective(params, state, {}, batch, None, True)
        return loss / count, found

    run = jax.jit(jax.value_and_grad(total, has_aux=True))
    (loss, found), gradient = run(params)
    return float(loss), np.asarray(gradient), metrics.read(found)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "sum_squared_error"])
def test_the_loss_does_not_know_the_targets_unit(loss):
    unit = regression(forward, loss=loss, unit=lambda state: state["scale"])
    plain = regression(forward, loss=loss)
    expected = measured(plain, 1.0)
    for scale in (1.0, 1000.0):
        found = measured(unit, scale)
        assert found[0] == pytest.approx(expected[0], rel=1e-5)
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-4)
        for name in ("mae", "rmse"):
            error = scale * expected[2][name]
            assert found[2][name] == pytest.approx(error, rel=1e-5)


def test_figures_equal_scikit_learns():
    objective = regression(forward, unit=lambda state: state["scale"])
    found = measured(objective, 10.0)[2]
    said = 10 * (np.asarray(INPUTS) @ [0.5, -1.0])
    true = 10 * np.asarray(TARGETS)
    assert found["mae"] == pytest.approx(mean_absolute_error(true, said), rel=1e-5)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(true, said), rel=1e-5)


def test_padding_counts_nothing():
    objective = regression(forward, unit=lambda state: state["scale"])
    some = measured(objective, 3.0, mask=(1, 1, 1, 0, 0))
    assert some[0] != pytest.approx(measured(objective, 3.0)[0])
    said = 3 * (np.asarray(INPUTS) @ [0.5, -1.0])
    error = np.abs(said - 3 * np.asarray(TARGETS))[:3]
    assert some[2]["mae"] == pytest.approx(error.mean(), rel=1e-5)


def test_a_single_logit_stands_for_two_classes():
    logits = jnp.array([[-2.0], [0.0], [30.0]])
    shares = np.asarray(probabilities(logits))
    np.testing.assert_allclose(shares[:, 1], jax.nn.sigmoid(logits[:, 0]), rtol=1e-6)
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-6)
    three = jnp.array([[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(probabilities(three), jax.nn.softmax(three))
