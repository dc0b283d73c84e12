"""Targets: which kind they are, and what is refused."""

import numpy as np
import pytest

from jaxdl.data.targets import target_of, values_of


def test_text_is_classes_in_alphabetical_order():
    target = target_of("y", ["yes", "no", "yes", "no", "no"])
    assert (target.kind, target.classes) == ("binary", ("no", "yes"))
    np.testing.assert_array_equal(target.values, [1, 0, 1, 0, 0])
    assert target.values.dtype == np.int32
    assert target_of("y", ["b", "a", "c"] * 3).kind == "multiclass"


@pytest.mark.parametrize(
    ("cells", "kind", "classes"),
    [
        (["0", "1.0"] * 5, "binary", ("0", "1")),
        (["10", "2", "3"] * 5, "multiclass", ("2", "3", "10")),
        (["1.5", "2", "3"] * 5, "regression", ()),
        (["10", "2", "3"] * 2, "regression", ()),  # each comes but twice
        ([str(i) for i in range(21)] * 9, "regression", ()),  # too many
        ([str(i) for i in range(20)] * 9, "multiclass", tuple(map(str, range(20)))),
    ],
)
def test_few_whole_numbers_that_come_often_are_classes(cells, kind, classes):
    target = target_of("y", cells)
    assert (target.kind, target.classes) == (kind, classes)


def test_the_kind_may_be_given():
    cells = ["1", "2", "1", "2", "2"]
    assert target_of("y", cells, "regression").values.dtype == np.float32
    assert target_of("y", cells, "multiclass").kind == "multiclass"
    assert target_of("y", ["0.5", "1.5"] * 2, "binary").classes == ("0.5", "1.5")


@pytest.mark.parametrize(
    ("cells", "kind", "words"),
    [
        (
            ["1", "", "NA"],
            "auto",
            r"2 of 3 targets y are missing, the first \(''\) in ",
        ),
        (["1.5", "2", "inf"], "auto", "1 of 3 targets y are infinite.* in row 3"),
        (["1.5", "2", "1e300"], "auto", "1 of 3 targets y are infinite .for float32."),
        (["1.5", "1.5"], "auto", "all 2 targets y are 1.5.* nothing to learn"),
        (["a", "a"], "auto", "all 2 targets y are 'a': at least 2 classes"),
        (["1", "x"], "regression", r"y is no number in row 2 \('x'\)"),
        (["a", "b", "c"] * 3, "binary", r"y has 3 classes \(a, b, c...\)"),
        (["1.5", "2.5", "3.5"], "multiclass", "3 different values in 3 rows"),
        (["a", "b"], "nominal", "--target_kind is 'nominal': give auto or one of"),
    ],
)
def test_what_cannot_be_learned_is_one_line(cells, kind, words):
    with pytest.raises(ValueError, match=words) as caught:
        target_of("y", cells, kind)
    assert "\n" not in str(caught.value)


def test_targets_of_other_rows_are_read_by_the_known_classes():
    np.testing.assert_array_equal(values_of("y", ["b", "b"], ("a", "b")), [1, 1])
    np.testing.assert_array_equal(values_of("y", ["1.0", "0"], ("0", "1")), [1, 0])
    np.testing.assert_array_equal(values_of("y", ["2", "2"], ()), [2.0, 2.0])
    with pytest.raises(ValueError, match="y holds 'c': the run knows a, b"):
        values_of("y", ["a", "c"], ("a", "b"))
