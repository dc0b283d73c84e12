"""Tables of mixed columns as float32 features: numbers standardised, text one-hot.

A column is numeric if every cell that is not missing is a number, else categorical.
Which columns there are, their kinds, the names of their levels and whether cells are
missing is taken from the whole table, so that every fold of it has the same features;
all numbers come from the training rows alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from absl import logging
from jaxtyping import Float, Int

from jaxdl.data.csv_files import infinite, is_missing, numbers

# Levels of a text column that get a feature of their own, the most frequent ones.
MAX_LEVELS = 50

# Name to cells: text, as ``read_csv`` gives it, or numbers.
Columns = Mapping[str, Sequence[Any]]
# Name to cells that were read: float64 with NaN, or text with "", where missing.
Parsed = dict[str, np.ndarray]


@dataclass(frozen=True)
class Numeric:
    """How a column of numbers becomes one feature, or two.

    Attributes:
      name: the column's.
      median: stands in for missing cells.
      mean, deviation: of the cells, those filled in included. A deviation of 0, of
        cells that are all alike, makes the feature 0: nothing was learned of it.
      marked: whether a second feature says (1.0) that the cell was missing.
      missing_seen: whether training rows had missing cells; else that feature stays
        0, for its weights were never trained.
    """

    name: str
    median: float
    mean: float
    deviation: float
    marked: bool
    missing_seen: bool

    @property
    def features(self) -> list[str]:
        """Names of the features."""
        return [self.name, f"{self.name} is missing"] if self.marked else [self.name]

    def apply(self, values: Float[np.ndarray, " rows"]) -> np.ndarray:
        """Values, NaN where missing, as features [rows, 1 or 2]."""
        missing = np.isnan(values)
        centred = np.where(missing, self.median, values) - self.mean
        scaled = centred / self.deviation if self.deviation > 0 else 0.0 * centred
        if not self.marked:
            return scaled[:, None]
        return np.column_stack([scaled, missing & self.missing_seen])


@dataclass(frozen=True)
class Categorical:
    """How a column of text becomes a feature a level, and one for all other text.

    Attributes:
      name: the column's.
      levels: text with a feature of its own; "" is a missing cell.
      seen: for each level, and last for other text, whether training rows had it.
        A level that they had not counts as other text; and where they had no other
        text, all features are 0, for its weights were never trained.
    """

    name: str
    levels: tuple[str, ...]
    seen: tuple[bool, ...]

    @property
    def features(self) -> list[str]:
        """Names of the features."""
        named = [
            f"{self.name} is {level}" if level else f"{self.name} is missing"
            for level in self.levels
        ]
        return [*named, f"{self.name} is other"]

    def apply(self, text: np.ndarray) -> np.ndarray:
        """Text, "" where missing, as features [rows, levels + 1] of 0 and 1."""
        slots = np.full(len(text), len(self.levels))
        for slot, (level, seen) in enumerate(zip(self.levels, self.seen, strict=False)):
            if seen:
                slots[text == level] = slot
        return np.eye(len(self.seen))[slots] * np.array(self.seen, float)


Column = Numeric | Categorical


@dataclass(frozen=True)
class Table:
    """What makes features of rows.

    Attributes:
      columns: those that features are made of, in order.
      target: the column that is to be told from them.
    """

    columns: tuple[Column, ...]
    target: str

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return tuple(name for column in self.columns for name in column.features)

    @cached_property
    def groups(self) -> dict[str, Int[np.ndarray, " features"]]:
        """Column name to the indices of its features."""
        ends = np.cumsum([len(column.features) for column in self.columns])
        return {
            column.name: np.arange(end - len(column.features), end)
            for column, end in zip(self.columns, ends, strict=True)
        }

    def apply(self, rows: Any) -> Float[np.ndarray, "rows features"]:
        """Rows as features, float32.

        Args:
          rows: column name to cells, more columns than needed allowed; or rows of
            cells [rows, columns] in the order of ``columns``. Cells are numbers or
            text; missing ones are None, NaN, or text that says so.

        Raises:
          ValueError: a column is missing, or a numeric one holds something else.
        """
        cells = rows if isinstance(rows, Mapping) else self._by_name(rows)
        absent = [c.name for c in self.columns if c.name not in cells]
        if absent:
            raise ValueError(
                f"there is no column {', '.join(absent)}: the columns are "
                f"{', '.join(cells)}"
            )
        parts = [_apply(column, cells[column.name]) for column in self.columns]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def _by_name(self, rows: Any) -> dict[str, Any]:
        cells = np.asarray(rows)
        if cells.dtype.kind == "U":  # NumPy has made text of all numbers
            cells = np.asarray(rows, object)
        if cells.ndim != 2 or cells.shape[1] != len(self.columns):
            raise ValueError(
                f"rows of shape {list(cells.shape)}: give [rows, {len(self.columns)}], "
                f"a cell for each of {', '.join(c.name for c in self.columns)}"
            )
        return {c.name: cells[:, i] for i, c in enumerate(self.columns)}

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, which ``from_json`` turns back exactly."""
        return {
            "kind": "table",
            "target": self.target,
            "columns": [asdict(column) for column in self.columns],
        }


