"""Columns of a table in time order as float32 features, nothing of the future in them.

Numbers stay in their own unit; missing ones are filled forward and marked; text is
one-hot; dates become the place in the day and the year. What is decided of the
columns is decided by the training rows alone.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging
from jaxtyping import Float

from jaxdl.data import timestamps
from jaxdl.data.csv_files import column, infinite, is_missing, numbers
from jaxdl.data.timestamps import Table, Times

# A column of text with more values than this is left out.
MAX_LEVELS = 20


@dataclasses.dataclass(frozen=True)
class Series:
    """A series in time order.

    Attributes:
      values: [rows, features], in the columns' units; NaN before a column's first
        value.
      target: [rows], the column to forecast; NaN where it is missing.
      times: of the rows, or None.
    """

    values: Float[np.ndarray, "rows features"]
    target: Float[np.ndarray, " rows"]
    times: Times | None

    def __len__(self) -> int:
        return len(self.target)


@dataclasses.dataclass(frozen=True)
class SeriesColumns:
    """How the columns of a table become features.

    Attributes:
      target: the column that is forecast, a feature as well.
      numeric: columns of numbers, the target first.
      marked: those of them with a feature that says where a value is missing.
      levels: (column of text, its values), a feature each; other text is none.
      cycles: keys of ``timestamps.CYCLES``, two features each.
    """

    target: str
    numeric: tuple[str, ...]
    marked: tuple[str, ...] = ()
    levels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    cycles: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features, in order; the target is the first."""
        return (
            *self.numeric,
            *(f"{name} is missing" for name in self.marked),
            *(f"{name} is {level}" for name, levels in self.levels for level in levels),
            *(f"{way} of {c}" for c in self.cycles for way in ("sine", "cosine")),
        )

    def encode(self, table: Table) -> Series:
        """A table's rows as features; columns that are not needed may be there too.

        Raises:
          ValueError: a column is missing or holds something else, rows out of order.
        """
        times, _ = timestamps.read_times(table)
        if self.cycles and times is None:
            raise ValueError("there is no column of dates, as the training data has")
        found = {name: _numbers(table, name) for name in self.numeric}
        text = {name: _cells(table, name) for name, _ in self.levels}
        parts = [
            *(filled_forward(values) for values in found.values()),
            *(np.isnan(found[name]) for name in self.marked),
            *(
                np.array([cell == level for cell in text[name]])
                for name, levels in self.levels
                for level in levels
            ),
        ]
        values = np.stack(parts, axis=1).astype(np.float32)
        if times is not None:
            values = np.concatenate(
                [values, timestamps.cyclic(times, self.cycles)], axis=1
            )
        return Series(values, found[self.target].astype(np.float32), times)


def columns_from_json(values: Mapping[str, Any]) -> SeriesColumns:
    """What ``dataclasses.asdict`` made of it, after a way through JSON.

    Raises:
      ValueError: a part is missing.
    """
    try:
        return SeriesColumns(
            str(values["target"]),
            tuple(values["numeric"]),
            tuple(values["marked"]),
            tuple((name, tuple(levels)) for name, levels in values["levels"]),
            tuple(values["cycles"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"the columns of the series are broken: {error!r}") from error


def fit_columns(
    table: Table, target: str, rows: int, ignore: Sequence[str] = ()
) -> SeriesColumns:
    """What to make of a table's columns, decided by its first rows.

    Left out are columns of dates (their cycles take their place), counters, text of
    more than ``MAX_LEVELS`` values, and what has a single value or none; the last
    two with a warning.

    Args:
      table: column name to cells.
      target: the column to forecast.
      rows: how many rows the training part has.
      ignore: names of columns to leave out.

    Raises:
      ValueError: in one line, no such column, a target that is no number, rows that
        are not in time order.
    """
    for name in ignore:
        column(table, name, "ignore")
    column(table, target, "target")
    if target in ignore:
        raise ValueError(f"--ignore names the target {target}: it is needed")
    _check_target(table, target, rows)
    times, dated = timestamps.read_times(table)
    numeric, marked, levels = [target], [], []
    for name, cells in table.items():
        if name in (*dated, *ignore):
            continue
        found = numbers(cells[:rows])
        if found is None:
            texts = _levels(name, cells[:rows])
            levels += [(name, texts)] if texts else []
        elif name == target or _useful(name, found):
            numeric += [name] if name != target else []
            marked += [name] if np.isnan(found).any() else []
    cycles = () if times is None else timestamps.cycles_within(times[:rows])
    return SeriesColumns(target, tuple(numeric), tuple(marked), tuple(levels), cycles)


def filled_forward(values: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
    """Each NaN as the last value before it; NaN where there is none."""
    known = np.where(np.isnan(values), 0, np.arange(len(values)))
    return values[np.maximum.accumulate(known)]


def _check_target(table: Table, target: str, rows: int) -> None:
    values = _numbers(table, target)[:rows]
    known = values[~np.isnan(values)]
    if not known.size or np.ptp(known) == 0:
        what = "holds one value only" if known.size else "is empty"
        raise ValueError(
            f"--target={target} {what} in the training part (the first {rows} rows): "
            "there is nothing to learn"
        )


def _cells(table: Table, name: str) -> Sequence[str]:
    if name not in table:
        raise ValueError(
            f"there is no column {name}: the columns are {', '.join(table)}"
        )
    return table[name]


def _numbers(table: Table, name: str) -> np.ndarray:
    """A column of numbers, NaN where missing; ValueError naming the first other."""
    cells = _cells(table, name)
    found = numbers(cells)
    if found is None:
        bad = next(i for i, cell in enumerate(cells) if numbers([cell]) is None)
        raise ValueError(
            f"column {name}, row {bad + 1} holds {cells[bad]!r}: a finite number is "
            "expected"
        )
    return found


def _useful(name: str, values: np.ndarray) -> bool:
    """Whether numbers say something: they vary, and are no counter of the rows."""
    known = values[~np.isnan(values)]
    if not known.size or np.ptp(known) == 0:
        what = "one value only" if known.size else "no value"
        logging.warning("column %s is left out: %s in the training part", name, what)
        return False
    steps = np.diff(values)
    return not (steps.size and steps[0] != 0 and np.all(steps == steps[0]))


def _levels(name: str, cells: Sequence[str]) -> tuple[str, ...]:
    """The values of a column of text; none where they are too many or but one."""
    if any(infinite(cells)):
        raise ValueError(
            f"column {name} holds infinite numbers: leave those cells empty"
        )
    found = sorted({cell for cell in cells if not is_missing(cell)})
    if 2 <= len(found) <= MAX_LEVELS:
        return tuple(found)
    logging.warning(
        "column %s is left out: text of %d different values (2 to %d are used)",
        *(name, len(found), MAX_LEVELS),
    )
    return ()
