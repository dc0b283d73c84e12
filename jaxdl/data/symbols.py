"""A text as a row of tokens, one a character or one a word, and back."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

# Tokens that are no symbols of the text. Padding is never a target.
PADDING, UNKNOWN = range(2)
SPECIAL = ("<padding>", "<unknown>")
LEVELS = ("character", "word")
# How many words are known, where nobody says; all characters are.
WORDS = 10_000

# A word with the space before it, a sign likewise, what is left of white space: put
# together again they are the text, to the character.
_WORD = re.compile(r" +(?= )| ?\w+| ?[^\w\s]|\s")

Tokens = Int[np.ndarray, " length"]


@dataclass(frozen=True)
class Symbols:
    """Texts as tokens: 0 is padding, 1 what is not known, then symbols.

    Attributes:
      level: "character" or "word".
      symbols: those that are known, in the order of their tokens.
    """

    level: str
    symbols: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What each token stands for, by its number."""
        return (*SPECIAL, *self.symbols)

    def encode(self, text: str) -> Tokens:
        """int32 [length]; a symbol that is not known is UNKNOWN."""
        if self.level == "word":
            number = {name: i for i, name in enumerate(self.symbols, len(SPECIAL))}
            found = (number.get(word, UNKNOWN) for word in _WORD.findall(text))
            return np.fromiter(found, np.int32)
        # By the numbers of characters at once: a loop takes a second on a megabyte.
        known = _code_points("".join(self.symbols))
        order = np.argsort(known)
        table = np.append(order + len(SPECIAL), UNKNOWN).astype(np.int32)
        codes = _code_points(text)
        place = np.searchsorted(known[order], codes)
        near = known[order][np.minimum(place, len(known) - 1)]
        return table[np.where(near == codes, place, len(known))]

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens; padding is left out, what was not known is the Unicode
        sign for that."""
        special = {PADDING: "", UNKNOWN: "\N{REPLACEMENT CHARACTER}"}
        names = self.names
        return "".join(special.get(token, names[token]) for token in map(int, tokens))

    def unknown(self, text: str) -> tuple[str, ...]:
        """The symbols of a text that are not known, each once."""
        known = set(self.symbols)
        return tuple(
            s for s in dict.fromkeys(split(text, self.level)) if s not in known
        )

    def apply(self, inputs: Any) -> Int[Array, "batch time"]:
        """Tokens as they are; a list of texts as tokens, the shorter ones padded."""
        if not (isinstance(inputs, list | tuple) and all(map(_is_text, inputs))):
            return jnp.asarray(inputs)
        rows = [self.encode(text) for text in inputs]
        length = max(map(len, rows), default=0)
        return jnp.asarray(
            [
                np.pad(row, (0, length - len(row)), constant_values=PADDING)
                for row in rows
            ]
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, which ``from_json`` turns back exactly."""
        return {"kind": "symbols", "level": self.level, "symbols": list(self.symbols)}


def from_json(values: Mapping[str, Any]) -> Symbols:
    """What ``Symbols.to_json`` wrote.

    Raises:
      ValueError: a part is missing or unknown.
    """
    try:
        level, symbols = values["level"], tuple(map(str, values["symbols"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"the symbols of the text lack {error}") from error
    return Symbols(check_level(level), symbols)


def check_level(level: str) -> str:
    """The level, if it is one of ``LEVELS``; else a ValueError."""
    if level not in LEVELS:
        raise ValueError(f"--level is {level!r}: give {' or '.join(LEVELS)}")
    return level


def split(text: str, level: str) -> Sequence[str]:
    """The symbols of a text; joined they are the text."""
    return text if level == "character" else _WORD.findall(text)


def fit(text: str, level: str, most: int = 0) -> Symbols:
    """The symbols of a training text, in the order of characters, or of how frequent
    words are.

    Args:
      text: of the training part.
      level: "character" or "word".
      most: how many are known, the most frequent ones; 0: all characters, or the
        10,000 most frequent words.
    """
    counts = Counter(split(text, check_level(level)))
    if level == "word" and not most:
        most = WORDS
    # Among equally frequent ones the order of characters, not that of the text.
    ranked = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
    kept = ranked[: most or None]
    return Symbols(level, tuple(kept if level == "word" else sorted(kept)))


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
