"""Forecasts beside what came, and how far they are off."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Float

from jaxdl.runs.plots.figure import new_figure, save_figure
from jaxdl.runs.text import printable

# The truth first; then the model; then the baselines.
_STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#0b4f8a", "linestyle": "-", "linewidth": 1.6},
    {"color": "#d55e00", "linestyle": "--", "linewidth": 1.1},
    {"color": "#7a7a7a", "linestyle": ":", "linewidth": 1.3},
    {"color": "#009e73", "linestyle": "-.", "linewidth": 1.1},
)


def forecasts(
    at: ArrayLike,
    truth: Float[ArrayLike, " values"],
    told: Mapping[str, Float[ArrayLike, " values"]],
    target: str,
    path: Path,
) -> None:
    """Draws what came and what was forecast of it, in the target's unit.

    Args:
      at: when each value came: times, or rows of the series.
      truth: what came.
      told: name to forecasts of the same values; the model's first.
      target: the name of what is forecast.
      path: the PNG to write.
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    figure = new_figure(9.6, 4.2)
    axes = figure.add_subplot()
    axes.plot(np.asarray(at), truth, color="#111111", linewidth=2.0, label="truth")
    for (name, values), style in zip(told.items(), _STYLES, strict=False):
        axes.plot(np.asarray(at), values, label=printable(name), **style)
    dated = np.asarray(at).dtype.kind == "M"
    if dated:
        places = AutoDateLocator(maxticks=8)
        axes.xaxis.set_major_locator(places)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(places))
    axes.set_xlabel("time" if dated else "row of the series")
    _finish(axes, printable(target, 40))
    save_figure(figure, path)


def errors_by(
    at: ArrayLike,
    errors: Mapping[str, Float[ArrayLike, " places"]],
    label: str,
    target: str,
    path: Path,
) -> None:
    """Draws the mean absolute error over horizons, or hours of the day.

    Args:
      at: the horizons, or the hours.
      errors: name to the mean absolute error at each; the model's first.
      label: what the places are.
      target: the name of what is forecast.
      path: the PNG to write.
    """
    figure = new_figure(6.4, 4.2)
    axes = figure.add_subplot()
    for (name, values), style in zip(errors.items(), _STYLES, strict=False):
        axes.plot(np.asarray(at), values, marker="o", markersize=3, **style)
        axes.lines[-1].set_label(printable(name))
    axes.set_xlabel(label)
    axes.set_ylim(bottom=0.0)
    _finish(axes, f"mean absolute error of {printable(target, 40)}")
    save_figure(figure, path)


def _finish(axes: Any, label: str) -> None:
    axes.set_ylabel(label)
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
