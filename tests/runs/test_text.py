"""Numbers and names in words."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl.runs import text


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("accuracy", 0.98611, "98.61%"),
        ("validation_accuracy", np.float32(1), "100.00%"),
        ("validation accuracy", 0.5, "50.00%"),
        ("loss", 0.0421345, "0.04213"),
        ("loss", math.nan, "nan"),
        ("loss", -math.inf, "-inf"),
        ("examples_per_second", 3102.44, "3102"),
        ("examples_per_second", 310204.4, "310,204"),
        ("parameters", 20810, "20,810"),
        ("loss", None, "-"),
        ("on", True, "true"),
        ("loss", 10**400, str(10**400)[:197] + "..."),
        ("loss", [1], "[1]"),
    ],
)
def test_values_are_shown_as_people_read_them(name, value, shown):
    assert text.value_text(name, value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00"), (42.4, "0:42"), (725, "12:05"), (11049, "3:04:09"), (-1, "-")],
)
def test_durations(seconds, shown):
    assert text.duration_text(seconds) == shown
    assert text.duration_text(math.nan) == text.duration_text(math.inf) == "-"


def test_shapes():
    assert text.shape_text((28, 28, 1)) == "28 x 28 x 1"
    assert text.shape_text([]) == "scalar"
    assert text.shape_text("?") == "?"


@given(st.text())
@settings(max_examples=60, deadline=None)
def test_nothing_unprintable_reaches_the_screen(value):
    assert text.printable(value, 50).isprintable()
    assert len(text.printable(value, 50)) <= 50


def test_the_outcome_is_the_metric_people_ask_for():
    assert text.outcome({"loss": 1.0, "accuracy": 0.9}, "loss") == "accuracy"
    assert text.outcome({"loss": 1.0, "accuracy": 0.9, "f1": 0.8}, "f1") == "f1"
    assert text.outcome({"mae": 1.0, "loss": 0.9}, "validation_mae") == "mae"
    assert text.outcome({"loss": 1.0}, "gone") == "loss"
    assert text.outcome({"own": 1.0}) == "own"
    assert text.outcome({}) is None
