"""How well scores rank: ROC and precision-recall curves."""

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from jaxdl import metrics
from jaxdl.runs.plots.figure import new_figure, save_figure
from jaxdl.runs.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Curves of more classes than this can't be told apart.
CURVES = 8

_COLOURS = ("#0b4f8a", "#d55e00", "#009e73", "#cc79a7")
_DASHES = ("-", "--", ":")

# Scores, and which examples are positive.
Ranked = tuple[Float[np.ndarray, " examples"], Bool[np.ndarray, " examples"]]


def ranking_curves(ranked: Mapping[str, Ranked], path: Path) -> None:
    """Draws the ROC curves and the precision-recall curves of scores, side by side.

    Args:
      ranked: name of a class to its scores and its examples; the first eight that
        have both positive and negative examples are drawn.
      path: the PNG to write.
    """
    from sklearn.metrics import precision_recall_curve, roc_curve

    figure = new_figure(9.6, 4.4)
    left, right = figure.subplots(1, 2)
    drawn = {name: pair for name, pair in ranked.items() if 0 < pair[1].mean() < 1}
    colours, dashes = cycle(_COLOURS), cycle(np.repeat(_DASHES, len(_COLOURS)))
    for name, (scores, positive) in list(drawn.items())[:CURVES]:
        style = {"color": next(colours), "linestyle": str(next(dashes)), "lw": 1.6}
        false, true, _ = roc_curve(positive, scores)
        area = metrics.roc_auc(scores, positive)
        left.plot(false, true, label=f"{printable(name, 24)} ({area:.3f})", **style)
        precision, recall, _ = precision_recall_curve(positive, scores)
        mean = metrics.average_precision(scores, positive)
        label = f"{printable(name, 24)} ({mean:.3f})"
        right.plot(recall, precision, drawstyle="steps-post", label=label, **style)
    left.plot([0, 1], [0, 1], color="#999999", lw=0.8)
    _finish(left, "ROC curve (area)", "false positive rate", "true positive rate")
    title = "precision and recall (average precision)"
    _finish(right, title, "recall", "precision")
    save_figure(figure, path)


def _finish(axes: "Axes", title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False, loc="best")
