"""Tables as features: kinds of columns, what is fitted on which rows, JSON."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from jaxdl.data import fitted, tables

few = settings(max_examples=20, deadline=None)

CELLS = {
    "age": ["30", "41.5", "?", "1e1", "NA", "22"],
    "city": ["Rome", "Oslo", "Rome", "", "Lima", "Oslo"],
}


def everything(columns):
    return np.arange(len(next(iter(columns.values()))))


def fit(columns, rows=None):
    rows = everything(columns) if rows is None else np.asarray(rows)
    return tables.fit(tables.parse(columns), "y", rows)


def test_numbers_are_filled_marked_and_standardised_and_text_is_one_hot():
    table = fit(CELLS)
    assert table.features == (
        *("age", "age is missing"),
        *("city is Oslo", "city is Rome", "city is other"),
    )
    features = table.apply(CELLS)
    assert features.dtype == np.float32
    filled = np.array([30, 41.5, 26, 10, 26, 22])
    np.testing.assert_allclose(
        features[:, 0], (filled - filled.mean()) / filled.std(), rtol=1e-6
    )
    np.testing.assert_array_equal(features[:, 1], [0, 0, 1, 0, 1, 0])
    # A missing cell and Lima occur once each: too seldom for a feature of their own.
    rome, oslo, other = [0, 1, 0], [1, 0, 0], [0, 0, 1]
    np.testing.assert_array_equal(
        features[:, 2:], [rome, oslo, rome, other, other, oslo]
    )
    assert {name: list(at) for name, at in table.groups.items()} == {
        "age": [0, 1],
        "city": [2, 3, 4],
    }


@few
@given(st.integers(0, 2**32 - 1), st.integers(5, 30))
def test_features_equal_scikit_learns(seed, size):
    rng = np.random.default_rng(seed)
    values = np.where(rng.random(size) < 0.3, np.nan, rng.normal(5, 3, size))
    values[:2] = [1.0, 2.0]
    text = rng.choice(["a", "b"], size)
    text[:4] = ["a", "b", "a", "b"]
    columns = {"x": values, "t": list(text)}
    table = fit(columns)
    features = table.apply(columns)
    imputed = SimpleImputer(strategy="median").fit_transform(values[:, None])
    scaled = StandardScaler().fit_transform(imputed)
    one_hot = OneHotEncoder(sparse_output=False).fit_transform(text[:, None])
    names = list(table.features)
    np.testing.assert_allclose(features[:, :1], scaled, rtol=1e-4, atol=1e-6)
    at = [names.index("t is a"), names.index("t is b")]
    np.testing.assert_array_equal(features[:, at], one_hot)


@few
@given(st.integers(0, 2**32 - 1))
def test_rows_beyond_the_training_part_change_nothing(seed):
    """No leak: other rows may say that there are columns, levels and missing cells,
    but their numbers decide nothing."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(20)[:12])
    rest = np.setdiff1d(np.arange(20), rows)
    columns = {"x": rng.normal(size=20), "t": rng.choice(["a", "b"], 20)}
    columns["x"][rest[0]] = np.nan
    changed = {name: cells.copy() for name, cells in columns.items()}
    changed["x"][rest[1:]] = rng.normal(1e6, 1e5, len(rest) - 1)
    one, other = fit(columns, rows), fit(changed, rows)
    assert one.columns[0] == other.columns[0]
    assert one.features == other.features
    x = columns["x"][rows]
    assert one.columns[0].mean == pytest.approx(x.mean())
    assert one.columns[0].deviation == pytest.approx(x.std())


def test_what_training_rows_never_show_has_no_effect():
    """Weights of a feature that was always 0 were never trained."""
    columns = {
        "x": ["1", "2", "3", "", "5"],
        "flat": ["7", "7", "7", "9", "1000"],
        "t": ["a", "b", "a", "c", "c"],
    }
    table = fit(columns, rows=[0, 1, 2])
    names = list(table.features)
    shown = table.apply(columns)
    for name in ("x is missing", "flat", "t is c"):
        assert not shown[:, names.index(name)].any()
    # b, which occurs once, has trained the feature of other text; c counts as such.
    np.testing.assert_array_equal(shown[:, names.index("t is other")], [0, 1, 0, 1, 1])
    unseen = table.apply({"x": [1.0], "flat": [7.0], "t": ["never seen"]})
    assert unseen[0, names.index("t is other")] == 1.0
    without = fit({"t": ["a", "a", "b", "b"]})
    assert not without.apply({"t": ["never seen"]}).any()


