"""Texts as tokens and back: nothing is lost, and what is unknown is said."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl.data import fitted, symbols
from jaxdl.data.symbols import PADDING, UNKNOWN, Symbols, fit

TEXT = "to be, or  not to be:\n\tthat is -- the question"


@given(st.text(min_size=1), st.sampled_from(symbols.LEVELS))
@settings(max_examples=100, deadline=None)
def test_any_text_comes_back_to_the_character(text, level):
    assert "".join(symbols.split(text, level)) == text
    known = fit(text, level)
    tokens = known.encode(text)
    assert tokens.dtype == np.int32
    assert tokens.min() > UNKNOWN
    assert known.decode(tokens) == text
    assert known.unknown(text) == ()


def test_words_take_their_space_along_and_the_frequent_ones_come_first():
    assert symbols.split(TEXT, "word")[:9] == [
        *("to", " be", ",", " or", " ", " not", " to", " be", ":")
    ]
    known = fit("b a b c", "word")
    assert known.symbols == (" a", " b", " c", "b")  # each once: in their order
    assert fit("a b b c b", "word", most=1).symbols == (" b",)


def test_what_is_not_known_is_one_token():
    known = fit("abca", "character")
    np.testing.assert_array_equal(known.encode("bad!"), [3, 2, UNKNOWN, UNKNOWN])
    assert known.unknown("bad! bad") == ("d", "!", " ")
    assert known.decode([3, 2, UNKNOWN, PADDING]) == "ba\N{REPLACEMENT CHARACTER}"
    assert fit("aabc", "character", most=2).symbols == ("a", "b")
    words = fit("one two", "word")
    np.testing.assert_array_equal(words.encode("one three two"), [3, UNKNOWN, 2])


def test_a_model_is_given_tokens_or_texts():
    known = fit("abc", "character")
    tokens = np.array([[2, 3]])
    np.testing.assert_array_equal(known.apply(tokens), tokens)
    np.testing.assert_array_equal(known.apply(["ab", "c"]), [[2, 3], [4, PADDING]])


@pytest.mark.parametrize("level", symbols.LEVELS)
def test_it_comes_back_from_json(level):
    known = fit(TEXT, level)
    assert fitted.from_json(json.loads(json.dumps(known.to_json()))) == known


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "symbols", "level": "word"}, "lack 'symbols'"),
        ({"kind": "symbols", "level": "line", "symbols": []}, "'line': give character"),
    ],
)
def test_broken_json_is_one_line(values, words):
    with pytest.raises(ValueError, match=words):
        fitted.from_json(values)


def test_no_symbols_at_all_know_nothing():
    np.testing.assert_array_equal(Symbols("word", ()).encode("a b"), [1, 1])
