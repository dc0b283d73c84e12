"""CSV files as columns of text, by the standard library's reader."""

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxdl.data.utf8 import read_utf8

# A cell larger than this is no cell but a quote that was never closed.
_LARGEST_CELL = 2**22

# Beyond it a float32 is infinite.
_LARGEST = float(np.finfo(np.float32).max)

_MISSING = frozenset({"", "?", "-", "na", "n/a", "nan", "null", "none"})


def read_csv(path: str | Path) -> dict[str, list[str]]:
    """The columns of a CSV file with a header: name to cells, as text.

    UTF-8, with or without a byte-order mark; comma, semicolon, tab or bar as the
    header suggests; quoted cells may hold line breaks. Empty lines are left out.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: in one line with its number: rows of another length than the
        header, text that is not UTF-8, a name that is empty or given twice, no
        rows, a quote without end.
    """
    text = read_utf8(path)
    if "\0" in text:
        raise ValueError(f"{path} holds null bytes: it is no CSV file")
    csv.field_size_limit(_LARGEST_CELL)
    lines = text.splitlines(keepends=True)
    header = next((line for line in lines if line.strip()), "")
    reader = csv.reader(lines, delimiter=_delimiter(header), strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from error
    if len(rows) < 2:
        raise ValueError(f"{path} holds no rows below its header")
    names = [name.strip() for name in rows[0][1]]
    _check_names(path, names)
    for number, row in rows[1:]:
        if len(row) != len(names):
            raise ValueError(
                f"{path}, line {number}: {len(row)} cells, but the header names "
                f"{len(names)} columns"
            )
    cells = zip(*(row for _, row in rows[1:]), strict=True)
    return {
        name: [cell.strip() for cell in column]
        for name, column in zip(names, cells, strict=True)
    }


def column(table: Mapping[str, Sequence[str]], name: str, flag: str) -> Sequence[str]:
    """One column; ValueError naming the flag and the columns there are."""
    if name not in table:
        asked = f"--{flag}={name}" if name else f"--{flag} is missing"
        raise ValueError(f"{asked}: the columns are {', '.join(table)}")
    return table[name]


def _delimiter(header: str) -> str:
    """The separator that the header holds most of; a comma where it holds none."""
    return max(",;\t|", key=header.count)


def _check_names(path: str | Path, names: list[str]) -> None:
    if "" in names:
        raise ValueError(f"{path}: column {names.index('') + 1} has no name")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{path}: the column {twice[0]!r} is there twice")


def is_missing(cell: str) -> bool:
    """Whether a cell says that its value is not known: empty, ``NA``, ``?``..."""
    return cell.strip().lower() in _MISSING


def numbers(cells: Sequence[str]) -> np.ndarray | None:
    """The cells of a column as float64 [rows], NaN where one is missing; None where
    one is no number (infinity is none, nor is what float32 has no room for)."""
    try:
        found = [math.nan if is_missing(cell) else float(cell) for cell in cells]
    except ValueError:
        return None
    return None if any(map(_infinite, found)) else np.array(found)


def _infinite(number: float) -> bool:
    return abs(number) > _LARGEST  # false of NaN


def infinite(cells: Sequence[str]) -> list[bool]:
    """Which cells of a column of numbers are infinite, as float32 has them; none in a
    column of text."""
    found = []
    for cell in cells:
        try:
            found.append(not is_missing(cell) and _infinite(float(cell)))
        except ValueError:
            return [False] * len(cells)
    return found
