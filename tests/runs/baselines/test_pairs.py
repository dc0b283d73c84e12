"""Baselines of text pairs: counted by hand, and dates against the calendar."""

import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl.data.drawn_pairs import DATE_FORMATS, write_date
from jaxdl.data.pairs import load
from jaxdl.runs.baselines import pairs
from jaxdl.runs.baselines.pairs import month_first_date, nearest

# The one format in which two numbers stand alone and the day comes first.
DAY_FIRST = [form for form in DATE_FORMATS if form.startswith("{day") and "." in form]


def test_figures_are_those_counted_by_hand(tmp_path):
    # Half of the targets are "no", a quarter the source itself.
    rows = [f"w{i},{('no', 'no', f'w{i}', f'{i}')[i % 4]}" for i in range(400)]
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(["source,target", *rows]))
    data = load(f"csv:{path}")
    stored = data.test.fetch(np.arange(data.test.size))
    targets = np.array(data.preprocess.target.decode(stored["targets"]))
    sources = np.array(data.preprocess.source.decode(stored["inputs"]))
    figures = pairs(data)
    assert list(figures) == ["majority", "copy", "nearest"]
    assert figures["majority"]["exact_match"] == (targets == "no").mean() > 0.3
    assert figures["copy"]["exact_match"] == (targets == sources).mean() > 0.1
    assert 0 < figures["nearest"]["exact_match"] < 1


def test_the_nearest_text_shares_most_and_rarest_neighbours():
    known = ["banana", "bandana", "cabana", "xyz"]
    assert nearest(known, ["cabanas", "xy", "banana", "bandanas"]).tolist() == [
        *(2, 3, 0, 1)
    ]
    # A letter alone has its neighbours, the two ends.
    assert nearest(["ab", "b", "a"], ["a", "b"]).tolist() == [2, 1]


@settings(deadline=None, max_examples=30)
@given(st.dates(datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)))
def test_the_rule_reads_all_dates_but_those_that_begin_with_the_day(day):
    for form in DATE_FORMATS:
        text = write_date(day, form)
        if form in DAY_FIRST:
            swapped = f"{day.year}-{day.day:02}-{day.month:02}"
            assert month_first_date(text) == swapped
        else:
            assert month_first_date(text) == day.isoformat(), text


def test_the_rule_is_a_baseline_of_dates():
    figures = pairs(load("dates", examples=1_000))
    held = 1 - len(DAY_FIRST) / len(DATE_FORMATS)
    # A day that is its month's number is read rightly either way.
    assert figures["month_first"]["exact_match"] == pytest.approx(held, abs=0.08)
    assert figures["copy"]["exact_match"] == 0
