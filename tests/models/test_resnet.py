"""Residual networks: the papers' sizes, what shortcuts do, plain controls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.batch import Context
from jaxdl.models import ResNet, count_parameters, create, layer_table

KEY = jax.random.key(0)


def shapes_of(model, *shape):
    return jax.eval_shape(model.init_with_output, KEY, jnp.zeros(shape))


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("resnet20", 0.27),
        ("resnet32", 0.46),
        ("resnet44", 0.66),
        ("resnet56", 0.85),
        ("resnet110", 1.7),
    ],
)
def test_parameters_of_the_papers_table_6(name, millions):
    logits, variables = shapes_of(create(name, classes=10), 2, 32, 32, 3)
    assert logits.shape == (2, 10)
    digits = len(str(millions).split(".")[1])
    assert round(count_parameters(variables["params"]) / 1e6, digits) == millions


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("resnet18", 11_689_512), ("resnet34", 21_797_672), ("resnet50", 25_557_032)],
)
def test_parameters_are_those_of_torchvision(name, parameters):
    logits, variables = shapes_of(create(name, classes=1000), 2, 224, 224, 3)
    assert logits.shape == (2, 1000)
    assert count_parameters(variables["params"]) == parameters


def test_the_depth_in_the_name_is_the_number_of_weight_layers():
    for name in ("resnet20", "resnet18", "resnet50", "plain34"):
        model = create(name, classes=10)
        _, variables = shapes_of(model, 1, 32, 32, 3)
        rows = layer_table(model, variables, jnp.zeros((1, 32, 32, 3)))
        weights = [
            row
            for row in rows
            if row.kind in ("Conv", "Dense") and "projection" not in row.path
        ]
        assert name.endswith(str(len(weights)))


def test_the_plain_control_has_the_same_parameters_but_no_shortcut():
    counts = {
        name: count_parameters(
            shapes_of(create(name, classes=10), 1, 32, 32, 3)[1]["params"]
        )
        for name in ("resnet20", "plain20", "resnet18", "plain18")
    }
    assert counts["resnet20"] == counts["plain20"]
    assert counts["resnet18"] > counts["plain18"]  # projections are shortcuts


def small(**options):
    return ResNet(classes=3, stages=(1, 1), channels=4, **options)


def with_zero_branches(variables):
    """The same network whose residual branches give nothing."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf * ("conv_1" not in str(path)), variables
    )


@pytest.mark.parametrize("bottleneck", [False, True])
def test_zero_init_starts_every_block_as_its_shortcut(bottleneck):
    """Then the logits are those of the stem alone, subsampled and averaged."""
    x = jax.random.normal(KEY, (2, 8, 8, 3))
    model = small(zero_init_last=True, bottleneck=bottleneck)
    variables = jax.jit(model.init)(KEY, x)
    params = variables["params"]
    stem = jax.lax.conv_general_dilated(
        x, params["stem"]["conv"]["kernel"], (1, 1), "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip
    features = jax.nn.relu(stem / jnp.sqrt(1 + 1e-5))[:, ::2, ::2].mean((1, 2))
    kernel = params["output"]["kernel"][:4]  # the appended channels are zero
    np.testing.assert_allclose(
        jax.jit(model.apply)(variables, x), features @ kernel, rtol=1e-4, atol=1e-5
    )


def test_shortcuts_carry_the_gradient_where_a_plain_net_loses_it():
    x = jax.random.normal(KEY, (2, 4, 4, 3))

    def stem_gradient(shortcut):
        model = small(shortcut=shortcut)
        variables = jax.jit(model.init)(KEY, x)
        branches = with_zero_branches(variables)  # nothing passes the branches

        def loss(kernel):
            branches["params"]["stem"]["conv"]["kernel"] = kernel
            return jnp.sum(model.apply(branches, x) ** 2)

        kernel = branches["params"]["stem"]["conv"]["kernel"]
        return float(jnp.abs(jax.jit(jax.grad(loss))(kernel)).max())

    assert stem_gradient("none") == 0.0
    assert stem_gradient("pad") > 0.0


def test_trains_with_masks_and_odd_sizes():
    model = small(shortcut="projection")
    x = jax.random.normal(KEY, (3, 7, 9, 1))
    variables = jax.jit(model.init)(KEY, x)
    context = Context(training=True, mask=jnp.array([1.0, 1.0, 0.0]))
    run = jax.jit(lambda x: model.apply(variables, x, context, mutable=["batch_stats"]))
    logits, state = run(x)
    padded_logits, padded_state = run(x.at[2].set(1e3))
    np.testing.assert_allclose(padded_logits[:2], logits[:2], rtol=1e-5, atol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), state, padded_state
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shortcut": "A"}, "unknown shortcut 'A': give one of pad, projection, none"),
        ({"shortcut": "none", "zero_init_last": True}, "needs shortcuts"),
    ],
)
def test_errors_are_one_clear_line(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options).init(KEY, jnp.zeros((1, 8, 8, 3)))