def test_all_folds_of_a_table_have_the_same_features():
    rng = np.random.default_rng(3)
    columns = {
        "x": [*map(str, rng.normal(size=28)), "", ""],
        "t": ["a"] * 14 + ["b"] * 14 + ["c", "c"],
    }
    parsed = tables.parse(columns)
    halves = np.array_split(np.arange(30), 3)
    found = {tables.fit(parsed, "y", rows).features for rows in halves}
    assert len(found) == 1


def test_json_gives_the_same_table_back():
    table = fit(CELLS)
    again = fitted.from_json(json.loads(json.dumps(table.to_json())))
    assert again == table
    np.testing.assert_array_equal(again.apply(CELLS), table.apply(CELLS))
    with pytest.raises(ValueError, match="broken"):
        fitted.from_json({"kind": "table", "target": "y", "columns": [{"name": "a"}]})


def test_rows_may_be_given_by_position_and_as_numbers():
    table = fit(CELLS)
    by_name = table.apply({"age": [30, None], "city": ["Rome", None], "more": [1, 2]})
    by_place = table.apply([[30, "Rome"], [None, "NA"]])
    np.testing.assert_array_equal(by_place, by_name)
    numeric = fit({"a": ["1", "2"], "b": ["3", "5"]})
    np.testing.assert_array_equal(
        numeric.apply(np.array([[1, 3], [2, 5]]))[:, 0], [-1, 1]
    )


def test_columns_of_no_use_are_left_out_with_a_warning(caplog):
    columns = {
        "empty": ["", "NA", "?", ""],
        "flat": ["3", "3", "3", "3"],
        "id": ["a", "b", "c", "d"],
        "x": ["1", "2", "x3", "4"],
        "kept": ["1", "2", "3", "4"],
    }
    with caplog.at_level("WARNING"):
        parsed = tables.parse({**columns, "x": ["1", "1", "x3", "4"]})
    assert list(parsed) == ["x", "kept"]
    said = caplog.text
    assert "column empty is left out: every cell is missing" in said
    assert "column flat is left out: every cell is the same" in said
    assert "column id is left out: no text in it occurs twice" in said
    assert "column x is read as text: row 3 holds 'x3'" in said
    assert "(3 of 4 cells are)" in said


def test_many_levels_are_cut_to_the_most_frequent(caplog):
    text = [f"l{i}" for i in range(80)] * 2 + ["l7"]
    with caplog.at_level("WARNING"):
        table = fit({"t": text})
    assert len(table.features) == tables.MAX_LEVELS + 1
    assert "t is l7" in table.features
    assert "column t has 80 different texts" in caplog.text


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"x": ["1", "inf", "3"]}, "column x, row 2 holds 'inf'"),
        ({"x": ["", ""]}, "no column is left to learn from: x"),
        ({}, "no column is left to learn from: there is none"),
    ],
)
def test_tables_that_cannot_be_used_are_one_line(columns, words):
    with pytest.raises(ValueError, match=words) as caught:
        tables.parse(columns)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"age": ["1"]}, "no column city: the columns are age"),
        ({"age": ["old"], "city": ["a"]}, "column age, row 1 holds 'old'"),
        ({"age": ["1", "inf"], "city": ["a", "b"]}, "column age, row 2 holds 'inf'"),
        ([[1, 2, 3]], r"rows of shape \[1, 3\]: give \[rows, 2\]"),
        ([1, 2], r"rows of shape \[2\]"),
    ],
)
def test_rows_that_do_not_fit_are_one_line(rows, words):
    with pytest.raises(ValueError, match=words) as caught:
        fit(CELLS).apply(rows)
    assert "\n" not in str(caught.value)
