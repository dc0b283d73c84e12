"""The table of a model and what its layers compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.models import (
    MODELS,
    LayerRow,
    count_parameters,
    create,
    init,
    layer_outputs,
    layer_table,
)

KEY = jax.random.key(0)


def test_rows_run_in_order_with_output_shapes_and_own_parameters():
    model = create("simple_cnn", classes=10)
    x = jax.ShapeDtypeStruct((8, 28, 28, 1), jnp.float32)
    variables = jax.eval_shape(model.init, KEY, x)
    assert layer_table(model, variables, x) == [
        LayerRow("Conv_0", "Conv", (8, 24, 24, 30), 780),
        LayerRow("Dropout_0", "Dropout", (8, 4320), 0),
        LayerRow("Dense_0", "Dense", (8, 100), 432_100),
        LayerRow("Dropout_1", "Dropout", (8, 100), 0),
        LayerRow("output", "Dense", (8, 10), 1010),
    ]


@pytest.mark.parametrize("name", ["mlp", "deep_cnn", "resnet20", "resnet50"])
def test_the_column_adds_up_to_the_models_parameters(name):
    model = create(name, classes=10)
    x = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(model.init, KEY, x)
    rows = layer_table(model, variables, x)
    assert sum(row.parameters for row in rows) == count_parameters(variables["params"])
    assert len({row.path for row in rows}) == len(rows)
    assert name in MODELS


def test_layer_outputs_are_what_the_model_computes():
    model = create("mlp", classes=3, hidden=(5, 4), activation="tanh")
    x = jax.random.normal(KEY, (6, 2))
    params, _ = init(model, KEY, x)
    outputs = jax.jit(lambda v, x: layer_outputs(model, v, x))({"params": params}, x)
    first = params["Dense_0"]
    np.testing.assert_allclose(
        outputs["Dense_0"], x @ first["kernel"] + first["bias"], atol=1e-6
    )
    np.testing.assert_allclose(
        outputs["output"], model.apply({"params": params}, x), atol=1e-6
    )
    np.testing.assert_allclose(
        outputs["Dropout_1"], jnp.tanh(outputs["Dense_1"]), atol=1e-6
    )
