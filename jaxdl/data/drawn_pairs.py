"""Pairs of texts that are drawn: sums, and dates in many formats."""

import datetime
from collections.abc import Callable

import numpy as np

Texts = list[str]

# Numbers of one to three digits; 500,500 pairs of them, were a + b and b + a one.
DIGITS = 3

# Days to draw from, each at most once.
FIRST_DAY, LAST_DAY = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)

MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_WEEKDAYS = (
    *("Monday", "Tuesday", "Wednesday", "Thursday", "Friday"),
    *("Saturday", "Sunday"),
)
# None can be taken for another: with slashes the month stands before the day (or
# both after the year), with dots the day before the month.
DATE_FORMATS = (
    "{month} {day}, {year}",
    "{month_short} {day}, {year}",
    "{day} {month} {year}",
    "{day} {month_short} {year}",
    "{day}-{month_short}-{year}",
    "{year} {month_short} {day}",
    "{month} {ordinal}, {year}",
    "{ordinal} of {month} {year}",
    "{weekday}, {day} {month} {year}",
    "{weekday}, {month} {day}, {year}",
    "{weekday_short} {month_short} {day} {year}",
    "{day:02}.{month_number:02}.{year}",
    "{day}.{month_number}.{year}",
    "{month_number:02}/{day:02}/{year}",
    "{month_number}/{day}/{year}",
    "{year}/{month_number:02}/{day:02}",
    "{year}{month_number:02}{day:02}",
)


def addition(count: int, generator: np.random.Generator) -> tuple[Texts, Texts]:
    """Sums as text, ``"123+45"`` and ``"168"``; each pair of numbers at most once.

    Each number is drawn below 10, 100 or 1,000 with equal chance, so that short
    ones are no rarity. Of a + b and b + a one is kept, so that whatever part a sum
    is in, no other part holds its mirror.
    """
    seen: set[tuple[int, int]] = set()
    kept: list[tuple[int, int]] = []
    while len(kept) < count:
        below = 10 ** generator.integers(1, DIGITS + 1, (count, 2))
        for a, b in generator.integers(0, below).tolist():
            if (min(a, b), max(a, b)) not in seen:
                seen.add((min(a, b), max(a, b)))
                kept.append((a, b))
    kept = kept[:count]
    return [f"{a}+{b}" for a, b in kept], [str(a + b) for a, b in kept]


def dates(count: int, generator: np.random.Generator) -> tuple[Texts, Texts]:
    """Days from 1900 to 2099, written in one of ``DATE_FORMATS``, and in ISO 8601.

    ``"Saturday, 29 February 2020"`` and ``"2020-02-29"``. No day comes twice, so
    that a part is tested on days that the others don't hold in any format.
    """
    first, days = FIRST_DAY.toordinal(), (LAST_DAY - FIRST_DAY).days + 1
    drawn = first + generator.permutation(days)[:count]
    formats = generator.integers(0, len(DATE_FORMATS), count)
    found = [datetime.date.fromordinal(day) for day in drawn.tolist()]
    sources = [
        write_date(day, DATE_FORMATS[form])
        for day, form in zip(found, formats, strict=True)
    ]
    return sources, [day.isoformat() for day in found]


def write_date(day: datetime.date, form: str) -> str:
    """A day in one of ``DATE_FORMATS``; English whatever the locale is."""
    month, weekday = MONTHS[day.month - 1], _WEEKDAYS[day.weekday()]
    return form.format(
        day=day.day,
        ordinal=_ordinal(day.day),
        month=month,
        month_short=month[:3],
        month_number=day.month,
        weekday=weekday,
        weekday_short=weekday[:3],
        year=day.year,
    )


def _ordinal(number: int) -> str:
    """``1st``, ``2nd``, ``3rd``, ``4th``, ``11th``, ..., ``31st``."""
    teens = 10 < number % 100 < 20
    return f"{number}{'th' if teens else _ENDINGS.get(number % 10, 'th')}"


_ENDINGS = {1: "st", 2: "nd", 3: "rd"}

# Name to what draws so many pairs.
DRAWN: dict[str, Callable[[int, np.random.Generator], tuple[Texts, Texts]]] = {
    "addition": addition,
    "dates": dates,
}
# How many pairs each has when nothing is said, and at most.
USUAL = {"addition": 50_000, "dates": 40_000}
MOST = {"addition": 200_000, "dates": (LAST_DAY - FIRST_DAY).days + 1}
