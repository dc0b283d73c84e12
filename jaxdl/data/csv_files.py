"""CSV files as columns of text, by the standard library's reader."""

import csv
from pathlib import Path

# A cell larger than this is no cell but a quote that was never closed.
_LARGEST_CELL = 2**22


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
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"{path} does not exist or is no file")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8"
        ) from error
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


def column(table: dict[str, list[str]], name: str, flag: str) -> list[str]:
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
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"{path}: the column {twice[0]!r} is there twice")
