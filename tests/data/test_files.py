"""The user's own files: npz archives and folders of images."""

import os

import numpy as np
import pytest
from PIL import Image

from jaxdl import data

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (40, 6, 5), dtype=np.uint8)
Y = np.arange(40) % 4


def _npz(tmp_path, **arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    return f"npz:{tmp_path / 'a.npz'}"


@pytest.mark.parametrize(
    ("inputs", "targets"),
    [("x_train", "y_train"), ("inputs", "targets"), ("images", "labels"), ("x", "y")],
)
def test_npz_under_any_usual_name(tmp_path, inputs, targets):
    dataset = data.load(_npz(tmp_path, **{inputs: X, targets: Y}))
    assert (dataset.train.size, dataset.validation.size, dataset.test.size) == (
        24,
        8,
        8,
    )
    assert dataset.input_shape == (6, 5, 1)  # Grey images got their channel.
    assert dataset.classes == ("0", "1", "2", "3")
    assert dataset.preprocess.high == 255.0
    stored = dataset.train.fetch(np.arange(24))
    assert stored["inputs"].dtype == np.uint8
    assert stored["targets"].dtype == np.int32


def test_npz_as_keras_writes_it(tmp_path):
    name = _npz(
        tmp_path,
        x_train=X,
        y_train=Y[:, None],
        x_test=X[:8],
        y_test=Y[:8],
        classes=np.array(["a", "b", "c", "d"]),
    )
    dataset = data.load(name, validation_fraction=0.25)
    assert (dataset.train.size, dataset.validation.size, dataset.test.size) == (
        30,
        10,
        8,
    )
    assert dataset.classes == ("a", "b", "c", "d")
    np.testing.assert_array_equal(dataset.test.fetch(np.arange(8))["targets"], Y[:8])


def test_npz_with_a_validation_part_of_its_own(tmp_path):
    parts = {"x_val": X[:4], "y_val": Y[:4], "x_test": X[4:8], "y_test": Y[4:8]}
    name = _npz(tmp_path, x_train=X, y_train=Y, **parts)
    dataset = data.load(name)
    assert (dataset.train.size, dataset.validation.size, dataset.test.size) == (
        40,
        4,
        4,
    )
    with pytest.raises(
        ValueError, match="has a validation part of its own .4 examples"
    ):
        data.load(name, validation_fraction=0.2)


def test_npz_of_regression(tmp_path):
    dataset = data.load(
        _npz(tmp_path, x=RNG.normal(size=(40, 3)), y=RNG.normal(size=40))
    )
    assert dataset.classes == ()
    assert dataset.preprocess.high is None
    assert dataset.train.fetch(np.arange(2))["targets"].dtype == np.float32


def test_npz_larger_than_the_budget_streams_the_same(tmp_path):
    name = _npz(tmp_path, x=X, y=Y)
    small, large = data.load(name), data.load(name, memory_budget=100)
    assert small.train.arrays is not None
    assert large.train.arrays is None
    assert small.preprocess == large.preprocess
    one, two = (d.train.fetch(np.arange(24)) for d in (small, large))
    np.testing.assert_array_equal(one["inputs"], two["inputs"])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": X, "b": Y}, "holds a, b; its arrays must be named x_train/y_train"),
        ({"x": X, "y": Y[:-1]}, "40 inputs but 39 targets"),
        ({"x": X, "y": Y - 1}, "hold the label -1, allowed are 0 to 2"),
        (
            {"x": X, "y": Y, "classes": np.array(["a", "b"])},
            "label 3, allowed are 0 to 1",
        ),
        (
            {"x": X, "y": Y + 0.5, "classes": np.array(list("abcd"))},
            "targets hold float64",
        ),
        (
            {"x": np.full((40, 2), np.nan), "y": Y},
            "NaN or infinite values, first in example 0",
        ),
        ({"x": X, "y": np.where(Y == 1, np.inf, 0.5)}, "targets hold NaN or infinite"),
        ({"x": X.astype(str), "y": Y}, "inputs hold <U3; give an array of numbers"),
        ({"x": X, "y": Y.astype(str)}, "targets hold <U"),
        ({"x": X, "y": np.array([None] * 40)}, "no archive of plain NumPy arrays"),
        ({"x": X[:0], "y": Y[:0]}, "hold no examples"),
        ({"x": X, "y": Y * 0}, "has one class only"),
        ({"x": X[:2], "y": Y[:2]}, "2 examples can't be divided"),
        ({"x": X, "y": np.stack([Y, Y], 1)}, "class indices have one axis"),
    ],
    ids=[
        "names",
        "length",
        "negative",
        "range",
        "float",
        "nan",
        "inf",
        "text",
        "words",
        "objects",
        "empty",
        "one class",
        "few",
        "two axes",
    ],
)
def test_npz_that_cannot_be_learned_from(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message) as caught:
        data.load(_npz(tmp_path, **arrays))
    assert "\n" not in str(caught.value)


def test_files_that_are_no_archive(tmp_path):
    with pytest.raises(FileNotFoundError, match="npz:.*does not exist"):
        data.load(f"npz:{tmp_path / 'no.npz'}")
    (tmp_path / "text.npz").write_text("1,2,3")
    with pytest.raises(ValueError, match="no archive of plain NumPy arrays"):
        data.load(f"npz:{tmp_path / 'text.npz'}")
    np.save(tmp_path / "one.npy", X)
    with pytest.raises(ValueError, match="it is a single array"):
        data.load(f"npz:{tmp_path / 'one.npy'}")
    np.savez(tmp_path / "whole.npz", x=X, y=Y)
    whole = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "part.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="no archive of plain NumPy arrays"):
        data.load(f"npz:{tmp_path / 'part.npz'}")
    with pytest.raises(ValueError, match="--image_size=8 is for image files and TFDS"):
        data.load(f"npz:{tmp_path / 'whole.npz'}", image_size=8)


