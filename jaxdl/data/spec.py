"""What a batch must look like: named layouts with shape and dtype."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# The axes behind each name; B is the example axis.
LAYOUTS: dict[str, tuple[str, ...]] = {
    "B": ("examples",),
    "BF": ("examples", "features"),
    "BT": ("examples", "time"),
    "BTF": ("examples", "time", "features"),
    "BHWC": ("examples", "height", "width", "channels"),
    "BTHWC": ("examples", "time", "height", "width", "channels"),
}


@dataclass(frozen=True)
class Spec:
    """The declared form of one array of a batch.

    Attributes:
      layout: a name of `LAYOUTS`: vectors are BF, sequences BTF (or BT for
        tokens), images BHWC, video BTHWC.
      shape: sizes of the axes after the example axis, None where any will do.
      dtype: "float32", "uint8", "int32", ...; None where any number will do.
    """

    layout: str
    shape: tuple[int | None, ...]
    dtype: str | None = None

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(
                f"layout {self.layout!r} is unknown; choose one of {', '.join(LAYOUTS)}"
            )
        if len(self.shape) != len(self.layout) - 1:
            raise ValueError(
                f"layout {self.layout} has {len(self.layout) - 1} axes after the "
                f"example axis, the shape {self.shape} has {len(self.shape)}"
            )

    def __str__(self) -> str:
        sizes = [name.lower() if n is None else str(n) for name, n in self._sizes()]
        return f"{self.dtype or 'numbers'} [{', '.join(['batch', *sizes])}]"

    def _sizes(self) -> list[tuple[str, int | None]]:
        return list(zip(LAYOUTS[self.layout][1:], self.shape, strict=True))


def layout_of(shape: tuple[int, ...]) -> str:
    """The layout of examples of this shape: (F,) (T, F) (H, W, C) (T, H, W, C)."""
    by_rank = {0: "B", 1: "BF", 2: "BTF", 3: "BHWC", 4: "BTHWC"}
    if len(shape) not in by_rank:
        raise ValueError(
            f"examples of shape {tuple(shape)} have {len(shape)} axes; allowed are "
            "vectors, sequences, images and video (1 to 4 axes)"
        )
    return by_rank[len(shape)]


def check(batch: Mapping[str, Any], spec: Mapping[str, Spec]) -> None:
    """Compare the arrays of a batch with their declared form.

    Args:
      batch: name -> array (NumPy or JAX, or `jax.ShapeDtypeStruct`).
      spec: name -> Spec, for the arrays that matter; others are not looked at.

    Raises:
      ValueError: an array is missing, or has another rank, shape, dtype or
        number of examples than declared.
    """
    sizes: dict[str, int] = {}
    for name, wanted in spec.items():
        if name not in batch:
            raise ValueError(
                f"the batch has no {name!r}, it has {', '.join(sorted(batch))}"
            )
        sizes[name] = _check_array(name, batch[name], wanted)
    if len(set(sizes.values())) > 1:
        counts = ", ".join(f"{name} {count}" for name, count in sizes.items())
        raise ValueError(f"the arrays of the batch differ in examples: {counts}")


def _check_array(name: str, array: Any, wanted: Spec) -> int:
    """Check one array and return its number of examples."""
    shape = tuple(array.shape)
    given = f"{np.dtype(array.dtype).name} {list(shape)}"
    if len(shape) != len(wanted.layout):
        axes = ", ".join(LAYOUTS[wanted.layout])
        raise ValueError(
            f"{name} is {given} with {len(shape)} axes; {wanted} has "
            f"{len(wanted.layout)} ({axes})"
        )
    for axis, (label, size) in enumerate(wanted._sizes(), start=1):
        if size is not None and shape[axis] != size:
            raise ValueError(
                f"{name} is {given}: its {label} axis has {shape[axis]}, "
                f"expected {size} as in {wanted}"
            )
    if wanted.dtype is not None and np.dtype(array.dtype).name != wanted.dtype:
        raise ValueError(f"{name} is {given}; expected {wanted}")
    return shape[0]
