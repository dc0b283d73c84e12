"""Models by name: what a run folder's model.json relies on."""

import json

import jax
import jax.numpy as jnp
import pytest

from jaxdl.models import IMAGE_MODELS, create

KEY = jax.random.key(0)


@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_every_image_model_is_made_from_its_name_and_json(name):
    arguments = json.loads(json.dumps({"classes": 5, "dtype": "bfloat16"}))
    model = create(name, **arguments)
    logits, variables = jax.eval_shape(
        model.init_with_output, KEY, jnp.zeros((2, 16, 16, 3))
    )
    assert logits.shape == (2, 5)
    assert logits.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))


def test_lists_from_json_are_as_good_as_tuples():
    blocks = [[[8, 3, 1]], [[16, 3, 1]]]
    model = create("cnn", classes=2, blocks=blocks, hidden=[4])
    _, variables = jax.eval_shape(model.init_with_output, KEY, jnp.zeros((1, 8, 8, 1)))
    assert variables["params"]["Conv_1"]["kernel"].shape == (3, 3, 8, 16)
    assert hash(model) == hash(create("cnn", classes=2, blocks=blocks, hidden=[4]))


def test_options_that_are_none_are_not_given():
    assert create("mlp", classes=2, hidden=None) == create("mlp", classes=2)
    assert create("logistic_regression", classes=2, batch_norm=None).classes == 2


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnet21", {"classes": 2}, "unknown model 'resnet21': .*mlp.*resnet20"),
        (
            "logistic_regression",
            {"classes": 2, "batch_norm": True},
            "logistic_regression has no option 'batch_norm': its options are classes, "
            "initializer, dtype",
        ),
        ("mlp", {"classes": 2, "name": "x"}, "no option 'name'"),
        ("resnet20", {}, "needs to know how many classes"),
        (
            "lstm",
            {"classes": 2, "layers": 2000},
            "a model of 2000 layers: give at most",
        ),
        ("mlp", {"classes": 2, "hidden": [1] * 1001}, "a model of 1001 layers"),
    ],
)
def test_errors_are_one_clear_line(name, arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        create(name, **arguments)
    assert "\n" not in str(error.value)
