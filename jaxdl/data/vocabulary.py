"""Words of texts as tokens: how texts are cut, which words are known, and padding."""

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

# Tokens that are no words.
PADDING, UNKNOWN = range(2)
SPECIAL = ("<padding>", "<unknown>")
# Which tokens of a text that is too long are kept.
ENDS = ("first", "last")

_TAG = re.compile(r"</?[a-z][^<>]*>")
# Chinese characters and kana stand for words without spaces between them.
_IDEOGRAPH = "\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(
    rf"[{_IDEOGRAPH}]|[^\W_{_IDEOGRAPH}]+(?:'[^\W_{_IDEOGRAPH}]+)*", re.UNICODE
)


def words(text: str) -> list[str]:
    """The words of a text, in lower case.

    A word is a run of letters and digits, with apostrophes inside (``don't``); a
    Chinese character or kana is one by itself. Signs, underscores and the tags of
    HTML lie between words.
    """
    text = text.lower().replace("\u2019", "'")
    return _WORD.findall(_TAG.sub(" ", text) if "<" in text else text)


@dataclass(frozen=True)
class Vocabulary:
    """Texts as rows of tokens: 0 is padding, 1 a word that is not known.

    Attributes:
      known: the words that are, in the order of their tokens, from 2 on.
      length: tokens of a row.
      keep: which of a longer text's are kept, the "first" or the "last".
      buckets: where above 0, no words are listed: each is hashed to one of so many
        tokens, which it may share (Weinberger et al. 2009); none is unknown.
    """

    known: tuple[str, ...]
    length: int
    keep: str = "first"
    buckets: int = 0

    @property
    def size(self) -> int:
        """How many tokens there are, padding among them."""
        return len(SPECIAL) + (self.buckets or len(self.known))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.known, len(SPECIAL))}

    def _number(self, word: str) -> int:
        if self.buckets:  # Python's own hash is another one in every process.
            return len(SPECIAL) + zlib.crc32(word.encode()) % self.buckets
        return self._numbers.get(word, UNKNOWN)

    def encode(self, texts: Iterable[str]) -> Int[np.ndarray, "texts length"]:
        """int32 rows, each filled up with padding at its end."""
        rows = []
        for text in texts:
            found = words(text)
            kept = found[: self.length]
            if self.keep == "last":
                kept = found[max(len(found) - self.length, 0) :]
            row = np.zeros(self.length, np.int32)
            row[: len(kept)] = [self._number(word) for word in kept]
            rows.append(row)
        return np.stack(rows) if rows else np.zeros((0, self.length), np.int32)

    def decode(self, tokens: Iterable[int]) -> str:
        """The words of tokens up to the padding; ``#7`` of a hashed one."""
        names = SPECIAL if self.buckets else (*SPECIAL, *self.known)
        return " ".join(
            names[token] if token < len(names) else f"#{token}"
            for token in map(int, tokens)
            if token != PADDING
        )

    def apply(self, inputs: Any) -> Int[Array, "batch length"]:
        """Tokens as they are; a text, or a list of texts, as tokens."""
        if isinstance(inputs, str):
            return jnp.asarray(self.encode([inputs]))
        if isinstance(inputs, list | tuple) and all(
            isinstance(text, str) for text in inputs
        ):
            return jnp.asarray(self.encode(inputs))
        return jnp.asarray(inputs)

    def to_json(self) -> dict[str, Any]:
        """Plain values, which ``from_json`` turns back exactly."""
        return {
            "kind": "vocabulary",
            "known": list(self.known),
            "length": self.length,
            "keep": self.keep,
            "buckets": self.buckets,
        }


def from_json(values: Mapping[str, Any]) -> Vocabulary:
    """What ``Vocabulary.to_json`` wrote.

    Raises:
      ValueError: a part is missing or of another type.
    """
    try:
        return Vocabulary(
            known=tuple(map(str, values["known"])),
            length=int(values["length"]),
            keep=_end(values["keep"]),
            buckets=int(values["buckets"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"the vocabulary is broken: {error!r}") from error


def fit(
    texts: Sequence[str],
    size: int,
    length: int,
    keep: str = "first",
    hashing: bool = False,
) -> Vocabulary:
    """The vocabulary of training texts: their most frequent words.

    Args:
      texts: of the training part.
      size: how many tokens there are, padding and unknown words among them.
      length: tokens of a row.
      keep: which tokens of longer texts are kept, the "first" or the "last".
      hashing: hash words to tokens in place of listing them.

    Raises:
      ValueError: a size or length out of range.
    """
    if size <= len(SPECIAL):
        raise ValueError(
            f"--vocabulary is {size}: give at least {len(SPECIAL) + 1} (padding, "
            "unknown words, and one that is known)"
        )
    if length < 1:
        raise ValueError(f"--length is {length}: give 1 or more")
    if hashing:
        return Vocabulary((), length, _end(keep), size - len(SPECIAL))
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(words(text))
    # Among equally frequent words the order of characters, not that of the texts.
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return Vocabulary(tuple(ranked[: size - len(SPECIAL)]), length, _end(keep))


def _end(keep: str) -> str:
    if keep not in ENDS:
        raise ValueError(f"--keep is {keep!r}: give {' or '.join(ENDS)}")
    return keep
