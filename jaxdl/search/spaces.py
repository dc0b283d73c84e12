"""Spaces: which values each hyper-parameter may take, as maps from the unit interval.

Whatever draws trials draws numbers in [0, 1); a dimension makes a value of each, and
says where in [0, 1] a value lies. So samplers, narrowing, plots and importance know
one kind of number.
"""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

HELP = "log(1e-4,1e-1), uniform(0,0.5), int(1,4) or choice(relu,tanh)"


@dataclasses.dataclass(frozen=True)
class Log:
    """Numbers between two positive bounds, equally likely in each factor of ten."""

    low: float
    high: float

    def at(self, unit: float) -> float:
        """The value at a place in [0, 1]."""
        low, high = math.log(self.low), math.log(self.high)
        return math.exp(low + unit * (high - low))

    def place(self, value: float) -> float:
        """Where a value lies in [0, 1]; beyond it where it is outside the bounds."""
        return math.log(value / self.low) / math.log(self.high / self.low)

    def within(self, values: Sequence[float]) -> "Log":
        """The part that just holds these values."""
        return Log(*_range(values, self))

    def __str__(self) -> str:
        return f"log({self.low:.3g},{self.high:.3g})"


@dataclasses.dataclass(frozen=True)
class Uniform:
    """Numbers between two bounds, all equally likely."""

    low: float
    high: float

    def at(self, unit: float) -> float:
        """The value at a place in [0, 1]."""
        return self.low + unit * (self.high - self.low)

    def place(self, value: float) -> float:
        """Where a value lies in [0, 1]."""
        return (value - self.low) / (self.high - self.low)

    def within(self, values: Sequence[float]) -> "Uniform":
        """The part that just holds these values."""
        return Uniform(*_range(values, self))

    def __str__(self) -> str:
        return f"uniform({self.low:.3g},{self.high:.3g})"


@dataclasses.dataclass(frozen=True)
class Integer:
    """Whole numbers from one to another, both among them."""

    low: int
    high: int

    def at(self, unit: float) -> int:
        """The value at a place in [0, 1]."""
        return min(self.low + int(unit * (self.high - self.low + 1)), self.high)

    def place(self, value: int) -> float:
        """The middle of the values's part of [0, 1]."""
        return (value - self.low + 0.5) / (self.high - self.low + 1)

    def within(self, values: Sequence[int]) -> "Integer":
        """The part that just holds these values."""
        return Integer(min(values), max(values))

    def __str__(self) -> str:
        return f"int({self.low},{self.high})"


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of several values, all equally likely."""

    options: tuple[Any, ...]

    def at(self, unit: float) -> Any:
        """The value at a place in [0, 1]."""
        return self.options[min(int(unit * len(self.options)), len(self.options) - 1)]

    def place(self, value: Any) -> float:
        """The middle of the value's part of [0, 1]."""
        return (self.options.index(value) + 0.5) / len(self.options)

    def within(self, values: Sequence[Any]) -> "Choice":
        """Those of the options that are among the values."""
        return Choice(tuple(option for option in self.options if option in values))

    def __str__(self) -> str:
        return f"choice({','.join(map(str, self.options))})"


Dimension = Log | Uniform | Integer | Choice
Space = Mapping[str, Dimension]
Values = dict[str, Any]


def _range(values: Sequence[float], own: Log | Uniform) -> tuple[float, float]:
    low, high = min(values), max(values)
    # A single value has no range to draw from.
    return (low, high) if low < high else (own.low, own.high)


def places(space: Space, values: Mapping[str, Any]) -> list[float]:
    """Where a trial's values lie, by dimension, in [0, 1]."""
    return [dimension.place(values[name]) for name, dimension in space.items()]


def describe(space: Space) -> str:
    """The space as ``parse`` reads it, bounds to three digits."""
    return "; ".join(f"{name}={dimension}" for name, dimension in space.items())


# name = kind(arguments)
_PART = re.compile(r"\s*(\w+)\s*=\s*(\w+)\s*\((.*)\)\s*", re.DOTALL)
# An argument: in quotes where it holds a comma.
_ARGUMENT = re.compile(r"""'([^']*)'|"([^"]*)"|([^,'"]+)""")
# What stands between two parts: a semicolon outside of parentheses.
_BETWEEN = re.compile(r";(?![^(]*\))")


def parse(text: str) -> dict[str, Dimension]:
    """The space that a text such as ``rate=log(1e-4,1e-1); units=int(8,64)`` names.

    Raises:
      ValueError: in one line, for a part that is no dimension.
    """
    space: dict[str, Dimension] = {}
    for part in filter(str.strip, _BETWEEN.split(text)):
        found = _PART.fullmatch(part)
        if found is None:
            raise ValueError(
                f"--space has {part.strip()!r}, which is no NAME=KIND(...): give parts "
                f"such as learning_rate={HELP}, separated by semicolons."
            )
        name, kind, inside = found.groups()
        if name in space:
            raise ValueError(f"--space names {name} twice: give it once.")
        try:
            space[name] = dimension(kind, _arguments(inside))
        except ValueError as error:
            raise ValueError(f"--space has {part.strip()!r}: {error}") from error
    if not space:
        raise ValueError(
            f"--space is empty: give what to search, such as learning_rate={HELP}."
        )
    return space


def _arguments(inside: str) -> list[str]:
    found = ["".join(groups).strip() for groups in _ARGUMENT.findall(inside)]
    return [argument for argument in found if argument]


def dimension(kind: str, arguments: Sequence[str]) -> Dimension:
    """A dimension of its kind and arguments.

    Raises:
      ValueError: for an unknown kind, or arguments that it does not take.
    """
    if kind == "choice":
        options = tuple(map(_value, arguments))
        if len(set(options)) < max(len(options), 2):
            raise ValueError("give two or more options, each once.")
        return Choice(options)
    if kind not in ("log", "uniform", "int"):
        raise ValueError(f"{kind!r} is no kind: give {HELP}.")
    try:
        low, high = map(int if kind == "int" else float, arguments)
    except ValueError:
        numbers = "two whole numbers" if kind == "int" else "two numbers"
        raise ValueError(f"{kind} takes {numbers}, low and high.") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"low must be below high, and both finite ({low}, {high}).")
    if kind == "int":
        return Integer(int(low), int(high))
    if kind == "log" and low <= 0:
        raise ValueError(f"the low end of log is {low:g}: give a number above 0.")
    return Log(low, high) if kind == "log" else Uniform(low, high)


def _value(text: str) -> Any:
    """A number where the text is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
