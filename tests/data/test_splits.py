"""Splits: exact counts, disjoint parts, classes shared out, folds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl.data import kfold, split, split_sizes
from jaxdl.data.splits import held_out_fraction

quick = settings(max_examples=40, deadline=None)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (10, (6, 2, 2)),
        (1_797, (1_079, 359, 359)),
        (20_000, (12_000, 4_000, 4_000)),
        (1_000_000, (980_000, 10_000, 10_000)),
        (10_000_000, (9_950_000, 25_000, 25_000)),
        (40_000_000, (39_800_000, 100_000, 100_000)),
    ],
)
def test_sizes_without_a_test_part(size, expected):
    assert split_sizes(size) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [(100, (80, 20, 0)), (60_000, (54_826, 5_174, 0)), (10**6, (990_000, 10_000, 0))],
)
def test_sizes_with_a_test_part(size, expected):
    assert split_sizes(size, has_test=True) == expected


@given(st.integers(20, 10**8))
@quick
def test_the_share_held_out_shrinks_while_its_number_grows(size):
    more = size + size // 7 + 1
    assert held_out_fraction(more) <= held_out_fraction(size) <= 0.2 + 1e-12
    assert split_sizes(more)[1] >= split_sizes(size)[1]
    assert sum(split_sizes(size)) == size


def test_a_fraction_of_ones_own():
    assert split_sizes(1_000, validation_fraction=0.1) == (700, 100, 200)
    assert split_sizes(1_000, True, 0.1) == (900, 100, 0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_a_fraction_outside_0_and_1_is_refused(fraction):
    with pytest.raises(ValueError, match="validation_fraction=.*between 0 and 1"):
        split_sizes(100, validation_fraction=fraction)


@pytest.mark.parametrize(
    ("size", "has_test", "fraction"),
    [(2, False, None), (0, True, None), (3, True, 0.01), (10, False, 0.85)],
)
def test_an_empty_part_is_refused(size, has_test, fraction):
    with pytest.raises(ValueError, match=f"{size} examples can't be divided"):
        split_sizes(size, has_test, fraction)


@given(st.integers(5, 400), st.integers(0, 9), st.integers(1, 6))
@quick
def test_parts_are_disjoint_and_every_class_has_its_share(size, seed, classes):
    labels = np.random.default_rng(seed + 1).integers(0, classes, size)
    sizes = split_sizes(size)
    parts = split(size, sizes, seed, labels)
    assert tuple(map(len, parts)) == sizes
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(size))
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        for part, wanted in zip(parts, sizes, strict=True):
            got = np.sum(labels[part] == label)
            # Two cuts, each within one example of the exact share; a cut place
            # itself is off by up to an example a class.
            assert abs(got - count * wanted / size) <= 2 + classes * count / size


def test_balanced_classes_are_divided_exactly():
    labels = np.repeat(np.arange(4), 50)
    for part, count in zip(
        split(200, (120, 40, 40), 3, labels), (30, 10, 10), strict=True
    ):
        assert np.bincount(labels[part]).tolist() == [count] * 4


def test_the_split_seed_alone_decides():
    first, again, other = (split(50, (30, 10, 10), seed) for seed in (0, 0, 1))
    assert all(map(np.array_equal, first, again))
    assert not np.array_equal(first[0], other[0])
    with pytest.raises(ValueError, match="split_seed=-1 is negative"):
        split(50, (30, 10, 10), -1)
    with pytest.raises(ValueError, match="don't add up to 50"):
        split(50, (30, 10, 9), 0)


@given(st.integers(2, 60), st.integers(2, 10), st.integers(0, 3))
@quick
def test_every_example_validates_once(size, k, seed):
    k = min(k, size)
    folds = kfold(size, k, seed)
    held_out = np.concatenate([validation for _, validation in folds])
    assert np.array_equal(np.sort(held_out), np.arange(size))
    for train, validation in folds:
        assert len(np.intersect1d(train, validation)) == 0
        assert len(train) + len(validation) == size
        assert abs(len(validation) - size / k) < 1


def test_folds_share_the_classes_evenly():
    labels = np.repeat([0, 1], [30, 10])
    for train, held_out in kfold(40, 5, 0, labels):
        assert np.bincount(labels[held_out]).tolist() == [6, 2]
        assert np.bincount(labels[train]).tolist() == [24, 8]


@pytest.mark.parametrize("k", [0, 1, 11])
def test_folds_beyond_the_examples_are_refused(k):
    with pytest.raises(ValueError, match="allowed are 2 to 10 folds"):
        kfold(10, k, 0)
