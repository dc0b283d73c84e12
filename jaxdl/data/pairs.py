"""Pairs of texts as tokens: a source, and the target to be written from it.

Sets by name: ``addition`` and ``dates`` are drawn, ``csv:PATH`` is read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Int

from jaxdl.data import csv_files, splits, symbols
from jaxdl.data.dataset import MEMORY_BUDGET, Dataset
from jaxdl.data.drawn_pairs import DRAWN, MOST, USUAL
from jaxdl.data.source import in_memory
from jaxdl.data.symbols import PADDING, SPECIAL, UNKNOWN, Symbols

# A target is read from BEGIN on; it ends in END, as a source does. They are the first
# two symbols, by the control characters that are meant for it.
BEGIN, END = len(SPECIAL), len(SPECIAL) + 1
_MARKS = ("\x02", "\x03")
# What no target is of.
NEVER_WRITTEN = (PADDING, UNKNOWN, BEGIN)
# Characters of a text: attention over more is for another kind of model.
LONGEST = 256

Tokens = Int[np.ndarray, "texts length"]


@dataclass(frozen=True)
class Characters:
    """Texts as rows of tokens, one a character, closed by END and then padded.

    Attributes:
      symbols: the marks of begin and end, then the characters that are known.
      length: tokens of a row; texts have ``length - 1`` characters at most.
    """

    symbols: Symbols
    length: int

    @property
    def names(self) -> tuple[str, ...]:
        """What each token stands for, by its number."""
        return (*SPECIAL, "<begin>", "<end>", *self.symbols.symbols[len(_MARKS) :])

    def encode(self, texts: Sequence[str]) -> Tokens:
        """int32 [texts, length]; a character that is not known is UNKNOWN.

        Raises:
          ValueError: a text has more characters than fit.
        """
        lengths = np.array([len(text) + 1 for text in texts])
        longest = texts[int(np.argmax(lengths))]
        if len(longest) >= self.length:
            shown = longest if len(longest) <= 40 else f"{longest[:37]}..."
            raise ValueError(
                f"{shown!r} has {len(longest)} characters: at most {self.length - 1} "
                "fit"
            )
        tokens = np.full((len(texts), self.length), PADDING, np.int32)
        # All at once: a call for each of 50,000 texts would take a second.
        closed = "".join(f"{text}{_MARKS[1]}" for text in texts)
        tokens[np.arange(self.length) < lengths[:, None]] = self.symbols.encode(closed)
        return tokens

    def decode(self, tokens: Tokens) -> list[str]:
        """The texts of rows of tokens, each up to its END."""
        texts = []
        for row in np.asarray(tokens).tolist():
            end = row.index(END) if END in row else len(row)
            texts.append(self.symbols.decode(row[:end]))
        return texts

    def unknown(self, text: str) -> str:
        """The characters of a text that are not known, each once."""
        return "".join(self.symbols.unknown(text))


@dataclass(frozen=True)
class TextPairs:
    """How the sources and targets of a data set become tokens."""

    source: Characters
    target: Characters

    @property
    def sides(self) -> dict[str, Characters]:
        """Both by name: source, target."""
        return {"source": self.source, "target": self.target}

    def apply(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """``{"source": ..., "target": ...}``: tokens as they are, and texts as what a
        model reads of them (the target begins with BEGIN)."""
        found = dict(inputs)
        for name, characters in self.sides.items():
            if name in found and isinstance(found[name], list | tuple):
                tokens = characters.encode(found[name])
                found[name] = tokens if name == "source" else shifted(tokens)
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain values, which ``from_json`` turns back exactly."""
        return {
            "kind": "text_pairs",
            **{
                name: {"symbols": side.symbols.to_json(), "length": side.length}
                for name, side in self.sides.items()
            },
        }


def from_json(values: Mapping[str, Any]) -> TextPairs:
    """What ``TextPairs.to_json`` wrote.

    Raises:
      ValueError: a part is missing.
    """
    try:
        source, target = (
            Characters(symbols.from_json(side["symbols"]), int(side["length"]))
            for side in (values["source"], values["target"])
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"the text pairs lack {error}") from error
    return TextPairs(source, target)


