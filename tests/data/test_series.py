"""Columns as features: what becomes of which, and nothing of the future."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from absl import logging
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl.data import series

RNG = np.random.default_rng(0)


def text(values):
    """Numbers as cells, NaN as a missing one."""
    return ["NA" if np.isnan(value) else repr(float(value)) for value in values]


@pytest.fixture
def table():
    """30 hours of two columns of numbers, one of text, and a counter."""
    rain = RNG.normal(size=30)
    rain[[0, 4, 5, 17]] = np.nan
    return {
        "No": [str(i + 1) for i in range(30)],
        "when": [f"2020-01-{1 + i // 24:02d} {i % 24:02d}:00" for i in range(30)],
        "rain": text(rain),
        "wind": [("N", "S", "", "NW")[i % 4] for i in range(30)],
        "heat": text(np.arange(30.0) ** 2),
    }


@pytest.fixture
def warnings(monkeypatch):
    found = []
    monkeypatch.setattr(
        logging, "warning", lambda line, *rest: found.append(line % rest)
    )
    return found


def test_columns_become_the_features_that_suit_them(table):
    columns = series.fit_columns(table, "heat", 26)
    assert columns.features == (
        *("heat", "rain", "rain is missing"),
        *("wind is N", "wind is NW", "wind is S", "sine of day", "cosine of day"),
    )
    found = columns.encode(table)
    assert np.array_equal(found.values[:, 0], np.arange(30.0) ** 2)
    assert np.array_equal(found.target, found.values[:, 0])
    assert np.array_equal(np.flatnonzero(found.values[:, 2]), [0, 4, 5, 17])
    assert np.array_equal(
        found.values[:4, 3:6], [[1, 0, 0], [0, 0, 1], [0] * 3, [0, 1, 0]]
    )
    hour = np.arctan2(found.values[:, 6], found.values[:, 7]) * 24 / (2 * np.pi)
    assert np.allclose(hour % 24, np.arange(30) % 24, atol=1e-4)
    assert str(found.times[25]) == "2020-01-02T01:00:00"


def test_columns_are_decided_by_the_training_rows(table, warnings):
    table["rain"] = text(np.where(np.arange(30) < 20, np.arange(30.0) % 7, np.nan))
    table["dry"] = text(np.where(np.arange(30) < 20, np.nan, np.arange(30.0)))
    table["wind"] = ["N", "S"] * 10 + ["E"] * 10
    columns = series.fit_columns(table, "heat", 20)
    assert columns.numeric == ("heat", "rain")
    assert columns.marked == ()
    assert warnings == ["column dry is left out: no value in the training part"]
    values = columns.encode(table).values
    assert np.array_equal(values[20:, 1], np.full(10, 19 % 7))  # filled forward
    assert np.array_equal(values[20:, 2:4], np.zeros((10, 2)))  # a wind never seen


def test_what_says_nothing_is_left_out(table, warnings):
    names = [f"station {i}" for i in range(30)]
    table |= {"flat": ["3"] * 30, "name": names, "note": [""] * 29 + ["x"]}
    columns = series.fit_columns(table, "heat", 30, ignore=["rain", "wind"])
    assert columns.features[:1] == ("heat",)
    assert columns.features[1:] == ("sine of day", "cosine of day")
    assert len(warnings) == 3
    assert "30 different values (2 to 20 are used)" in warnings[1]


def test_missing_values_are_filled_forward_alone():
    values = np.array([np.nan, 1.0, np.nan, np.nan, 2.0, np.nan])
    expected = [np.nan, 1.0, 1.0, 1.0, 2.0, 2.0]
    assert np.array_equal(series.filled_forward(values), expected, equal_nan=True)


@given(st.integers(0, 2**32 - 1), st.integers(0, 29))
@settings(max_examples=30, deadline=None)
def test_rows_know_nothing_of_later_ones(seed, moment):
    """Every value after a moment changes, and no feature up to it does."""
    rng = np.random.default_rng(seed)

    def column():
        values = rng.normal(size=30)
        return np.where(rng.random(30) < 0.2, np.nan, values)

    def wind():
        return rng.choice(["N", "S", "?"], 30).tolist()

    before = {"a": text(column()), "b": text(column()), "wind": wind()}
    other = {"a": text(column()), "b": text(column()), "wind": wind()}
    after = {k: before[k][: moment + 1] + other[k][moment + 1 :] for k in before}
    columns = series.SeriesColumns("a", ("a", "b"), ("a", "b"), (("wind", ("N", "S")),))
    one, two = (columns.encode(t).values[: moment + 1] for t in (before, after))
    assert np.array_equal(one, two, equal_nan=True)


def test_columns_come_back_from_json(table):
    columns = series.fit_columns(table, "heat", 26)
    packed = json.loads(json.dumps(asdict(columns)))
    assert series.columns_from_json(packed) == columns
    with pytest.raises(ValueError, match="broken: KeyError"):
        series.columns_from_json({})


@pytest.mark.parametrize(
    ("change", "target", "ignore", "words"),
    [
        ({}, "cold", [], "--target=cold: the columns are No, when, rain, wind, heat"),
        ({}, "", [], "--target is missing: the columns are"),
        ({}, "wind", [], "column wind, row 1 holds 'N': a finite number is expected"),
        ({"heat": ["inf"] * 30}, "heat", [], "row 1 holds 'inf'"),
        ({"rain": ["1", "inf"] * 15}, "heat", [], "column rain holds infinite numbers"),
        ({"heat": ["3"] * 30}, "heat", [], "holds one value only in the training part"),
        ({"heat": [""] * 30}, "heat", [], r"is empty in the .* \(the first 26 rows\)"),
        ({}, "heat", ["snow"], "--ignore=snow: the columns are"),
        ({}, "heat", ["heat"], "--ignore names the target heat"),
    ],
)
def test_columns_that_cannot_be_used_are_one_line(table, change, target, ignore, words):
    with pytest.raises(ValueError, match=words) as caught:
        series.fit_columns({**table, **change}, target, 26, ignore)
    assert "\n" not in str(caught.value)


def test_another_table_must_have_the_columns(table):
    columns = series.fit_columns(table, "heat", 26)
    for name, words in {
        "rain": "no column rain: the columns are No",
        "wind": "no column wind",
        "when": "no column of dates",
    }.items():
        less = {key: cells for key, cells in table.items() if key != name}
        with pytest.raises(ValueError, match=words):
            columns.encode(less)
