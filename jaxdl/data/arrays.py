"""The user's own arrays: checked, and brought to the dtypes that are stored."""

from typing import Any

import numpy as np

from jaxdl.data.source import Source, Stored, in_memory

Pair = tuple[Any, Any]


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
    targets_of = {part: np.asarray(pair[1]) for part, pair in pairs.items()}
    if not classes and all(t.dtype.kind in "iu" for t in targets_of.values()):
        # A class that only the test part has is still a class.
        top = max(int(t.max(initial=0)) for t in targets_of.values())
        classes = tuple(map(str, range(top + 1)))
    named: tuple[str, ...] = ()
    parts: dict[str, Source] = {}
    arrays = {}
    for part, (inputs, _) in pairs.items():
        x = _with_channels(as_inputs(inputs, f"{part} inputs"))
        y, named = as_targets(targets_of[part], classes, f"{part} targets")
        if len(x) != len(y):
            raise ValueError(
                f"{part} part: {len(x)} inputs but {len(y)} targets; give one target "
                "for each input"
            )
        arrays[part] = (x, y)
    budget = (
        memory_budget
        if sum(x.nbytes for x, _ in arrays.values()) <= memory_budget
        else 0
    )
    parts = {part: in_memory(x, y, budget) for part, (x, y) in arrays.items()}
    labels = arrays["training"][1]
    return Stored(
        name=name,
        train=parts["training"],
        classes=named,
        labels=lambda: labels,
        validation=parts.get("validation"),
        test=parts.get("test"),
        high=_highest(arrays["training"][0]),
    )


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
    if array.ndim == 0 or array.shape[0] == 0:
        raise ValueError(
            f"{name} hold no examples (shape {array.shape}); give at least one"
        )
    if array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
        _require_finite(array, name)
        return array
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
        array = array.astype(np.float32, copy=False)
        _require_finite(array, name)
        return array, ()
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
    count = len(classes) if classes else high + 1
    if low < 0 or high >= count:
        wrong = low if low < 0 else high
        raise ValueError(
            f"{name} hold the label {wrong}, allowed are 0 to {count - 1} "
            f"({count} classes)"
        )
    return array.astype(np.int32), classes or tuple(map(str, range(count)))


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
