"""What is to be told from a row: a number, or one of several classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxdl.data.csv_files import infinite, is_missing, numbers

KINDS = ("regression", "binary", "multiclass")

# Whole numbers are taken for classes where they are few, and each comes often.
MAX_CLASSES = 20
ROWS_A_CLASS = 5


@dataclass(frozen=True, eq=False)
class Target:
    """The target of every row.

    Attributes:
      name: of its column.
      kind: one of ``KINDS``; it decides the model's head, loss and metrics.
      classes: class names by index, in numerical or alphabetical order; of two, the
        second is the positive one. Empty for a regression.
      values: [rows], float32 in the target's own unit, or int32 class indices.
    """

    name: str
    kind: str
    classes: tuple[str, ...]
    values: np.ndarray


def target_of(name: str, cells: Sequence[str], kind: str = "auto") -> Target:
    """The target of the cells of a column.

    Args:
      name: of the column.
      cells: text.
      kind: one of ``KINDS``; "auto" takes classes for text, and for whole numbers of
        which there are at most 20 different ones and five rows each on average;
        "binary" for two classes; else "regression".

    Raises:
      ValueError: missing or infinite targets, or such as do not fit the kind; only
        one class or value; classes that hardly repeat.
    """
    if kind not in ("auto", *KINDS):
        raise ValueError(
            f"--target_kind is {kind!r}: give auto or one of {', '.join(KINDS)}."
        )
    values = _numbers(name, cells)
    if kind == "regression" or (kind == "auto" and _is_continuous(values)):
        stored = _continuous(name, cells, values)
        if len(np.unique(stored)) == 1:
            raise ValueError(
                f"all {len(stored)} targets {name} are {cells[0]} (as far as float32 "
                "can tell): there is nothing to learn"
            )
        return Target(name, "regression", (), stored)
    names, indices = _classes(cells, values)
    _check_classes(name, kind, names, len(cells))
    kind = kind if kind != "auto" else "binary" if len(names) == 2 else "multiclass"
    return Target(name, kind, names, indices)


def values_of(name: str, cells: Sequence[str], classes: tuple[str, ...]) -> np.ndarray:
    """Targets of other rows, for classes that are known; none for a regression.

    Raises:
      ValueError: a target that is missing, infinite or of no known class.
    """
    values = _numbers(name, cells)
    if not classes:
        return _continuous(name, cells, values)
    named, indices = _classes(cells, values)
    for label in named:
        if label not in classes:
            raise ValueError(
                f"the target {name} holds {label!r}: the run knows "
                f"{', '.join(classes[:20])}"
            )
    return np.array([classes.index(label) for label in named], np.int32)[indices]


def _numbers(name: str, cells: Sequence[str]) -> np.ndarray | None:
    """The cells as numbers, or None; missing and infinite ones are refused."""
    _refuse("missing", name, cells, [is_missing(cell) for cell in cells])
    _refuse("infinite (for float32)", name, cells, infinite(cells))
    return numbers(cells)


def _refuse(what: str, name: str, cells: Sequence[str], wrong: list[bool]) -> None:
    """Raise for the cells that are wrong, naming the first."""
    if any(wrong):
        first = wrong.index(True)
        raise ValueError(
            f"{sum(wrong)} of {len(cells)} targets {name} are {what}, the first "
            f"({cells[first]!r}) in row {first + 1}: fill in or remove these rows"
        )


def _is_continuous(values: np.ndarray | None) -> bool:
    """Whether cells are no class names, by the rule of ``target_of``."""
    if values is None:
        return False
    different = len(np.unique(values))
    few = different <= min(MAX_CLASSES, len(values) / ROWS_A_CLASS)
    return not (few and np.all(values == np.round(values)))


def _continuous(
    name: str, cells: Sequence[str], values: np.ndarray | None
) -> np.ndarray:
    if values is None:
        bad = next(i for i, cell in enumerate(cells) if numbers([cell]) is None)
        raise ValueError(
            f"the target {name} is no number in row {bad + 1} ({cells[bad]!r}): give "
            "--target_kind=multiclass, or another --target"
        )
    return values.astype(np.float32)


def _classes(
    cells: Sequence[str], values: np.ndarray | None
) -> tuple[tuple[str, ...], np.ndarray]:
    """Class names in order, and each row's index; numbers by value: 1.0 is 1."""
    if values is None:
        names, indices = np.unique(np.asarray(cells), return_inverse=True)
        return tuple(map(str, names)), indices.astype(np.int32)
    found, indices = np.unique(values, return_inverse=True)
    named = (str(int(v)) if v == round(v) else repr(float(v)) for v in found)
    return tuple(named), indices.astype(np.int32)


def _check_classes(name: str, kind: str, classes: tuple[str, ...], rows: int) -> None:
    if len(classes) == 1:
        raise ValueError(
            f"all {rows} targets {name} are {classes[0]!r}: at least 2 classes are "
            "needed"
        )
    if kind == "binary" and len(classes) != 2:
        raise ValueError(
            f"--target_kind=binary, but {name} has {len(classes)} classes "
            f"({', '.join(classes[:5])}...): give --target_kind=multiclass"
        )
    if len(classes) > rows / 2:
        raise ValueError(
            f"the target {name} has {len(classes)} different values in {rows} rows, "
            "too many for classes: give another --target, or --target_kind=regression "
            "for numbers"
        )
