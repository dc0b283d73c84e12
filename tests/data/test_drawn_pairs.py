"""Sums and dates against Python's own arithmetic and calendar."""

import datetime
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl.data.drawn_pairs import (
    DATE_FORMATS,
    DRAWN,
    MOST,
    USUAL,
    addition,
    dates,
    write_date,
)

# How ``datetime`` reads what ``write_date`` writes, format by format; a suffix of the
# day is no part of it.
READ = (
    *("%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y", "%d-%b-%Y", "%Y %b %d"),
    *("%B %d, %Y", "%d of %B %Y", "%A, %d %B %Y", "%A, %B %d, %Y", "%a %b %d %Y"),
    *("%d.%m.%Y", "%d.%m.%Y", "%m/%d/%Y", "%m/%d/%Y", "%Y/%m/%d", "%Y%m%d"),
)


def generator(seed=0):
    return np.random.default_rng(seed)


def read(text, form):
    bare = re.sub(r"(\d)(st|nd|rd|th)\b", r"\1", text)
    try:
        return datetime.datetime.strptime(bare, form).date()
    except ValueError:
        return None


def test_sums_are_right_and_no_two_are_of_the_same_numbers():
    sources, targets = addition(3_000, generator())
    pairs = [tuple(map(int, source.split("+"))) for source in sources]
    assert [str(a + b) for a, b in pairs] == targets
    assert len({frozenset(pair) for pair in pairs}) == len(pairs) == 3_000
    lengths = np.array([[len(str(a)), len(str(b))] for a, b in pairs])
    for digits in (1, 2, 3):  # the two short ones are soon used up
        assert (lengths == digits).mean() > 0.15
    assert max(map(max, pairs)) == 999


@settings(deadline=None, max_examples=40)
@given(st.dates(datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)))
def test_every_format_is_read_as_its_day_and_as_no_other(day):
    for form in DATE_FORMATS:
        text = write_date(day, form)
        found = {found for pattern in READ if (found := read(text, pattern))}
        assert found == {day}, text
        if "weekday" in form:
            assert text.startswith(day.strftime("%a"))


@pytest.mark.parametrize(
    ("number", "ordinal"),
    [
        *((1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th")),
        *((13, "13th"), (21, "21st"), (22, "22nd"), (23, "23rd"), (30, "30th")),
    ],
)
def test_ordinals(number, ordinal):
    day = datetime.date(2001, 1, number)
    assert (
        write_date(day, "{ordinal} of {month} {year}") == f"{ordinal} of January 2001"
    )


def test_days_are_those_of_the_calendar_each_once():
    sources, targets = dates(MOST["dates"], generator())
    assert len(set(targets)) == len(targets) == 73_049
    assert sum(text.endswith("-02-29") for text in targets) == 49  # not in 1900
    for source, target in zip(sources[:200], targets, strict=False):
        day = datetime.date.fromisoformat(target)
        assert source in {write_date(day, form) for form in DATE_FORMATS}


@pytest.mark.parametrize("name", DRAWN)
def test_what_is_drawn_is_decided_by_the_seed(name):
    draw = DRAWN[name]
    assert draw(50, generator(1)) == draw(50, generator(1))
    assert draw(50, generator(1)) != draw(50, generator(2))
    assert USUAL[name] <= MOST[name]
