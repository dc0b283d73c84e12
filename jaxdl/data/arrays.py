"""The user's own arrays: checked, and brought to the dtypes that are stored."""

from typing import Any

import numpy as np

from jaxdl.data.source import Stored, in_memory

Pair = tuple[Any, Any]

# More classes than this are no classes, but a number that was taken for a label.
MAX_CLASSES = 2**20


def stored_arrays(
    name: str,
    train: Pair,
    *,
    validation: Pair | None = None,
    test: Pair | None = None,
    classes: tuple[str, ...] | None = None,
    memory_budget: float = float("inf"),
) -> Stored:
    """A data set from (inputs, targets) pairs of arrays, one for each part.

    uint8 arrays [n, height, width] are grey images and get a channel axis.

    Raises:
      ValueError: parts that don't fit together, or values that can't be learned
        from (see `as_inputs` and `as_targets`).
    """
    given = {"training": train, "validation": validation, "test": test}
    pairs = {part: pair for part, pair in given.items() if pair is not None}
    targets = [np.asarray(pair[1]) for pair in pairs.values()]
    if not classes and all(t.dtype.kind in "iu" for t in targets):
        # A class that only the test part has is still a class.
        top = max(int(t.max(initial=0)) for t in targets)
        _require_label(top, "targets")
        classes = tuple(map(str, range(top + 1)))
    arrays = {part: _checked(part, pair, classes) for part, pair in pairs.items()}
    total = sum(x.nbytes for x, _, _ in arrays.values())
    budget = memory_budget if total <= memory_budget else 0
    parts = {part: in_memory(x, y, budget) for part, (x, y, _) in arrays.items()}
    inputs, labels, named = arrays["training"]
    return Stored(
        name=name,
        train=parts["training"],
        classes=named,
        labels=lambda: labels,
        validation=parts.get("validation"),
        test=parts.get("test"),
        high=_highest(inputs),
    )


def _checked(
    part: str, pair: Pair, classes: tuple[str, ...] | None
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """(inputs, targets, class names) of one part, as they are to be stored."""
    inputs = _with_channels(as_inputs(pair[0], f"{part} inputs"))
    targets, named = as_targets(pair[1], classes, f"{part} targets")
    if len(inputs) != len(targets):
        raise ValueError(
            f"{part} part: {len(inputs)} inputs but {len(targets)} targets; give one "
            "target for each input"
        )
    return inputs, targets, named


def _with_channels(inputs: np.ndarray) -> np.ndarray:
    grey = inputs.dtype == np.uint8 and inputs.ndim == 3
    return inputs[..., None] if grey else inputs


def _highest(inputs: np.ndarray) -> float | None:
    """The largest value a pixel can take, as far as the values tell."""
    if inputs.ndim != 4:
        return None
    if inputs.dtype == np.uint8:
        return 255.0
    low, high = float(inputs.min()), float(inputs.max())
    if low < 0.0 or high > 255.0:
        return None
    return 1.0 if high <= 1.0 else 255.0


def as_inputs(values: Any, name: str = "inputs") -> np.ndarray:
    """Inputs in a dtype that a device holds: float32, or integers as stored.

    Raises:
      ValueError: text, objects, an empty array, NaN or infinite values.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} hold {array.dtype}; give an array of numbers (float or integer)"
        )
    if array.ndim == 0 or array.size == 0:
        raise ValueError(
            f"{name} hold no examples (shape {array.shape}); give at least one"
        )
    if array.dtype.kind == "f":
        return _finite_float32(array, name)
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.itemsize > 4 or array.dtype == np.uint32:
        limit = np.iinfo(np.int32)
        if array.size and (array.max() > limit.max or array.min() < limit.min):
            raise ValueError(f"{name} hold integers beyond 32 bits; give them as float")
        return array.astype(np.int32)
    return array


def as_targets(
    values: Any, classes: tuple[str, ...] | None, name: str = "targets"
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Targets and their class names.

    Integers are class indices (int32; classes named by their number unless
    `classes` is given), floats are regression targets (float32, no classes).

    Raises:
      ValueError: text, NaN, negative labels, labels beyond the named classes.
    """
    array = np.asarray(values)
    if array.dtype.kind == "f" and not classes:
        return _finite_float32(array, name), ()
    if array.dtype.kind not in "biu":
        raise ValueError(
            f"{name} hold {array.dtype}; give integer class indices (0, 1, 2, ...), "
            "or floats without class names for regression"
        )
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(
            f"{name} have shape {array.shape}; class indices have one axis, [examples]"
        )
    low, high = int(array.min(initial=0)), int(array.max(initial=0))
    if not classes:
        _require_label(high, name)
    count = len(classes) if classes else high + 1
    if low < 0 or high >= count:
        wrong = low if low < 0 else high
        raise ValueError(
            f"{name} hold the label {wrong}, allowed are 0 to {count - 1} "
            f"({count} classes)"
        )
    return array.astype(np.int32), classes or tuple(map(str, range(count)))


def _require_label(highest: int, name: str) -> None:
    """Refuse labels that would make more classes than there can be."""
    if highest >= MAX_CLASSES:
        raise ValueError(
            f"{name} hold the label {highest}, but classes are numbered from 0 to at "
            f"most {MAX_CLASSES - 1}; number them so, or give floats for regression"
        )


def _finite_float32(array: np.ndarray, name: str) -> np.ndarray:
    with np.errstate(over="ignore"):  # what does not fit is found below
        array = array.astype(np.float32, copy=False)
    _require_finite(array, name)
    return array


def _require_finite(array: np.ndarray, name: str) -> None:
    """Refuse NaN and infinity, naming the first example that has one."""
    # A sum is finite only if all its terms are (or it overflows): one quick pass
    # without the temporary array of booleans.
    if np.isfinite(np.sum(array, dtype=np.float64)):
        return
    bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if bad.any():
        raise ValueError(
            f"{name} hold NaN or infinite values, first in example {bad.argmax()} "
            f"({bad.sum()} examples in all); fill or drop them"
        )
