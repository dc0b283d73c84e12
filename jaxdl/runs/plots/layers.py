"""What goes on in the layers: histograms of outputs, shares, gradients."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from jaxdl.analysis import Activity, GradientActivity
from jaxdl.runs.plots.figure import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 40
# Layers after which a picture would have no room; the rest is in the table.
SHOWN = 24


def histograms(
    rows: Mapping[str, Sequence[Float[np.ndarray, "batch units"]]],
    ends: tuple[float, float],
    path: Path,
    top: float | None = None,
) -> None:
    """Draws a row of histograms a network, a panel a layer.

    Args:
      rows: name to what each layer puts out.
      ends: of the axis of values, shared by all; the first and last bars hold what
        is beyond them.
      path: the PNG to write.
      top: where bars are cut off, as a share; None: nowhere.
    """
    columns = max(len(layers) for layers in rows.values())
    figure = new_figure(2.0 * columns + 0.8, 1.7 * len(rows) + 0.3)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for row, (name, layers) in enumerate(rows.items()):
        grid[row, 0].set_ylabel(name, fontsize=9)
        for number, outputs in enumerate(layers):
            axes = grid[row, number]
            values = np.asarray(outputs, np.float64).ravel()
            kept = np.clip(values[np.isfinite(values)], *ends)
            _shares(axes, *np.histogram(kept, BINS, range=ends))
            axes.set_ylim(0, top)
            if row == 0:
                axes.set_title(f"layer {number + 1}", fontsize=9)
    figure.supxlabel("output of a unit", fontsize=9)
    figure.supylabel("share of the outputs", fontsize=9)
    save_figure(figure, path)


def _shares(axes: "Axes", counts: np.ndarray, edges: np.ndarray) -> None:
    shares = counts / max(counts.sum(), 1)
    axes.stairs(shares, edges, fill=True, color="#555555")
    axes.tick_params(labelsize=7, which="both")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def activities(
    layers: Sequence[Activity], gradients: Sequence[GradientActivity], path: Path
) -> None:
    """Draws, by layer: mean and deviation of what it puts out, shares of dead units
    and of saturated outputs, and the norm of the loss's gradient in its weights.

    Args:
      layers: hidden ones, as ``activation_statistics`` gives them.
      gradients: of all layers with weights, as ``gradient_statistics`` does.
      path: the PNG to write.
    """
    count = max(len(layers), len(gradients))
    figure = new_figure(max(6.0, 0.45 * count + 2.5), 7.6)
    top, middle, bottom = figure.subplots(3, 1)
    names = [each.layer for each in layers]
    at = np.arange(len(layers))
    top.errorbar(
        at,
        [each.mean for each in layers],
        [each.deviation for each in layers],
        fmt="o",
        color="#000000",
        capsize=3,
    )
    top.set_ylabel("output: mean\nand deviation")
    for offset, what, shade in (
        (-0.2, "saturated", "#bbbbbb"),
        (0.2, "dead", "#333333"),
    ):
        label = {"saturated": "saturated outputs", "dead": "dead units"}[what]
        values = [getattr(each, what) for each in layers]
        middle.bar(at + offset, values, 0.4, color=shade, label=label)
    middle.set_ylabel("share")
    middle.set_ylim(0, 1)
    middle.legend(frameon=False, fontsize=8)
    norms = [each.norm for each in gradients]
    bottom.plot(range(len(norms)), norms, "ks-", markersize=4)
    if min(norms, default=0) > 0:
        bottom.set_yscale("log")
    bottom.set_ylabel("norm of the\ngradient")
    _label_layers(top, names)
    _label_layers(middle, names)
    _label_layers(bottom, [each.layer for each in gradients])
    save_figure(figure, path)


def _label_layers(axes: "Axes", names: Sequence[str]) -> None:
    every = -(-len(names) // SHOWN)
    places = range(0, len(names), max(every, 1))
    axes.set_xticks(places, [names[i] for i in places], rotation=35, ha="right")
    axes.tick_params(labelsize=7, which="both")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
