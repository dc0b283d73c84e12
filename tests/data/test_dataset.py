"""Data sets by name and of one's own arrays: parts, normalisation, warnings."""

import numpy as np
import pytest
from absl import logging
from sklearn.datasets import load_digits

from jaxdl import data
from jaxdl.data import embedded

RNG = np.random.default_rng(0)


def test_digits_are_those_of_scikit_learn(monkeypatch):
    expected = load_digits()
    stored = embedded.digits()
    held = stored.train.fetch(np.arange(1_797))
    np.testing.assert_array_equal(held["inputs"][..., 0], expected.images)
    np.testing.assert_array_equal(held["targets"], expected.target)
    assert held["inputs"].dtype == np.uint8
    # Where its table lies elsewhere, scikit-learn itself is asked.
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda name: None)
    np.testing.assert_array_equal(
        embedded.digits().train.fetch(np.arange(1_797))["inputs"], held["inputs"]
    )


def test_digits_by_name():
    dataset = data.load("digits")
    assert dataset.name == "digits"
    assert [s.size for s in dataset.parts.values()] == [1_079, 359, 359]
    assert dataset.input_shape == (8, 8, 1)
    assert dataset.classes == tuple("0123456789")
    assert dataset.preprocess.high == 16.0
    everything = np.concatenate([s.arrays["inputs"] for s in dataset.parts.values()])
    whole = embedded.digits().train.arrays["inputs"]
    assert sorted(map(bytes, everything)) == sorted(map(bytes, whole))
    counts = np.bincount(dataset.test.arrays["targets"])
    assert counts.min() >= 34
    assert counts.max() <= 38


def test_normalisation_sees_the_training_part_alone():
    dataset = data.load("digits")
    train = dataset.train.arrays["inputs"]
    np.testing.assert_allclose(dataset.preprocess.mean, train.mean(), rtol=1e-12)
    np.testing.assert_allclose(dataset.preprocess.std, train.std(), rtol=1e-12)


def test_the_split_seed_decides():
    one, same, other = (data.load("digits", split_seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.test.arrays["inputs"], same.test.arrays["inputs"])
    assert not np.array_equal(one.test.arrays["inputs"], other.test.arrays["inputs"])


def test_digits_have_their_size():
    with pytest.raises(ValueError, match="--image_size=32 is for image files and TFDS"):
        data.load("digits", image_size=32)


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "uint8", "int16", "int64", "bool"]
)
@pytest.mark.parametrize("shape", [(), (3,), (4, 3), (4, 4, 2), (2, 4, 4, 1)])
def test_arrays_of_any_kind(dtype, shape):
    inputs = RNG.integers(0, 2, (50, *shape)).astype(dtype)
    dataset = data.from_arrays(inputs, RNG.integers(0, 2, 50), name="mine")
    assert dataset.name == "mine"
    assert [s.size for s in dataset.parts.values()] == [30, 10, 10]
    held = dataset.train.arrays["inputs"]
    kept = {"float64": "float32", "int64": "int32", "bool": "uint8"}.get(dtype, dtype)
    assert held.dtype == kept
    grey = kept == "uint8" and len(shape) == 2
    assert dataset.input_shape == ((*shape, 1) if grey else shape)
    applied = np.asarray(dataset.preprocess.apply(held))
    assert applied.dtype == np.float32
    assert np.isfinite(applied).all()


def test_arrays_of_regression_and_with_parts_of_their_own():
    x, y = RNG.normal(size=(50, 4)), RNG.normal(size=(50, 2))
    dataset = data.from_arrays(x, y, test=(x[:5], y[:5]), validation=(x[5:8], y[5:8]))
    assert [s.size for s in dataset.parts.values()] == [50, 3, 5]
    assert dataset.classes == ()
    held = dataset.test.arrays
    assert held["targets"].dtype == np.float32
    np.testing.assert_allclose(held["targets"], y[:5], rtol=1e-6)


def test_class_names_and_classes_that_only_the_test_part_has():
    x = RNG.normal(size=(50, 4))
    y = np.arange(50) % 2
    dataset = data.from_arrays(x, y, test=(x, y + 1))
    assert dataset.classes == ("0", "1", "2")
    assert data.from_arrays(x, y, classes=["no", "yes"]).classes == ("no", "yes")
    with pytest.raises(ValueError, match="test targets hold the label 2"):
        data.from_arrays(x, y, test=(x, y + 1), classes=["no", "yes"])


@pytest.mark.parametrize(
    ("pixels", "high"),
    [
        (np.array([0.0, 0.5, 1.0]), 1.0),
        (np.array([0.0, 3.0, 255.0]), 255.0),
        (np.array([-1.0, 0.0, 1.0]), None),
        (np.array([0, 3], np.uint8), 255.0),
    ],
)
def test_the_scale_of_images_is_recognised(pixels, high):
    inputs = np.resize(pixels, (40, 3, 3, 1))
    assert data.from_arrays(inputs, np.arange(40) % 2).preprocess.high == high


def test_parts_of_different_shape_are_refused():
    x, y = RNG.normal(size=(50, 4)), np.arange(50) % 2
    with pytest.raises(
        ValueError, match=r"differ in shape between its parts: \[4\], \[3\]"
    ):
        data.from_arrays(x, y, test=(x[:, :3], y))


def test_integers_that_fit_no_device_are_refused():
    with pytest.raises(ValueError, match="integers beyond 32 bits"):
        data.from_arrays(np.full((50, 2), 2**40), np.arange(50) % 2)


def test_repeated_examples_are_warned_of(monkeypatch):
    warnings = []
    monkeypatch.setattr(
        logging, "warning", lambda text, *rest: warnings.append(text % rest)
    )
    x, y = RNG.normal(size=(50, 4)), np.arange(50) % 2
    data.from_arrays(x, y)
    assert not warnings
    data.from_arrays(x, y, validation=(x[:1] + 1, y[:1]), test=(x[:7], y[:7]))
    assert warnings == ["arrays: 7 of 7 test examples are also in the training part"]


def test_folds_are_subsets_that_feed():
    dataset = data.from_arrays(np.arange(50.0)[:, None], np.arange(50) % 2)
    for train, validation in data.kfold(dataset.train.size, 3, 0):
        parts = (
            data.subset(dataset.train, train),
            data.subset(dataset.train, validation),
        )
        seen = np.concatenate([p.arrays["inputs"][:, 0] for p in parts])
        np.testing.assert_array_equal(
            np.sort(seen), np.sort(dataset.train.arrays["inputs"][:, 0])
        )
        assert data.feed(parts[0], 4, 0)(0)["inputs"].shape == (4, 1)
