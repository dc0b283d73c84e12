"""Statistics of layers: against what was put in, and against theory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import analysis, models, objectives
from tests.quick import draw_variables, jit

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)


def test_dead_and_saturated_units_are_counted():
    """Of ten units three never fire and two are far beyond the bend."""
    model = models.create("mlp", classes=2, hidden=(10,), activation="relu")
    variables = draw_variables(model, X)
    bias = np.array([-100.0] * 3 + [100.0] * 7, np.float32)
    variables["params"]["Dense_0"]["bias"] = bias
    (found,) = analysis.activation_statistics(model, variables, X)
    assert found.layer == "Dense_0"
    assert (found.dead, found.saturated) == pytest.approx((0.3, 0.3))
    assert found.counts.sum() == 64 * 10
    (found,) = analysis.activation_statistics(model, variables, X, "tanh")
    assert found.saturated == 1
    assert found.mean == pytest.approx(0.4, abs=1e-6)
    assert found.deviation == pytest.approx(np.sqrt(1 - 0.4**2), abs=1e-6)


def test_layers_come_in_order_and_behind_their_norm():
    model = models.create("cnn", classes=3, blocks=(((2, 3, 1),),), hidden=(4,))
    images = np.random.default_rng(1).normal(size=(8, 8, 8, 1)).astype(np.float32)
    variables = draw_variables(model, images)
    variables["batch_stats"] = jax.tree.map(np.abs, variables["batch_stats"])
    found = analysis.activation_statistics(model, variables, images)
    assert [each.layer for each in found] == ["Conv_0", "Dense_0"]
    outputs = models.layer_outputs(model, variables, images)
    behind = jax.nn.relu(outputs["BatchNorm_0"])
    assert found[0].mean == pytest.approx(float(behind.mean()), rel=1e-4)
    assert found[0].deviation == pytest.approx(float(behind.std()), rel=1e-4)


@pytest.mark.parametrize("name", ["resnet20", "gru", "transformer", "lstm_lm"])
def test_any_model_has_statistics(name):
    """The layers of any family, tokens or images."""
    fields = {
        "resnet20": {"classes": 2, "stages": (1,), "channels": 2},
        "gru": {"classes": 2, "vocabulary": 5, "width": 3, "hidden": 3},
        "transformer": {"classes": 2, "vocabulary": 5, "width": 4, "heads": 2},
        "lstm_lm": {"classes": 5, "width": 3, "layers": 2, "tied": False},
    }[name]
    inputs = np.ones((2, 4), np.int32) if name != "resnet20" else np.ones((2, 8, 8, 1))
    model = models.create(name, **fields)
    variables = draw_variables(model, inputs)
    if "batch_stats" in variables:  # variances are positive
        variables["batch_stats"] = jax.tree.map(np.abs, variables["batch_stats"])
    found = analysis.activation_statistics(model, variables, inputs)
    assert found
    assert len({each.layer for each in found}) == len(found)
    for each in found:
        assert 0 <= each.dead <= each.saturated <= 1, each
        assert np.isfinite(each.deviation)


def test_gradients_by_layer_are_those_of_jax():
    model = models.create("mlp", classes=3, hidden=(5, 4), activation="tanh")
    params = draw_variables(model, X)["params"]
    batch = {"inputs": X, "targets": np.arange(64) % 3}
    objective = objectives.classification(models.forward(model))
    layers = analysis.weight_layers(model, {"params": params}, X)
    assert layers == ("Dense_0", "Dense_1", "output")
    found = analysis.gradient_statistics(objective, layers, params, batch)

    def loss(params):
        logits = model.apply({"params": params}, X)
        return jnp.mean(objectives.losses.cross_entropy(logits, batch["targets"]))

    expected = jit(jax.grad(loss))(params)
    for each in found:
        slope = np.asarray(expected[each.layer]["kernel"])
        assert each.norm == pytest.approx(np.linalg.norm(slope), rel=1e-4)
        assert each.mean == pytest.approx(slope.mean(), abs=1e-6)
        weights = np.linalg.norm(params[each.layer]["kernel"])
        assert each.share == pytest.approx(each.norm / weights, rel=1e-5)


def test_how_signals_spread_is_what_theory_says():
    """The books' figures: N(0, 1) drives sigmoids to 0 and 1, 0.01 leaves them at one
    half, Xavier spreads them; He keeps ReLU's spread where 0.01 loses it."""
    x = jax.random.normal(KEY, (1000, 100))

    def spread(activation, scale):
        return [
            float(jnp.std(layer))
            for layer in analysis.forward_stack(KEY, x, scale, activation)
        ]

    wide = analysis.forward_stack(KEY, x, lambda n: 1.0, "sigmoid")[-1]
    assert analysis.share_at_ends(wide, 0, 1) > 0.5
    assert spread("sigmoid", lambda n: 0.01)[-1] < 0.02
    xavier = spread("sigmoid", lambda n: n**-0.5)
    assert 0.08 < xavier[-1] < 0.25
    he = spread("relu", lambda n: (2 / n) ** 0.5)
    assert 0.5 < he[-1] / he[0] < 2
    assert spread("relu", lambda n: 0.01)[-1] < 1e-3 * he[-1]
    lost = spread("tanh", lambda n: 0.01)
    np.testing.assert_allclose(np.divide(lost[1:], lost[:-1]), 0.1, rtol=0.1)


def by_depth(activation, depth=8):
    """Norms of the gradient in the hidden layers of equal size, first to last."""
    fields = {"hidden": (32,) * depth, "activation": activation}
    model = models.create("mlp", classes=3, **fields)
    x = np.random.default_rng(2).normal(size=(64, 32)).astype(np.float32)
    params, _ = jit(lambda key: models.init(model, key, x))(KEY)
    batch = {"inputs": x, "targets": np.arange(64) % 3}
    objective = objectives.classification(models.forward(model))
    layers = analysis.weight_layers(model, {"params": params}, x)
    found = analysis.gradient_statistics(objective, layers, params, batch)
    return np.array([each.norm for each in found[:-1]])


def test_gradients_vanish_behind_sigmoids_and_not_behind_relu():
    """A sigmoid's slope is at most a quarter: the gradient shrinks by that a layer."""
    sigmoid = by_depth("sigmoid")
    shrinks = sigmoid[:-1] / sigmoid[1:]
    assert np.exp(np.mean(np.log(shrinks))) < 0.3
    relu = by_depth("relu")
    assert 0.2 < relu[0] / relu[-1] < 20


def test_layers_without_activation_are_one_layer():
    """Whatever their number: the product of their weights does what they do."""
    model = models.create("mlp", classes=2, hidden=(5, 7), activation="identity")
    params = draw_variables(model, X)["params"]
    weights, bias = np.eye(6), np.zeros(6)
    for name in ("Dense_0", "Dense_1", "output"):
        layer = params[name]
        weights, bias = (
            weights @ layer["kernel"],
            bias @ layer["kernel"] + layer["bias"],
        )
    expected = X @ weights + bias
    found = model.apply({"params": params}, X)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
