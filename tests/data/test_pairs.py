"""Pairs of texts: tokens and back, parts that share no source, bad files."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl.data import fitted, pairs
from jaxdl.data.pairs import BEGIN, END, Characters, TextPairs, shifted
from jaxdl.data.symbols import PADDING, UNKNOWN, Symbols

AB = Characters(Symbols("character", ("\x02", "\x03", "a", "b")), 6)


@pytest.fixture
def csv(tmp_path):
    """The name of a CSV file of these rows."""

    def write(rows, header="source,target"):
        path = tmp_path / "pairs.csv"
        path.write_text("\n".join([header, *rows]) + "\n")
        return f"csv:{path}"

    return write


def everything(part):
    return part.fetch(np.arange(part.size))


def test_tokens_are_characters_an_end_and_padding():
    tokens = AB.encode(["ab", "bbbbb", ""])
    assert tokens.dtype == np.int32
    a, b = AB.names.index("a"), AB.names.index("b")
    assert tokens.tolist() == [
        [a, b, END, PADDING, PADDING, PADDING],
        [b, b, b, b, b, END],
        [END, PADDING, PADDING, PADDING, PADDING, PADDING],
    ]
    assert len(AB.names) == 6
    assert shifted(tokens)[0].tolist() == [BEGIN, a, b, END, PADDING, PADDING]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(max_size=5), min_size=1, max_size=4))
def test_texts_come_back_but_for_what_is_not_known(texts):
    known = sorted(set("".join(texts)) - set("x\x02\x03"))
    side = Characters(Symbols("character", ("\x02", "\x03", *known)), 6)
    clean = ["".join(c for c in text if c not in "\x02\x03") for text in texts]
    tokens = side.encode(clean)
    assert side.decode(tokens) == [text.replace("x", "\ufffd") for text in clean]
    assert (tokens == UNKNOWN).sum() == "".join(clean).count("x")
    for text in clean:
        assert side.unknown(text) == ("x" if "x" in text else "")


def test_decoding_ends_at_the_first_end_and_without_one_at_the_last_token():
    a, b = AB.names.index("a"), AB.names.index("b")
    rows = np.array([[a, END, b, END], [a, b, b, a], [END, a, a, a]])
    assert AB.decode(rows) == ["a", "abba", ""]


def test_a_text_that_is_too_long_is_one_line():
    with pytest.raises(ValueError, match=r"'abababa' has 7 characters: at most 5 fit"):
        AB.encode(["ab", "abababa"])


def test_json_gives_the_same_vocabularies_back():
    both = TextPairs(AB, Characters(Symbols("character", ("\x02", "\x03", "ü")), 9))
    assert fitted.from_json(json.loads(json.dumps(both.to_json()))) == both
    with pytest.raises(ValueError, match="the text pairs lack 'source'"):
        fitted.from_json({"kind": "text_pairs"})


def test_texts_and_tokens_are_applied_alike():
    both = TextPairs(AB, AB)
    by_text = both.apply({"source": ["ab"], "target": ["b"]})
    tokens = {"source": AB.encode(["ab"]), "target": shifted(AB.encode(["b"]))}
    by_token = both.apply(tokens)
    for name in ("source", "target"):
        np.testing.assert_array_equal(by_text[name], tokens[name])
        assert by_token[name] is tokens[name]


@pytest.mark.parametrize("name", ["addition", "dates"])
def test_no_part_knows_the_answer_to_another(name):
    data = pairs.load(name, examples=600, split_seed=3)
    assert data.input_shape == (data.preprocess.source.length,)
    assert data.classes == data.preprocess.target.names
    seen = set()
    for part in data.parts.values():
        stored = everything(part)
        sources = data.preprocess.source.decode(stored["inputs"])
        targets = data.preprocess.target.decode(stored["targets"])
        # Of sums in either order; of days, whatever their format.
        keys = (
            {frozenset(source.split("+")) for source in sources}
            if name == "addition"
            else set(targets)
        )
        assert len(keys) == part.size
        assert not keys & seen
        seen |= keys
    assert len(seen) == 600
    again = pairs.load(name, examples=600, split_seed=3)
    np.testing.assert_array_equal(
        everything(again.test)["inputs"], everything(data.test)["inputs"]
    )


def test_rows_of_the_same_source_stay_together_and_test_adds_no_character(csv):
    # Every source twice, with two targets; each has a character of its own.
    texts = [chr(0x4E00 + i) for i in range(30)]
    name = csv([f"{text},{answer}" for text in texts for answer in "pq"])
    data = pairs.load(name)
    source = data.preprocess.source
    held = {part: everything(rows)["inputs"][:, 0] for part, rows in data.parts.items()}
    assert sorted(map(len, held.values())) == [12, 12, 36]
    assert len(source.symbols.symbols) == 2 + 18
    assert len(np.unique(held["train"])) == 18
    assert (held["test"] == UNKNOWN).all()


def test_columns_are_asked_for_and_another_set_is_read_by_known_vocabularies(csv):
    rows = [f"{i},{i % 7},x" for i in range(20)]
    data = pairs.load(csv(rows, "a,b,c"), source="a", target="b")
    assert set(data.preprocess.source.symbols.symbols[2:]) <= set("0123456789")
    own = pairs.load("addition", examples=100).preprocess
    assert pairs.load(
        csv(rows, "a,b,c"), source="a", target="b", known=own
    ).classes == (own.target.names)
    with pytest.raises(ValueError, match="has 14 characters: at most 7 fit"):
        pairs.load(csv([f"{i:014},1" for i in range(9)]), known=own)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("sums", {}, "--dataset=sums is unknown: give addition, dates or csv:PATH"),
        ("csv", {}, "--dataset=csv is unknown"),
        ("csv:/missing.csv", {}, "/missing.csv does not exist"),
        ("addition", {"examples": 200_001}, "addition has 1 to 200,000 different"),
        ("dates", {"examples": 0}, "--examples=0: dates has 1 to 73,049"),
        ("dates", {"examples": 2}, "can't be divided into training, validation, test"),
        ("FILE", {"target": "z"}, "--target=z: the columns are source, target"),
        ("FILE", {"examples": 5}, "--examples=5 is for addition and dates"),
        ("EMPTY", {}, "row 2 below the header: the target has 0 characters"),
        ("LONG", {}, "row 1 below the header: the source has 257 characters"),
    ],
)
def test_what_cannot_be_had_is_one_line(csv, name, options, words):
    rows = {"FILE": ["a,b"] * 9, "EMPTY": ["a,b", "c,"], "LONG": [f"{'a' * 257},b"]}
    name = csv(rows[name]) if name in rows else name
    with pytest.raises((ValueError, FileNotFoundError), match=words) as caught:
        pairs.load(name, **options)
    assert "\n" not in str(caught.value)
