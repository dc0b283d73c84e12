"""How a run learned: loss and metrics over the steps."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdl.runs.plots.figure import new_figure, save_figure
from jaxdl.runs.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
    "negative_elbo": "negative ELBO (nats)",
    "reconstruction": "reconstruction (nats)",
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
