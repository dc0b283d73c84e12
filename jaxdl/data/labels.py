"""Labels as vectors: one-hot and k-hot."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int


def one_hot(
    labels: Int[np.ndarray, " n"] | Sequence[int], classes: int
) -> Float[np.ndarray, "n classes"]:
    """Class indices [n] as float32 rows [n, classes] with a single 1.

    Raises:
      ValueError: a label outside 0 .. classes - 1, or not an integer.
    """
    indices = _checked(labels, classes)
    rows = np.zeros((len(indices), classes), np.float32)
    rows[np.arange(len(indices)), indices] = 1.0
    return rows


def k_hot(
    labels: Sequence[Sequence[int]], classes: int
) -> Float[np.ndarray, "n classes"]:
    """Lists of class indices as float32 rows [n, classes], 1 for each named class.

    An index that is named twice still gives 1, an empty list a row of zeros.

    Raises:
      ValueError: a label outside 0 .. classes - 1, or not an integer.
    """
    rows = np.zeros((len(labels), classes), np.float32)
    for row, named in zip(rows, labels, strict=True):
        if len(named):
            row[_checked(named, classes)] = 1.0
    return rows


def _checked(labels: Sequence[int] | np.ndarray, classes: int) -> np.ndarray:
    indices = np.asarray(labels)
    if indices.size == 0:
        return indices.astype(np.int32)
    if indices.dtype.kind not in "biu" or indices.ndim != 1:
        raise ValueError(
            f"labels are {indices.dtype} {list(indices.shape)}; give integer class "
            "indices with one axis"
        )
    low, high = int(indices.min()), int(indices.max())
    if low < 0 or high >= classes:
        raise ValueError(
            f"label {low if low < 0 else high} is out of range; allowed are 0 to "
            f"{classes - 1} ({classes} classes)"
        )
    return indices