def _write(root, classes=("cat", "dog"), count=10, shape=(6, 5), kind="png"):
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = RNG.integers(0, 100, shape, dtype=np.uint8)
            pixels[0, 0] = 200 + label
            Image.fromarray(pixels).save(root / name / f"{i:03}.{kind}")
    return f"folder:{root}"


def test_a_folder_of_classes(tmp_path):
    name = _write(tmp_path)
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden").mkdir()
    dataset = data.load(name)
    assert dataset.classes == ("cat", "dog")
    assert dataset.input_shape == (6, 5, 1)
    assert (dataset.train.size, dataset.validation.size, dataset.test.size) == (
        12,
        4,
        4,
    )
    for source in dataset.parts.values():
        held = source.fetch(np.arange(source.size))
        np.testing.assert_array_equal(held["inputs"][:, 0, 0, 0], 200 + held["targets"])


def test_a_folder_with_parts_of_its_own(tmp_path):
    _write(tmp_path / "train", count=20)
    _write(tmp_path / "test", count=3)
    dataset = data.load(f"folder:{tmp_path}")
    assert (dataset.train.size, dataset.validation.size, dataset.test.size) == (
        32,
        8,
        6,
    )
    _write(tmp_path / "val", count=2)
    dataset = data.load(f"folder:{tmp_path}")
    assert (dataset.train.size, dataset.validation.size, dataset.test.size) == (
        40,
        4,
        6,
    )


def test_a_folder_without_test_is_tested_on_its_validation_part(tmp_path):
    _write(tmp_path / "train", count=20)
    _write(tmp_path / "val", count=2)
    dataset = data.load(f"folder:{tmp_path}")
    assert (dataset.train.size, dataset.validation.size, dataset.test.size) == (
        32,
        8,
        4,
    )


def test_grey_and_colour_together_are_colour(tmp_path):
    _write(tmp_path)
    _write(tmp_path, ("fox",), 5, (6, 5, 3), "jpg")
    dataset = data.load(f"folder:{tmp_path}")
    assert dataset.input_shape == (6, 5, 3)
    assert dataset.classes == ("cat", "dog", "fox")


def test_a_folder_larger_than_the_budget_streams_the_same(tmp_path):
    name = _write(tmp_path)
    small, large = data.load(name), data.load(name, memory_budget=10)
    assert large.train.arrays is None
    assert small.preprocess == large.preprocess
    with data.feed(large.train, 5, 0) as streamed:
        resident = data.feed(small.train, 5, 0)
        for step in range(4):
            one, two = resident(step), streamed(step)
            for key in one:
                np.testing.assert_array_equal(one[key], two[key])


def test_images_of_two_sizes(tmp_path):
    _write(tmp_path)
    _write(tmp_path, ("fox",), 5, (8, 9))
    with pytest.raises(
        ValueError, match=r"cat/000\.png is 5x6, .*fox/000\.png is 9x8; --image_size=N"
    ):
        data.load(f"folder:{tmp_path}")
    assert data.load(f"folder:{tmp_path}", image_size=4).input_shape == (4, 4, 1)
    with pytest.raises(ValueError, match="--image_size=0 is not allowed"):
        data.load(f"folder:{tmp_path}", image_size=0)


def _read_all(dataset):
    for source in dataset.parts.values():
        source.fetch(np.arange(source.size))


@pytest.mark.parametrize("budget", [2**30, 0])
@pytest.mark.parametrize("keep", [0, 20, 60])
def test_a_corrupt_image_is_named(tmp_path, budget, keep):
    name = _write(tmp_path)
    file = tmp_path / "dog" / "004.png"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"dog/004\.png can't be read") as caught:
        _read_all(data.load(name, memory_budget=budget))
    assert "\n" not in str(caught.value)


def test_folders_that_hold_no_data_set(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist or is no folder"):
        data.load(f"folder:{tmp_path / 'no'}")
    with pytest.raises(ValueError, match="holds 0 class folders.*cat/1.png"):
        data.load(f"folder:{tmp_path}")
    (tmp_path / "cat").mkdir()
    with pytest.raises(ValueError, match="holds 1 class folders, at least 2"):
        data.load(f"folder:{tmp_path}")
    (tmp_path / "dog").mkdir()
    with pytest.raises(ValueError, match="cat holds no PNG or JPEG images"):
        data.load(f"folder:{tmp_path}")


def test_a_class_of_the_test_part_alone_is_refused(tmp_path):
    _write(tmp_path / "train")
    _write(tmp_path / "test", ("cat", "fox"))
    with pytest.raises(
        ValueError, match="has the class 'fox', which the training part"
    ):
        data.load(f"folder:{tmp_path}")


def test_a_pipe_among_the_images_is_not_waited_for(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        os.mkfifo(tmp_path / name / "1.png")
    with pytest.raises(ValueError, match="1.png is no image file"):
        data.load(f"folder:{tmp_path}")


def test_a_class_whose_name_is_no_text_is_refused(tmp_path):
    for name in (b"cat", b"\xff\x1b[31m"):
        os.makedirs(os.fsencode(tmp_path) + b"/" + name)
    with pytest.raises(ValueError, match=r"\\udcff\\x1b\[31m.*rename it"):
        data.load(f"folder:{tmp_path}")
