"""Baselines of language models: how often symbols occur, alone and after others."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxdl.data.language import text_of_passages, text_of_windows
from jaxdl.train.task import Figures

# Of the longest n-grams: a number of 63 bits holds five characters, or four of 10,000
# words, of which few repeat.
ORDERS = {"character": 5, "word": 3}

Row = Int[np.ndarray, " length"]


def language(data: Any) -> dict[str, Figures]:
    """Loss, perplexity and, of characters, bits per character of n-gram models on the
    test part: ``unigram``, and 5-grams of characters or 3-grams of words, smoothed by
    Kneser and Ney; of a data set as ``jaxdl.data.language.load`` makes it."""
    level, classes = data.preprocess.level, len(data.classes)
    train, test = text_of_windows(data.train), text_of_passages(data.test)
    order = ORDERS[level]
    figures: dict[str, Figures] = {}
    for name, n in (("unigram", 1), (f"{order}-gram", order)):
        loss = kneser_ney(train, test, classes, n)
        figures[name] = {"loss": loss, "perplexity": math.exp(loss)}
        if level == "character":
            figures[name]["bits_per_character"] = loss / math.log(2)
    return figures


def kneser_ney(train: Row, test: Row, classes: int, order: int) -> float:
    """The loss in nats of an n-gram model of ``order`` symbols on a text, each but the
    first symbol of it counted.

    Interpolated Kneser-Ney with one discount an order (Chen and Goodman 1999, section
    2.7): what a symbol's shorter history says weighs by in how many longer ones it
    occurs, not by how often.
    """
    train, test = train.astype(np.int64), test.astype(np.int64)
    shares = np.full(len(test), 1.0 / classes)
    tables = _tables(train, classes, min(order, len(train)))
    for n, (grams, counts) in enumerate(tables[: len(test)], start=1):
        here = _interpolated(grams, counts, _codes(test, n, classes), classes, shares)
        # The first symbols have no history so long: the shorter one speaks for them.
        shares = np.concatenate([shares[: n - 1], here])
    return float(-np.log(shares[1:]).mean())


def _codes(tokens: Row, n: int, classes: int) -> Int[np.ndarray, " places"]:
    """A number for the n-gram that ends at each place from n - 1 on."""
    codes = np.zeros(len(tokens) - n + 1, np.int64)
    for i in range(n):
        codes = codes * classes + tokens[i : len(tokens) - n + 1 + i]
    return codes


def _tables(train: Row, classes: int, order: int) -> list[tuple[Row, Row]]:
    """For each order the n-grams that occur, sorted, and their counts: of the longest
    how often, of others after how many different symbols."""
    found = [np.unique(_codes(train, order, classes), return_counts=True)]
    for n in range(order - 1, 0, -1):
        found.append(np.unique(found[-1][0] % classes**n, return_counts=True))
    return found[::-1]


def _interpolated(
    grams: Row, counts: Row, asked: Row, classes: int, shares: Float[np.ndarray, " all"]
) -> Float[np.ndarray, " places"]:
    """Probabilities of the n-grams asked for, from counts and those of order n - 1."""
    once, twice = (np.count_nonzero(counts == times) for times in (1, 2))
    discount = once / (once + 2 * twice) if once else 0.5
    histories, first = np.unique(grams // classes, return_index=True)
    totals = np.add.reduceat(counts, first)
    kinds = np.diff(np.append(first, len(grams)))
    gram, seen = _find(grams, asked)
    history, known = _find(histories, asked // classes)
    shorter = shares[-len(asked) :]
    left = np.maximum(np.where(seen, counts[gram], 0) - discount, 0)
    mixed = (left + discount * kinds[history] * shorter) / totals[history]
    return np.where(known, mixed, shorter)


def _find(row: Row, values: Row) -> tuple[Row, np.ndarray]:
    """Where the values stand in a sorted row, and whether they are there at all."""
    at = np.minimum(np.searchsorted(row, values), len(row) - 1)
    return at, row[at] == values