def from_json(values: Mapping[str, Any]) -> Table:
    """What ``Table.to_json`` wrote.

    Raises:
      ValueError: a part is missing or unknown.
    """
    try:
        columns = [
            Categorical(str(c["name"]), tuple(c["levels"]), tuple(c["seen"]))
            if "levels" in c
            else Numeric(**c)
            for c in values["columns"]
        ]
        return Table(tuple(columns), str(values["target"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"the columns of the table are broken: {error}") from error


def parse(columns: Columns) -> Parsed:
    """The columns that features can be made of, read; the others are left out with a
    warning: those without a cell, with one value, or with text that never repeats.

    Raises:
      ValueError: an infinite number, or no column is left.
    """
    found: Parsed = {}
    for name, cells in columns.items():
        values = _read(name, cells)
        reason = _useless(values)
        if reason:
            logging.warning("column %s is left out: %s", name, reason)
        else:
            found[name] = values
            _warn_of_text(name, values)
    if not found:
        raise ValueError(
            f"no column is left to learn from: {', '.join(columns) or 'there is none'}"
        )
    return found


def fit(parsed: Parsed, target: str, rows: Int[np.ndarray, " rows"]) -> Table:
    """The table's preprocessing, with the numbers of the training rows.

    Args:
      parsed: of all rows, from ``parse``.
      target: name of the target's column.
      rows: indices of the training part.
    """
    return Table(tuple(_fit(n, cells, rows) for n, cells in parsed.items()), target)


def _fit(name: str, cells: np.ndarray, rows: np.ndarray) -> Column:
    if cells.dtype.kind == "f":
        missing = np.isnan(cells)
        known = cells[rows][~missing[rows]]
        median = float(np.median(known)) if known.size else 0.0
        filled = np.where(missing[rows], median, cells[rows])
        mean, deviation = float(filled.mean()), float(filled.std())
        # Rounding leaves equal numbers a deviation of about 1e-16 of their size.
        if not deviation > 1e-12 * abs(mean):
            deviation = 0.0
        return Numeric(
            name,
            median,
            mean,
            deviation,
            bool(missing.any()),
            bool(missing[rows].any()),
        )
    levels = _levels(cells)
    has_other = bool((~np.isin(cells[rows], levels)).any())
    seen = [bool((cells[rows] == level).any()) for level in levels]
    return Categorical(name, tuple(levels), (*seen, has_other))


def _levels(text: np.ndarray) -> list[str]:
    """Text that occurs at least twice, the most frequent ones, in alphabetical order;
    the rest trains the feature of other text."""
    names, counts = np.unique(text, return_counts=True)
    frequent = names[np.argsort(-counts, kind="stable")][:MAX_LEVELS]
    return sorted(str(name) for name in frequent if counts[names == name] > 1)


def _useless(values: np.ndarray) -> str:
    """Why nothing can be learned from a column; empty if something can."""
    numeric = values.dtype.kind == "f"
    known = values[~np.isnan(values)] if numeric else values[values != ""]
    if not known.size:
        return "every cell is missing"
    counts = np.unique(known, return_counts=True)[1]
    if len(counts) == 1 and known.size == values.size:
        return "every cell is the same"
    return "no text in it occurs twice" if not numeric and counts.max() == 1 else ""


def _warn_of_text(name: str, values: np.ndarray) -> None:
    """Log what is odd about a column of text: mostly numbers, or many levels."""
    if values.dtype.kind == "f":
        return
    known = np.flatnonzero(values != "")
    odd = [i for i in known if numbers([str(values[i])]) is None]
    if len(odd) < len(known) / 2:
        logging.warning(
            "column %s is read as text: row %d holds %r, which is no number (%d of %d "
            "cells are)",
            *(name, odd[0] + 1, str(values[odd[0]])),
            *(len(known) - len(odd), len(known)),
        )
    levels = len(np.unique(values[known]))
    if levels > MAX_LEVELS:
        logging.warning(
            "column %s has %d different texts: the %d most frequent get a feature each",
            *(name, levels, MAX_LEVELS),
        )


def _read(name: str, cells: Sequence[Any]) -> np.ndarray:
    """Cells as numbers where all are, else as text."""
    found = _numbers(cells)
    text = _text(cells)
    wrong = infinite(text) if found is None else []
    if any(wrong):
        bad = wrong.index(True)
        raise ValueError(
            f"column {name}, row {bad + 1} holds {text[bad]!r}: give finite numbers, "
            "or leave the cell empty"
        )
    if found is not None:
        return found
    return np.array(["" if is_missing(cell) else cell for cell in text])


def _apply(column: Column, cells: Any) -> np.ndarray:
    """The features of a column's cells."""
    if isinstance(column, Categorical):
        text = ["" if is_missing(cell) else cell for cell in _text(cells)]
        return column.apply(np.array(text))
    values = _numbers(cells)
    if values is None:
        text = _text(cells)
        bad = next(i for i, cell in enumerate(text) if numbers([cell]) is None)
        raise ValueError(
            f"column {column.name}, row {bad + 1} holds {text[bad]!r}: a finite number "
            "is expected"
        )
    return column.apply(values)


def _numbers(cells: Any) -> np.ndarray | None:
    array = np.asarray(cells)
    if array.dtype.kind not in "biuf":
        return numbers(_text(cells))
    return None if np.isinf(array).any() else array.astype(np.float64)


def _text(cells: Any) -> list[str]:
    return ["" if cell is None else str(cell).strip() for cell in cells]
