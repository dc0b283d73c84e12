"""Functions of two numbers: where they are high, which way is down, who went where."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Num

from jaxdl.analysis import Boundary
from jaxdl.runs.plots.figure import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 4


@dataclasses.dataclass(frozen=True)
class Decided:
    """What a classifier says of a rectangle, and what it was to say.

    Attributes:
      title: over the panel.
      boundary: probabilities of class 1, or 0.0 and 1.0.
      points, targets: the examples and their classes, 0 or 1.
    """

    title: str
    boundary: Boundary
    points: Float[np.ndarray, "examples 2"]
    targets: Num[np.ndarray, " examples"]


@dataclasses.dataclass(frozen=True)
class Walk:
    """The places that an optimizer went through.

    Attributes:
      title: over the panel.
      path: [places, 2], the start first.
    """

    title: str
    path: Float[np.ndarray, "places 2"]


def boundaries(panels: Sequence[Decided], path: Path, columns: int = COLUMNS) -> None:
    """Draws what is decided where: grey for class 1, the line between, the examples
    as filled (1) and open (0) circles."""
    rows = math.ceil(len(panels) / columns)
    columns = min(columns, len(panels))
    figure = new_figure(2.9 * columns, 3.0 * rows)
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, number + 1)
        found = panel.boundary
        axes.contourf(
            found.x, found.y, found.values, [-1, 0.5, 2], colors=["#ffffff", "#cfcfcf"]
        )
        if found.values.min() < 0.5 < found.values.max():
            axes.contour(found.x, found.y, found.values, [0.5], colors="#000000")
        for target, face in ((0, "#ffffff"), (1, "#000000")):
            chosen = panel.points[panel.targets == target]
            x, y = chosen.T
            axes.scatter(x, y, 70, face, edgecolor="#000000", label=str(target))
        axes.set_aspect("equal")
        axes.set_title(panel.title, fontsize=9)
        axes.set_xlabel("first input")
        axes.set_ylabel("second input")
    figure.legend(
        *axes.get_legend_handles_labels(),
        title="output wanted",
        loc="outside lower center",
        ncols=2,
        frameon=False,
    )
    save_figure(figure, path)


def field(
    x: Float[np.ndarray, " columns"],
    y: Float[np.ndarray, " rows"],
    values: Float[np.ndarray, "rows columns"],
    down: Float[np.ndarray, "rows columns 2"],
    path: Path,
    every: int = 5,
) -> None:
    """Draws arrows of minus the gradient over lines of equal value, an arrow at every
    fifth place either way."""
    figure = new_figure(8.0, 4.6)
    axes = figure.add_subplot()
    lines = axes.contour(x, y, values, 8, colors="#999999", linewidths=0.8)
    axes.clabel(lines, fontsize=7)
    column, row = np.meshgrid(x[::every], y[::every])
    arrows = down[::every, ::every]
    axes.quiver(column, row, arrows[..., 0], arrows[..., 1], angles="xy", width=0.002)
    axes.plot(0, 0, "k+", markersize=12, label="minimum")
    _named(axes)
    axes.legend(loc="upper right", fontsize=8)
    save_figure(figure, path)


def walks(
    x: Float[np.ndarray, " columns"],
    y: Float[np.ndarray, " rows"],
    values: Float[np.ndarray, "rows columns"],
    panels: Sequence[Walk],
    path: Path,
    columns: int = COLUMNS,
) -> None:
    """Draws a panel a walk, over lines of equal value; what leaves the rectangle is
    cut off."""
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(3.3 * columns, 2.4 * rows)
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, number + 1)
        axes.contour(x, y, values, 8, colors="#bbbbbb", linewidths=0.7)
        # Far outside lines are rounded to other places: it has left by then.
        gone = ~(np.abs(panel.path).max(axis=1) < 100 * x[-1])
        kept = panel.path[: np.argmax(gone) if gone.any() else None]
        axes.plot(*kept.T, "-o", color="#000000", markersize=2.5, linewidth=0.8)
        axes.plot(*kept[0], "s", color="#000000", markersize=6, mfc="#ffffff")
        axes.plot(0, 0, "k+", markersize=12)
        axes.set_xlim(x[0], x[-1])
        axes.set_ylim(y[0], y[-1])
        axes.set_title(panel.title, fontsize=9)
        _named(axes)
    save_figure(figure, path)


def _named(axes: "Axes") -> None:
    axes.set_xlabel("x0", fontsize=8)
    axes.set_ylabel("x1", fontsize=8)
    axes.tick_params(labelsize=7)
