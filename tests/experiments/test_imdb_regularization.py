"""Regularization of a classifier of texts: a short run, its penalties, one program."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import imdb_regularization as regularization
from jaxdl import data as data_room
from tests.data.test_text_sets import write


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Of a short run on 80 reviews, good and bad."""
    words = [("dull", "poor"), ("fine", "great")]
    rng = np.random.default_rng(0)
    rows = [
        f"a {words[i % 2][rng.integers(2)]} film of {rng.integers(1900, 2000)},"
        f"{('bad', 'good')[i % 2]}"
        for i in range(80)
    ]
    return regularization.Settings(
        dataset=write(tmp_path_factory.mktemp("data") / "reviews.csv", rows),
        vocabulary=40,
        length=8,
        larger="4,4",  # as the smaller one: compiled once
        epochs=2,
        batch_size=8,
        learning_rate=0.01,
        seeds=2,
    )


@pytest.fixture(scope="module")
def data(settings):
    return regularization.build(settings)


def test_command_leaves_tables_and_pictures(settings, tmp_path, capsys):
    folder = tmp_path / "run"
    short = dataclasses.replace(
        settings, epochs=1, batch_size=32, seeds=1, workdir=str(folder), json=True
    )
    assert regularization.main(short) == 0
    printed = json.loads(capsys.readouterr().out)
    kept = json.loads((folder / "comparison.json").read_text())
    assert {k: v for k, v in printed.items() if k != "report"} == kept
    names = ["original", "smaller", "larger", "L2", "L1", "dropout"]
    assert list(kept["variants"]) == names
    assert kept["steps_an_epoch"] == 1
    assert all(each["at"] == [1] for each in kept["variants"].values())
    pictures = {path.name for path in (folder / "plots").iterdir()}
    assert pictures == set(regularization.CAPTIONS)
    text = (folder / "comparison.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(names)
    assert "| larger 4-4 " in rows[3]
    assert "89.01% / 86.8%" in rows[3]
    with pytest.raises(ValueError, match="another --workdir"):
        regularization.main(short)


def test_gradient_of_the_penalty_is_that_of_keras():
    """l1 sign(W) + 2 l2 W for weights, nothing for biases."""
    kernel = jnp.array([[0.5, -2.0], [3.0, -0.25]])
    params = {"kernel": kernel, "bias": jnp.array([1.0, -1.0])}
    numbers = {"l1": 0.1, "l2": 0.01}
    found = jax.grad(regularization.penalty)(params, numbers)
    expected = 0.1 * np.sign(kernel) + 2 * 0.01 * kernel
    np.testing.assert_allclose(found["kernel"], expected, rtol=1e-6)
    np.testing.assert_array_equal(found["bias"], 0)
    value = 0.1 * np.abs(kernel).sum() + 0.01 * np.square(kernel).sum()
    assert regularization.penalty(params, numbers) == pytest.approx(float(value))


def alone(settings, data, variants):
    """By variant, the parameters of seed 0 after the steps of one that trains alone."""
    _, length = regularization.length_of(settings, data.train.size)
    first = next(iter(variants.values()))
    net = regularization._network(settings, data, settings.hidden, first)
    feed = data_room.feed(data.train, length.batch_size, seed=0)
    create, step = jax.jit(net.create), jax.jit(net.step)
    found = {}
    for name, numbers in variants.items():
        state = create(0)
        given = {key: jnp.float32(number) for key, number in numbers.items()}
        state = state.replace(hyper={**state.hyper, **given})
        for number in range(length.steps):
            state, _ = step(state, feed(number))
        found[name] = jax.tree.leaves(state.params)
    return found


def test_variants_of_one_program_are_what_each_is_alone(settings, data):
    """Also the original: a penalty of 0 and dropout of 0 are none at all."""
    variants = regularization.in_numbers(settings)
    found = regularization.train(settings, data, settings.hidden, variants)
    together = {
        name: [leaf[0] for leaf in jax.tree.leaves(course.states.params)]
        for name, course in found.items()
    }
    without = alone(settings, data, {"original": {}})
    for apart in (alone(settings, data, variants), without):
        for name, params in apart.items():
            for one, other in zip(params, together[name], strict=True):
                # RMSprop divides by the gradient's size: rounding of small ones shows.
                np.testing.assert_allclose(one, other, atol=1e-4, err_msg=name)
    for name in ("L2", "L1", "dropout"):  # they do differ, by more than rounding
        changed = np.abs(together[name][1] - together["original"][1]).max()
        assert changed > 1e-3, name


def test_an_epoch_of_imdb_is_the_books():
    steps, length = regularization.length_of(regularization.Settings(), 15_000)
    assert (steps, length.batch_size) == (30, 512)
    assert (length.steps, length.checks, length.monitor) == (600, 20, "accuracy")


def test_an_epoch_of_fewer_texts_has_as_many_steps():
    settings = regularization.Settings()
    for examples in (30, 59, 60, 1_401, 3_000):
        steps, length = regularization.length_of(settings, examples)
        assert 30 <= steps <= 60
        assert (steps - 1) * length.batch_size < examples <= steps * length.batch_size
    assert regularization.length_of(settings, 1)[1].batch_size == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": "16;16"}, "--hidden is '16;16'"),
        ({"smaller": ""}, "--smaller is ''"),
        ({"larger": "512,0"}, "--larger is '512,0'"),
        ({"l1": -1.0}, "--l1 is -1.0"),
        ({"l1": float("nan")}, "--l1 is nan"),
        ({"l2": float("inf")}, "--l2 is inf"),
        ({"dropout": 1.0}, "--dropout is 1.0"),
        ({"epochs": 0}, "--epochs is 0"),
        ({"seeds": 0}, "--seeds is 0"),
        ({"batch_size": -1}, "--batch_size is -1"),
        ({"batch_size": 500}, "only 32 training examples"),
        ({"learning_rate": 0.0}, "--learning_rate is 0.0"),
        ({"validation_fraction": 1.5}, "--validation_fraction is 1.5"),
        ({"split_seed": -1}, "--split_seed is -1"),
        ({"vocabulary": 2}, "--vocabulary is 2"),
        ({"length": 0}, "--length is 0"),
        ({"label": "stars"}, "stars"),
        ({"dataset": "imdb_review"}, "imdb_review"),
        ({"dataset": "imdb_reviews", "data_dir": "/missing"}, "--data_dir=/missing"),
    ],
)
def test_wrong_settings_are_told_in_one_line(settings, change, message):
    with pytest.raises((ValueError, OSError), match=message) as error:
        regularization.build(dataclasses.replace(settings, **change))
    assert "\n" not in str(error.value)
