"""What a classifier confuses, and what it gets most wrong."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import ArrayLike, Float, Int, Num

from jaxdl.runs.analysis import worst
from jaxdl.runs.plots.figure import new_figure, save_figure
from jaxdl.runs.plots.images import image_grid
from jaxdl.runs.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def confusion_matrix(
    matrix: Int[ArrayLike, "classes classes"], classes: Sequence[str], path: Path
) -> None:
    """Draws counts by true class (row) and predicted class (column).

    The shade is each row's share, so that rare classes show as common ones do;
    with 20 classes or fewer the counts are written in.

    Raises:
      ValueError: the matrix does not fit the class names.
    """
    counts = np.asarray(matrix)
    size = len(classes)
    if counts.shape != (size, size):
        raise ValueError(
            f"a confusion matrix of shape {counts.shape} does not fit {size} classes"
        )
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(3.2 + 0.28 * size, 12.0)
    figure = new_figure(side + 1.0, side)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.04)
    bar.set_label("share of the true class")
    # With many classes only every n-th name is written: 40 fit.
    every = math.ceil(size / 40)
    places = range(0, size, every)
    names = [printable(classes[place], 16) for place in places]
    turned = 90 if any(len(name) > 3 for name in names) else 0
    axes.set_xticks(places, names, rotation=turned, fontsize=9 if size <= 20 else 6)
    axes.set_yticks(places, names, fontsize=9 if size <= 20 else 6)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if size <= 20:
        _counts(axes, counts, shares)
    save_figure(figure, path)


def _counts(axes: "Axes", counts: np.ndarray, shares: np.ndarray) -> None:
    """Writes each count in its cell, zeros left out."""
    size = 9 if counts.max(initial=0) < 1000 else 7
    for row, column in zip(*np.nonzero(counts), strict=True):
        axes.text(
            column,
            row,
            str(counts[row, column]),
            ha="center",
            va="center",
            fontsize=size,
            color="white" if shares[row, column] > 0.5 else "black",
        )


def worst_images(
    images: Num[ArrayLike, "examples height width channels"],
    targets: Int[ArrayLike, " examples"],
    predictions: Int[ArrayLike, " examples"],
    probabilities: Float[ArrayLike, "examples classes"],
    classes: Sequence[str],
    path: Path,
    count: int = 25,
) -> None:
    """Draws the images whose true class got the lowest probability, worst first.

    Over each: the true class and its probability, the predicted class and its
    own; those that were classified right all the same say so.
    """
    shares = np.asarray(probabilities)
    chosen = worst(shares, targets, count)
    titles = []
    for row, true, said in zip(
        shares[chosen],
        np.asarray(targets)[chosen],
        np.asarray(predictions)[chosen],
        strict=True,
    ):
        title = f"is {_class_share(classes, true, row)}"
        wrong = f"said {_class_share(classes, said, row)}"
        titles.append(f"{title}\n{wrong if said != true else 'said so'}")
    image_grid(np.asarray(images)[chosen], path, titles=titles)


def _class_share(classes: Sequence[str], index: int, row: np.ndarray) -> str:
    return f"{printable(classes[index], 16)} ({100 * float(row[index]):.1f}%)"