def shifted(targets: Int[ArrayLike, "texts length"]) -> Int[Array, "texts length"]:
    """What a decoder reads to write targets: BEGIN, and all of them but the last."""
    targets = jnp.asarray(targets)
    return jnp.pad(targets[:, :-1], ((0, 0), (1, 0)), constant_values=BEGIN)


def load(
    name: str,
    *,
    source: str = "source",
    target: str = "target",
    examples: int | None = None,
    validation_fraction: float | None = None,
    split_seed: int = 0,
    known: TextPairs | None = None,
    memory_budget: float = MEMORY_BUDGET,
) -> Dataset:
    """A set of text pairs, divided: inputs are the tokens of sources [n, length],
    targets those of targets; vocabularies are those of the training part.

    Args:
      name: "addition", "dates" or "csv:PATH".
      source, target: columns of the CSV file.
      examples: how many pairs to draw; the set's own number if None.
      validation_fraction: as in `jaxdl.data.load`.
      split_seed: what is drawn, and how it is divided.
      known: vocabularies and lengths of another set, to read this one by.
      memory_budget: as in `jaxdl.data.load`.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: in one line: an unknown name or column, texts that are empty or
        too long, a number of examples that cannot be had.
    """
    sources, targets = read(
        name, source=source, target=target, examples=examples, seed=split_seed
    )
    parts = _divide(sources, validation_fraction, split_seed)
    texts = known or TextPairs(_fit(sources, parts[0]), _fit(targets, parts[0]))
    train, validation, test = (
        in_memory(
            texts.source.encode([sources[i] for i in part]),
            texts.target.encode([targets[i] for i in part]),
            memory_budget,
        )
        for part in parts
    )
    return Dataset(
        name=name,
        train=train,
        validation=validation,
        test=test,
        classes=texts.target.names,
        input_shape=(texts.source.length,),
        preprocess=texts,
    )


def read(
    name: str,
    *,
    source: str = "source",
    target: str = "target",
    examples: int | None = None,
    seed: int = 0,
) -> tuple[list[str], list[str]]:
    """The sources and targets of a set; arguments and errors are those of ``load``."""
    if name in DRAWN:
        count = USUAL[name] if examples is None else examples
        if not 1 <= count <= MOST[name]:
            raise ValueError(
                f"--examples={count}: {name} has 1 to {MOST[name]:,} different pairs"
            )
        return DRAWN[name](count, np.random.default_rng([seed, count]))
    prefix, colon, path = name.partition(":")
    if prefix != "csv" or not colon:
        raise ValueError(
            f"--dataset={name} is unknown: give {', '.join(DRAWN)} or csv:PATH"
        )
    if examples is not None:
        raise ValueError(
            f"--examples={examples} is for {' and '.join(DRAWN)}, which are drawn; "
            "leave it out"
        )
    return _read_csv(path, source, target)


def _read_csv(path: str, source: str, target: str) -> tuple[list[str], list[str]]:
    table = csv_files.read_csv(path)
    columns = [
        csv_files.column(table, name, flag)
        for name, flag in ((source, "source"), (target, "target"))
    ]
    for flag, column in zip((source, target), columns, strict=True):
        for row, text in enumerate(column, 1):
            if not text or len(text) > LONGEST:
                raise ValueError(
                    f"{path}, row {row} below the header: the {flag} has {len(text)} "
                    f"characters; allowed are 1 to {LONGEST}"
                )
    return list(columns[0]), list(columns[1])


def _divide(
    sources: list[str], validation_fraction: float | None, split_seed: int
) -> list[list[int]]:
    """Places of the training, validation and test pairs; those of equal sources
    stay together, so that no part knows the answer to another's."""
    distinct = {text: number for number, text in enumerate(dict.fromkeys(sources))}
    sizes = splits.split_sizes(len(distinct), False, validation_fraction)
    number = np.array([distinct[text] for text in sources])
    return [
        np.flatnonzero(np.isin(number, chosen)).tolist()
        for chosen in splits.split(len(distinct), sizes, split_seed)
    ]


def _fit(texts: list[str], train: list[int]) -> Characters:
    """Characters of the training texts, with room for the longest text of all."""
    known = sorted(set().union(*(texts[i] for i in train)) - set(_MARKS))
    return Characters(Symbols("character", (*_MARKS, *known)), 1 + max(map(len, texts)))
