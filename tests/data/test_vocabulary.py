"""Words and vocabularies: what a text becomes, and back."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl.data import fitted, vocabulary
from jaxdl.data.vocabulary import PADDING, UNKNOWN, Vocabulary, words

TEXTS = ["the cat and the dog", "The cat sat.", "a dog, a cat", "the end"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't <br />STOP -- it’s 3.5!", ["don't", "stop", "it's", "3", "5"]),
        ("snake_case, CamelCase", ["snake", "case", "camelcase"]),
        ("x < y and y > z", ["x", "y", "and", "y", "z"]),
        ("Größe 猫が好き", ["größe", "猫", "が", "好", "き"]),
        ("'quoted' 'tis", ["quoted", "tis"]),
        (" \n!? ", []),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


def test_the_most_frequent_words_are_known():
    made = vocabulary.fit(TEXTS, 6, length=5)
    # a and dog occur twice: among equals the alphabet.
    assert made.known == ("the", "cat", "a", "dog")
    assert made.size == 6
    expected = [[2, 3, UNKNOWN, 2, 5], [2, 3, UNKNOWN, 0, 0], [PADDING] * 5]
    tokens = made.encode([TEXTS[0], TEXTS[1], "?"])
    np.testing.assert_array_equal(tokens, expected)
    assert tokens.dtype == np.int32
    assert made.decode(tokens[0]) == "the cat <unknown> the dog"
    assert made.decode(tokens[1]) == "the cat <unknown>"
    assert made.encode([]).shape == (0, 5)


def test_a_longer_text_keeps_an_end():
    text = "one two three four"
    for keep, kept in (("first", "one two"), ("last", "three four")):
        made = vocabulary.fit([text], 10, 2, keep)
        assert made.decode(made.encode([text])[0]) == kept
        assert made.decode(made.encode(["two"])[0]) == "two"


@settings(deadline=None, max_examples=20)
@given(
    texts=st.lists(st.text(alphabet="abc '-Ä猫\n", max_size=20), max_size=4),
    size=st.integers(3, 8),
    length=st.integers(1, 6),
)
def test_tokens_of_any_texts(texts, size, length):
    made = vocabulary.fit(texts, size, length)
    tokens = made.encode(texts)
    assert tokens.shape == (len(texts), length)
    assert made.size <= size
    for row, text in zip(tokens, texts, strict=True):
        found = words(text)[:length]
        assert np.count_nonzero(row) == len(found)
        assert not np.any(row[len(found) :])
        known = [w if w in made.known else "<unknown>" for w in found]
        assert made.decode(row) == " ".join(known)


def test_hashed_words_share_tokens_evenly_and_in_every_process():
    made = vocabulary.fit([], 102, 300, hashing=True)
    assert made.size == 102
    assert made.known == ()
    tokens = made.encode([" ".join(f"word{i}" for i in range(300))])[0]
    # 300 words in 100 buckets: none is unknown, no bucket holds a tenth of them.
    assert tokens.min() >= 2
    assert tokens.max() <= 101
    assert max(Counter(tokens.tolist()).values()) < 30
    assert made.encode(["word0 word1"])[0, :2].tolist() == [28, 50]
    assert made.decode([40, 0]) == "#40"


def test_json_and_texts_or_tokens():
    for made in (
        vocabulary.fit(TEXTS, 8, 4, "last"),
        vocabulary.fit(TEXTS, 8, 4, hashing=True),
    ):
        read = fitted.from_json(json.loads(json.dumps(made.to_json())))
        assert read == made
        tokens = made.encode(TEXTS)
        np.testing.assert_array_equal(read.apply(TEXTS), tokens)
        np.testing.assert_array_equal(read.apply(TEXTS[0]), tokens[:1])
        np.testing.assert_array_equal(read.apply(tokens), tokens)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: vocabulary.fit(TEXTS, 2, 4), "--vocabulary is 2: give at least 3"),
        (lambda: vocabulary.fit(TEXTS, 9, 0), "--length is 0: give 1 or more"),
        (lambda: vocabulary.fit(TEXTS, 9, 4, "middle"), "give first or last"),
        (lambda: vocabulary.from_json({"known": []}), "the vocabulary is broken"),
    ],
)
def test_errors_are_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_the_numbers_of_words_follow_the_special_tokens():
    made = Vocabulary(("b", "a"), 3)
    np.testing.assert_array_equal(made.encode(["a b c"]), [[3, 2, UNKNOWN]])
