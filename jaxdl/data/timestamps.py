"""Times of the rows of a table, and what of them comes back every day or year."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
from jaxtyping import Float

from jaxdl.data.csv_files import is_missing

# Column names that together say a time, the first three of them at least.
PARTS = ("year", "month", "day", "hour", "minute", "second")
# Of dates that are not ISO 8601; a day before its month, as points tell.
_POINTS = ("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y")

DAY = 86_400
# What comes back, and after how many seconds. A year is 365.2425 days.
CYCLES = {"day": DAY, "year": 31_556_952}

Times = np.ndarray  # datetime64[s] [rows]
Table = Mapping[str, Sequence[str]]


def read_times(table: Table) -> tuple[Times | None, tuple[str, ...]]:
    """The times of the rows, and the columns that say them; None where none do.

    Columns ``year``, ``month``, ``day`` and, where there are, ``hour``, ``minute``,
    ``second``; or the first column whose first cell is a date: ISO 8601, or
    day.month.year. Times with an offset are brought to UTC.

    Raises:
      ValueError: in one line, a row without a valid time, or one whose time is not
        after that of the row before.
    """
    names = {name.lower(): name for name in table}
    parts = tuple(names[part] for part in PARTS if part in names)
    if all(part in names for part in PARTS[:3]):
        cells = [" ".join(row) for row in zip(*(table[n] for n in parts), strict=True)]
        found = [_from_parts([part.split(".")[0] for part in c.split()]) for c in cells]
        return _checked(cells, found, ", ".join(parts)), parts
    for name, column in table.items():
        if parse(column[0]) is not None:
            return _checked(column, list(map(parse, column)), name), (name,)
    return None, ()


def parse(cell: str) -> datetime | None:
    """The time that a cell says; None where it is none (a plain number is none)."""
    try:
        float(cell)
        return None
    except ValueError:
        pass
    for read in (datetime.fromisoformat, *map(_by_format, _POINTS)):
        try:
            found = read(cell)
        except ValueError:
            continue
        return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found
    return None


def _by_format(form: str) -> Callable[[str], datetime]:
    return lambda cell: datetime.strptime(cell, form)


def _from_parts(parts: Sequence[str]) -> datetime | None:
    try:
        return datetime(*map(int, parts))  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return None


def _checked(
    cells: Sequence[str], found: Sequence[datetime | None], name: str
) -> Times:
    if None in found:
        row = found.index(None)
        said = "is missing" if is_missing(cells[row]) else f"is {cells[row]!r}"
        raise ValueError(
            f"{name} of row {row + 1} {said}: give every row a date, as the first has"
        )
    times = np.array(found, "datetime64[s]")
    late = np.flatnonzero(np.diff(times) <= np.timedelta64(0, "s"))
    if late.size:
        row = int(late[0]) + 1
        raise ValueError(
            f"row {row + 1} ({times[row]}) is not after row {row} ({times[row - 1]}): "
            f"sort the rows by {name}, each time once"
        )
    return times


def usual_step(times: Times) -> int:
    """The seconds from one row to the next, in most cases."""
    steps, counts = np.unique(np.diff(times).astype(np.int64), return_counts=True)
    return int(steps[np.argmax(counts)])


def irregular(times: Times) -> int:
    """How many rows do not follow the row before them by the usual step."""
    return int(np.sum(np.diff(times).astype(np.int64) != usual_step(times)))


def cycles_within(times: Times) -> tuple[str, ...]:
    """The cycles that some rows show: they last as long, with several rows in each.

    Of a shorter series a place in the year is but a counter, by which a training
    part could be learned by heart.
    """
    seconds = int((times[-1] - times[0]).astype(np.int64))
    step = usual_step(times)
    return tuple(
        name for name, period in CYCLES.items() if 3 * step < period <= seconds
    )


def cyclic(times: Times, cycles: Sequence[str]) -> Float[np.ndarray, "rows features"]:
    """Sine and cosine of the place in each cycle, float32."""
    seconds = times.astype("datetime64[s]").astype(np.int64)
    angles = [2 * np.pi * (seconds % CYCLES[c]) / CYCLES[c] for c in cycles]
    columns = [f(angle) for angle in angles for f in (np.sin, np.cos)]
    empty = np.zeros((len(times), 0))
    return np.column_stack([empty, *columns]).astype(np.float32)
