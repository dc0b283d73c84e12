"""Spaces: maps from the unit interval, and the texts that name them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxdl import search
from jaxdl.search import Choice, Integer, Log, Uniform

SPACE = {
    "rate": Log(1e-4, 1e-1),
    "share": Uniform(0.0, 0.5),
    "units": Integer(8, 64),
    "kind": Choice(("relu", "tanh", "a,b")),
}
DIMENSIONS = st.sampled_from(list(SPACE.values()))


@given(DIMENSIONS, st.floats(0, 1))
def test_a_value_lies_where_it_came_from(dimension, unit):
    value = dimension.at(unit)
    place = dimension.place(value)
    assert 0 <= place <= 1 + 1e-9
    again = dimension.at(min(place, 1.0))
    assert again == (pytest.approx(value) if isinstance(value, float) else value)


@given(st.floats(0, 1), st.floats(0, 1))
def test_log_is_uniform_in_powers(low, high):
    """Equal steps in the unit interval multiply by equal factors."""
    log = Log(1e-4, 1e-1)
    factor = log.at(high) / log.at(low)
    assert factor == pytest.approx(10.0 ** (3 * (high - low)))


def test_whole_numbers_are_equally_likely_and_both_ends_are_reached():
    dimension = Integer(3, 5)
    values = [dimension.at((i + 0.5) / 300) for i in range(300)]
    assert [values.count(n) for n in (3, 4, 5)] == [100, 100, 100]


@given(DIMENSIONS, st.lists(st.floats(0, 1), min_size=2, max_size=6), st.floats(0, 1))
def test_a_narrowed_dimension_holds_no_more_than_it_was_given(dimension, units, unit):
    values = [dimension.at(u) for u in units]
    drawn = dimension.within(values).at(unit)
    if isinstance(dimension, Choice):
        assert drawn in values
    elif min(values) < max(values):
        assert min(values) * (1 - 1e-9) <= drawn <= max(values) * (1 + 1e-9)


def test_a_text_names_a_space():
    text = (
        "rate = log(1e-4, 1e-1); share=uniform(0,0.5); units=int(8,64);"
        "kind=choice(relu,tanh,'a,b')"
    )
    assert search.parse(text) == SPACE
    assert search.parse("n=choice(1,2.5,x);") == {"n": Choice((1, 2.5, "x"))}


def test_what_is_told_of_a_space_is_read_back():
    told = search.describe({k: v for k, v in SPACE.items() if k != "kind"})
    assert search.parse(told) == {k: v for k, v in SPACE.items() if k != "kind"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--space is empty"),
        ("rate", "no NAME=KIND"),
        ("rate=0.1", "no NAME=KIND"),
        ("rate=lag(1,2)", "'lag' is no kind: give log"),
        ("rate=log(0,1)", "low end of log is 0"),
        ("rate=log(1,1)", "low must be below high"),
        ("rate=uniform(1,nan)", "low must be below high"),
        ("rate=log(1)", "log takes two numbers"),
        ("units=int(1.5,2)", "int takes two whole numbers"),
        ("kind=choice(a)", "two or more options"),
        ("kind=choice(a,a)", "each once"),
        ("rate=log(1,2); rate=log(1,3)", "names rate twice"),
    ],
)
def test_a_wrong_space_is_told_in_one_line(text, message):
    with pytest.raises(ValueError, match=message) as error:
        search.parse(text)
    assert "\n" not in str(error.value)
