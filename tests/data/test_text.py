"""Texts as data sets of tokens: parts, vocabulary of the training part, other sets."""

import numpy as np
import pytest

from jaxdl.data import text
from tests.data.test_text_sets import prepared, write

ANIMALS = ["cat", "dog", "owl"]


def rows(count, words=ANIMALS):
    """Texts of three words, labelled by the one in the middle."""
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, 3, count)
    return [f"number {i} {words[c]} here,{words[c]}" for i, c in enumerate(chosen)]


@pytest.fixture
def animals(tmp_path):
    return write(tmp_path / "animals.csv", rows(60))


def load(name, **changes):
    return text.load(name, **{"size": 50, "length": 4, **changes})


def held(source):
    return source.fetch(np.arange(source.size))


def test_parts_and_a_vocabulary_of_the_training_part_alone(animals):
    data = load(animals, size=1_000)
    assert [part.size for part in data.parts.values()] == [36, 12, 12]
    assert data.classes == tuple(ANIMALS)
    assert data.input_shape == (4,)
    assert text.kind_of(data) == "multiclass"
    train = held(data.train)
    assert train["inputs"].dtype == np.int32
    assert train["targets"].dtype == np.int32
    # Every text has a number of its own, which only the training part may know.
    assert np.all(train["inputs"] > 1)
    assert data.preprocess.size == 2 + 2 + 3 + 36
    for part in (data.validation, data.test):
        assert np.all(held(part)["inputs"][:, 1] == 1)
        np.testing.assert_array_equal(held(part)["inputs"][:, 3] > 1, True)
    for row, label in zip(train["inputs"], train["targets"], strict=True):
        assert data.preprocess.decode(row).split()[2] == ANIMALS[label]


def test_parts_hold_their_share_of_each_class_and_follow_the_split_seed(animals):
    data, again = load(animals), load(animals)
    other = load(animals, split_seed=1)
    counts = [np.bincount(held(p)["targets"], minlength=3) for p in data.parts.values()]
    whole = np.sum(counts, axis=0)
    for part, size in zip(counts, (36, 12, 12), strict=True):
        assert np.all(np.abs(part - whole * size / 60) <= 1.01)
    np.testing.assert_array_equal(
        held(data.train)["inputs"], held(again.train)["inputs"]
    )
    assert held(other.train)["inputs"].tolist() != held(data.train)["inputs"].tolist()


def test_kinds_of_labels(tmp_path):
    binary = [row for row in rows(40) if "owl" not in row]
    data = load(write(tmp_path / "two.csv", binary))
    assert text.kind_of(data) == "binary"
    several = [f"{row}|{'even' if i % 2 else 'odd'}" for i, row in enumerate(rows(60))]
    data = load(write(tmp_path / "several.csv", several))
    assert text.kind_of(data) == "multilabel"
    assert data.classes == ("cat", "dog", "even", "odd", "owl")
    np.testing.assert_array_equal(held(data.test)["targets"].sum(1), 2.0)


def test_parts_of_its_own_are_kept(tmp_path):
    parts = {"train": [(f"word{i}", i % 2) for i in range(20)], "test": [("word1", 1)]}
    prepared(tmp_path, parts)
    data = load("little_reviews", data_dir=tmp_path)
    assert [part.size for part in data.parts.values()] == [16, 4, 1]
    with pytest.raises(ValueError, match="fraction=2 is not allowed"):
        load("little_reviews", data_dir=tmp_path, validation_fraction=2)


def test_a_large_set_is_streamed(animals):
    data = load(animals, memory_budget=100)
    assert data.train.arrays is None
    np.testing.assert_array_equal(
        held(data.train)["inputs"], held(load(animals).train)["inputs"]
    )


def test_another_set_is_read_with_ones_own_vocabulary_and_classes(animals, tmp_path):
    own = load(animals)
    table = ["an owl here,owl", "a cat,cat", "a bat,cat"]
    other = text.other_texts(write(tmp_path / "other.csv", table), own)
    assert (other.name, other.classes) == (f"csv:{tmp_path}/other.csv", own.classes)
    known = own.preprocess.encode(["an owl here", "a cat", "a bat"])
    for part in other.parts.values():  # all of it, in every part
        np.testing.assert_array_equal(held(part)["inputs"], known)
        np.testing.assert_array_equal(held(part)["targets"], [2, 0, 0])
    renamed = [row.rsplit(",", 1)[0] + f",{i % 3}" for i, row in enumerate(rows(6))]
    other = text.other_texts(write(tmp_path / "numbers.csv", renamed), own)
    np.testing.assert_array_equal(held(other.test)["targets"], [0, 1, 2, 0, 1, 2])


def test_labels_of_another_set_keep_their_names(tmp_path):
    several = [f"{row}|{'even' if i % 2 else 'odd'}" for i, row in enumerate(rows(60))]
    own = load(write(tmp_path / "own.csv", several))
    name = write(tmp_path / "other.csv", ["x,odd|owl", "y,cat", "z,odd"])
    found = held(text.other_texts(name, own).test)["targets"]
    np.testing.assert_array_equal(
        found, [[0, 0, 0, 1, 1], [1, 0, 0, 0, 0], [0, 0, 0, 1, 0]]
    )
    with pytest.raises(ValueError, match="one of its labels a text, but .* multilabel"):
        text.other_texts(write(tmp_path / "one.csv", ["x,odd", "y,odd"]), own)


def test_what_cannot_be_used_is_one_line(animals, tmp_path):
    own = load(animals)
    far = write(tmp_path / "far.csv", [f"x{i},{'ab'[i % 2]}" for i in range(8)])
    same = write(tmp_path / "same.csv", [f"x{i},a" for i in range(8)])
    mute = write(
        tmp_path / "mute.csv", [f"{'!' * i},{'ab'[i % 2]}" for i in range(1, 20)]
    )
    many = write(tmp_path / "many.csv", ["x,a", "y,b", "z,c"])
    for call, message in (
        (lambda: load(many), "3 texts with 3 different labels, too many for classes"),
        (lambda: text.other_texts(far, own), "classes a, b, but the run .* cat, dog"),
        (lambda: load(same), r"has one class only \(a\)"),
        (lambda: load(mute), "no text of the training part holds a word"),
        (lambda: load(animals, size=1), "--vocabulary is 1"),
        (lambda: load(animals, length=-3), "--length is -3"),
        (lambda: load(animals, keep="x"), "--keep is 'x'"),
        (lambda: load("imdb_reviews", data_dir="/missing"), "--data_dir=/missing does"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
            call()
        assert "\n" not in str(error.value)
