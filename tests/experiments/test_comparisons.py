"""The comparisons of settings: short runs of each command, and what they measure."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import (
    batch_sizes,
    data_scale,
    features,
    optimizers,
    regularization,
    spatial,
    stacks,
)
from jaxdl import data as data_room
from jaxdl import models
from jaxdl import optimizers as recipes
from jaxdl.runs.folder import RunFolder

SHORT = {
    optimizers: {"optimizers": "adam", "rates": "0.001,0.1", "steps": 8},
    regularization: {"examples": 60, "epochs": 2, "scale_epochs": 0, "shift": 0},
    batch_sizes: {"sizes": "16,full", "rates": "0.1", "examples": 64, "epochs": 2},
    data_scale: {"sizes": "40", "steps": 3, "draws": 2},
    spatial: {"steps": 3, "test_examples": 20},
}
SMALL = {
    optimizers: {"hidden_layers": 1, "units": 8, "batch_size": 16},
    regularization: {"hidden_layers": 1, "units": 8, "batch_size": 20, "seeds": 1},
    batch_sizes: {"units": 8},
    data_scale: {"batch_size": 16},
    spatial: {"batch_size": 16, "seeds": 1},
}


def short(module, **more):
    return module.Settings(**SHORT[module], **SMALL[module], **more)


# Many kinds of models take long to compile; the parts are tested below.
LONG = [
    pytest.param(module, marks=pytest.mark.slow) for module in (data_scale, spatial)
]


@pytest.mark.parametrize(
    "module", [optimizers, regularization, batch_sizes, *LONG], ids=lambda m: m.NAME
)
def test_command_leaves_tables_and_pictures(module, tmp_path, capsys):
    folder = tmp_path / "run"
    settings = short(module, workdir=str(folder), json=True)
    assert module.main(settings) == 0
    printed = json.loads(capsys.readouterr().out)
    kept = json.loads((folder / "comparison.json").read_text())
    assert {k: v for k, v in printed.items() if k != "report"} == kept
    assert kept["experiment"] == module.NAME
    pictures = {path.name for path in (folder / "plots").iterdir()}
    assert pictures == set(module.CAPTIONS) - {"batch_norm.png"}  # left out here
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png") == len(pictures)
    text = (folder / "comparison.md").read_text()
    assert text.count("\n| ") > 2
    with pytest.raises(ValueError, match="another --workdir"):
        module.main(settings)


def test_features_of_digits(tmp_path):
    settings = features.Settings(restarts=1, examples=200, workdir=str(tmp_path))
    found = features.compare(settings, features.build(settings), str)
    assert found.tables()[0].rows == [["90%", "21", "87"], ["95%", "28", "154"]]
    few = found.counts.tolist().index(10)
    assert found.errors[features.COMPONENTS][few] < found.errors[features.BY_F][few]
    assert all(0.3 < each.accuracy <= each.purity for each in found.agreement.values())
    assert set(found.draw(RunFolder(tmp_path))) == set(features.CAPTIONS)
    with pytest.raises(ValueError, match="--restarts is 0"):
        features.build(features.Settings(restarts=0))


@pytest.mark.slow
def test_batch_norm_learns_where_plain_networks_do_not(tmp_path):
    settings = regularization.Settings(seeds=1, epochs=1, workdir=str(tmp_path / "run"))
    found = regularization.compare(settings, regularization.build(settings), str)
    small = regularization.SCALES < 0.05
    last = {norm: c.train["accuracy"][small, -1] for norm, c in found.scales.items()}
    assert last[True].max() > 0.95
    assert last[False].max() < 0.2
    found.draw(RunFolder(tmp_path))
    pictures = {path.name for path in (tmp_path / "plots").iterdir()}
    assert pictures == set(regularization.CAPTIONS)


@pytest.fixture(scope="module")
def digits():
    return data_room.load("digits")


@pytest.fixture(scope="module")
def small(digits):
    mlp = models.create("mlp", classes=10, hidden=(8,))
    return stacks.network(digits, mlp, recipes.make("sgd"), {"learning_rate": 0.1})


def test_members_of_a_stack_train_as_they_would_alone(digits, small):
    rates = (0.01, 0.1, 0.5)
    states = stacks.with_numbers(
        stacks.seeds(small, 2), [{"learning_rate": rate} for rate in rates]
    )
    np.testing.assert_allclose(states.hyper["learning_rate"], np.repeat(rates, 2))
    length = stacks.Length(steps=6, batch_size=16, checks=3)
    course = stacks.train_stack(digits, small, states, length)
    assert course.at.tolist() == [2, 4, 6]
    assert course.train["loss"].shape == course.running.shape == (6, 3)
    assert course.test.shape == course.test_at_best.shape == (6,)
    state = jax.jit(small.create)(1)
    hyper = {"learning_rate": jnp.float32(0.1)}
    state = state.replace(hyper=hyper)
    feed = data_room.feed(digits.train, 16, seed=0)
    step = jax.jit(small.step)
    for number in range(6):
        state, _ = step(state, feed(number))
    mine = jax.tree.map(lambda leaf: leaf[3], course.states.params)
    for one, other in zip(
        jax.tree.leaves(mine), jax.tree.leaves(state.params), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    half = stacks.part(course, slice(2, 4))
    np.testing.assert_array_equal(half.test, course.test[2:4])


def test_the_best_check_is_the_one_that_is_tested(digits, small):
    """A rate so large that what was learned is lost: the last state is no better."""
    states = stacks.with_numbers(stacks.seeds(small, 1), [{"learning_rate": 3.0}])
    course = stacks.train_stack(digits, small, states, stacks.Length(30, 16, 10))
    best = int(course.best_check[0])
    assert course.validation["loss"][0, best] == course.validation["loss"][0].min()
    if best == len(course.at) - 1:
        assert course.test_at_best[0] == course.test[0]
    else:
        assert course.test_at_best[0] == pytest.approx(
            course.validation["accuracy"][0, best], abs=0.15
        )


def test_noise_of_a_gradient_is_that_of_drawing_without_replacement(digits, small):
    few = dataclasses.replace(
        digits, train=data_room.subset(digits.train, np.arange(64))
    )
    measured, expected = batch_sizes.noise(few, small, (1, 4, 16, 64))
    for size in (1, 4, 16):
        assert measured[size] == pytest.approx(expected[size], rel=0.2)
    assert measured[64] < 1e-10
    assert expected[64] == 0
    ratio = expected[1] / expected[4]
    assert ratio == pytest.approx(4 / (1 - 3 / 63))


def test_the_mean_of_single_gradients_is_the_whole_one(digits, small):
    state = jax.jit(small.create)(0)
    examples = digits.train.fetch(np.arange(8))
    look = jax.jit(batch_sizes.gradients, static_argnums=0)
    single = look(small, state, batch_sizes._stacked(examples, np.arange(8)[:, None]))
    whole = look(small, state, batch_sizes._stacked(examples, np.arange(8)[None]))
    np.testing.assert_allclose(single.mean(axis=0), whole[0], rtol=1e-4, atol=1e-6)


def test_bias_and_variance_of_known_predictions():
    targets = np.array([0, 1, 2, 2])
    predictions = np.array([[0, 1, 1, 2], [0, 1, 1, 0], [0, 2, 1, 2]])
    bias, variance = data_scale.bias_and_variance(predictions, targets)
    assert bias == 1 / 4  # the third example, by all draws
    assert variance == 2 / 12
    same = np.stack([targets] * 3)
    assert data_scale.bias_and_variance(same, targets) == (0, 0)


def test_convolution_moves_with_its_image_and_pooling_by_its_stride():
    image = np.zeros((1, 16, 16, 1), np.float32)
    image[0, 5:9, 5:9, 0] = np.random.default_rng(0).normal(size=(4, 4))
    found = spatial.differences(image, 3)
    np.testing.assert_array_equal(found["convolution"], 0)
    np.testing.assert_array_equal(found["convolution, max pooling"][::2], 0)
    assert (found["convolution, max pooling"][1::2] > 0.1).all()
    assert (found["affine"][1:] > 0.1).all()


def test_permuted_pixels_are_the_same_ones_in_every_image():
    images = np.arange(2 * 3 * 4).reshape(2, 3, 4, 1)
    order = np.random.default_rng(0).permutation(12)
    mixed = spatial.permute(images, order)
    np.testing.assert_array_equal(mixed[1] - mixed[0], 12)
    back = spatial.permute(mixed, np.argsort(order))
    np.testing.assert_array_equal(back, images)


def test_weights_are_brought_to_a_scale(digits):
    net = regularization._network(short(regularization), digits)
    state = regularization._scaled(net, 0.5)
    kernels = [leaf for leaf in jax.tree.leaves(state.params) if leaf.ndim > 1]
    assert len(kernels) == 2
    for kernel in kernels:
        assert float(jnp.std(kernel)) == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize(
    ("module", "change", "message"),
    [
        (optimizers, {"optimizers": "adma"}, "unknown optimizer 'adma'"),
        (optimizers, {"optimizers": ""}, "--optimizers is empty"),
        (optimizers, {"rates": "0.1,fast"}, "--rates has 'fast'"),
        (optimizers, {"rates": "0"}, "--rates has '0'"),
        (optimizers, {"batch_size": 5000}, "--batch_size is 5000"),
        (regularization, {"examples": 5000}, "--examples is 5000"),
        (regularization, {"batch_size": 70}, "more than --examples=60"),
        (regularization, {"dropout": 1.0}, r"--dropout in \[0, 1\)"),
        (batch_sizes, {"sizes": "0"}, "--sizes has '0'"),
        (batch_sizes, {"sizes": "2000"}, "numbers from 1 to 64"),
        (batch_sizes, {"units": 0}, "--units is 0"),
        (spatial, {"largest_shift": 0}, "--largest_shift is 0"),
        (data_scale, {"sizes": "10"}, "--sizes has '10'"),
        (data_scale, {"sizes": ""}, "--sizes is empty"),
        (data_scale, {"split_seed": -1}, "--split_seed is -1"),
    ],
)
def test_wrong_settings_are_told_in_one_line(module, change, message):
    settings = dataclasses.replace(short(module), **change)
    with pytest.raises(ValueError, match=message) as error:
        module.build(settings)
    assert "\n" not in str(error.value)
