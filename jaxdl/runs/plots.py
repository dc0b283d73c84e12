"""Pictures of a run: how it learned, what it confuses, what it gets wrong.

matplotlib's object interface with the Agg canvas: no window, no global state.
Lines differ in style and marker, not in colour alone, so that they can be told
apart in grey.
"""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import ArrayLike, Float, Int, Num

from jaxdl.runs.analysis import worst
from jaxdl.runs.folder import write_bytes
from jaxdl.runs.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES: dict[str, dict[str, Any]] = {
    "train": {"color": "#8a8a8a", "linestyle": "--", "marker": "o"},
    "validation": {"color": "#0b4f8a", "linestyle": "-", "marker": "s"},
}
_AXES = {
    "learning_rate": "learning rate",
    "roc_auc": "ROC AUC",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "f1": "F1",
    "top5_accuracy": "top-5 accuracy",
    "bits_per_character": "bits per character",
    "kl": "KL divergence (nats)",
}
PANELS = 6


def learning_curves(
    history: Sequence[Mapping[str, Any]],
    path: Path,
    best_step: int | None = None,
) -> None:
    """Draws loss and metrics over the steps, training and validation in a panel.

    Args:
      history: rows of ``metrics.jsonl`` (``writers.read``); at most the first
        six metrics are drawn, the loss first, the learning rate last.
      path: the PNG to write.
      best_step: marked by a vertical line; None or negative where nothing was best.

    Raises:
      ValueError: the history holds no number of training or validation.
    """
    curves = _curves(history)
    if not curves:
        raise ValueError("no learning curves: no training or validation metrics yet")
    names = sorted(curves, key=_rank)[:PANELS]
    columns = min(len(names), 2)
    rows = math.ceil(len(names) / columns)
    figure = new_figure(4.8 * columns, 3.4 * rows)
    for index, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, index + 1)
        _curve(axes, name, curves[name], best_step)
    save_figure(figure, path)


def _rank(name: str) -> tuple[int, str]:
    """The loss first, other metrics by name, what tells of the training last."""
    order = {"loss": 0, "accuracy": 1, "gradient_norm": 8, "nonfinite": 8}
    return {**order, "learning_rate": 9}.get(name, 2), name


def _curves(
    history: Sequence[Mapping[str, Any]],
) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Metric to split to points, of the splits that are drawn."""
    curves: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for row in history:
        split = row.get("split")
        if split not in _LINES:
            continue
        for name, value in row.items():
            numeric = isinstance(value, int | float) and not isinstance(value, bool)
            if name not in ("step", "split") and numeric:
                points = curves.setdefault(name, {}).setdefault(split, [])
                points.append((row["step"], float(value)))
    return {name: splits for name, splits in curves.items() if _varies(name, splits)}


def _varies(name: str, splits: Mapping[str, list[tuple[int, float]]]) -> bool:
    """Whether a panel says anything: that of a constant learning rate does not."""
    values = {value for points in splits.values() for _, value in points}
    return len(values) > 1 or name not in ("learning_rate", "nonfinite")


def _curve(
    axes: "Axes",
    name: str,
    splits: Mapping[str, list[tuple[int, float]]],
    best_step: int | None,
) -> None:
    """One panel."""
    marked = best_step is not None and best_step >= 0 and name != "learning_rate"
    finite = []
    for split, points in splits.items():
        steps, values = np.array(points).T
        finite.append(values[np.isfinite(values)])
        every = max(1, len(steps) // 12)
        axes.plot(
            steps, values, label=split, markersize=4, markevery=every, **_LINES[split]
        )
    if marked and best_step is not None:
        axes.axvline(best_step, color="#555555", linestyle=":", label="best step")
    values = np.concatenate(finite)
    # A loss that falls by orders of magnitude is a corner in linear axes.
    measured = name not in ("accuracy", "learning_rate") and values.size > 0
    if measured and values.max() > 30 * values.min() > 0:
        axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel(_AXES.get(name, printable(name).replace("_", " ")))
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if len(splits) > 1 or marked:
        axes.legend(frameon=False, fontsize=9)


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


def image_grid(
    images: Num[ArrayLike, "images height width channels"],
    path: Path,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    each_scaled: bool = False,
) -> None:
    """Draws images side by side.

    Args:
      images: integers are shown relative to the largest of them all (digits count
        to 16, photographs to 255); floats within [0, 1] as they are, others
        stretched to the range of them all. One channel is grey, three are colour;
        of other numbers the mean is shown.
      path: the PNG to write.
      titles: a text over each.
      columns: how many to a row; about a square by default.
      each_scaled: stretch each image by itself, to see structure, not size.

    Raises:
      ValueError: no images, or not of four axes.
    """
    stored = np.asarray(images)
    if stored.ndim != 4 or stored.size == 0:
        raise ValueError(
            f"images of shape {stored.shape}; give [images, height, width, channels]"
        )
    columns = columns or math.ceil(math.sqrt(len(stored)))
    rows = math.ceil(len(stored) / columns)
    lines = max(title.count("\n") + 1 for title in titles) if titles else 0
    figure = new_figure(1.55 * columns, (1.55 + 0.2 * lines) * rows)
    pixels = _pixels(stored, each_scaled)
    for index, image in enumerate(pixels):
        axes = figure.add_subplot(rows, columns, index + 1)
        axes.imshow(image, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
        axes.set_axis_off()
        if titles:
            axes.set_title(titles[index], fontsize=7.5)
    save_figure(figure, path)


def _pixels(images: np.ndarray, each_scaled: bool) -> np.ndarray:
    """[n, h, w] grey or [n, h, w, 3] colour, in [0, 1]."""
    pixels = images.astype(np.float64)
    if images.dtype.kind in "ui":
        pixels /= max(pixels.max(), 1.0)
    pixels = np.nan_to_num(pixels, nan=0.0, posinf=1.0, neginf=0.0)
    axis = (1, 2, 3) if each_scaled else None
    low = pixels.min(axis=axis, keepdims=True)
    high = pixels.max(axis=axis, keepdims=True)
    if each_scaled or low.min() < 0.0 or high.max() > 1.0:
        pixels = (pixels - low) / np.maximum(high - low, 1e-12)
    return pixels if pixels.shape[-1] == 3 else pixels.mean(axis=-1)


def feature_maps(
    maps: Num[ArrayLike, "height width channels"], path: Path, count: int = 64
) -> None:
    """Draws what a convolution puts out for one image, a tile a channel.

    Each channel is stretched by itself; the first ``count`` are drawn. The maps
    come from ``jaxdl.models.layer_outputs``; ``[..., 0, :]`` of a kernel works as well.
    """
    channels = np.moveaxis(np.asarray(maps), -1, 0)[:count, ..., None]
    titles = [str(index) for index in range(len(channels))]
    image_grid(channels, path, titles=titles, each_scaled=True)


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of so many inches, apart from pyplot's state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def save_figure(figure: "Figure", path: Path) -> None:
    """Writes the PNG whole or not at all; no version or time in it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    content = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(
        content,
        format="png",
        dpi=110,
        bbox_inches="tight",  # labels that the layout would cut off
        pad_inches=0.08,
        metadata={"Software": None},
    )
    write_bytes(Path(path), content.getvalue())
