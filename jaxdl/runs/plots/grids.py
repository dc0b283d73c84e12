"""A figure for every pair of settings, as a grid of numbers shaded in grey."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxdl.runs.plots.figure import new_figure, save_figure


def value_grid(
    values: Float[np.ndarray, "rows columns"],
    rows: Sequence[str],
    columns: Sequence[str],
    path: Path,
    *,
    title: str,
    x: str,
    y: str,
    form: str = ".3g",
    light: float | None = None,
    dark: float | None = None,
) -> None:
    """Draws the values in a grid, the least dark; those that are not finite as a dash.

    Args:
      values: what is shown.
      rows, columns: their labels.
      path: the PNG to write.
      title, x, y: of the picture and its axes.
      form: how numbers are written.
      light, dark: values at which shading ends; the greatest and the least where None.
    """
    finite = values[np.isfinite(values)]
    top = light if light is not None else float(finite.max()) if finite.size else 1.0
    low = dark if dark is not None else float(finite.min()) if finite.size else 0.0
    figure = new_figure(1.6 + 0.62 * len(columns), 1.4 + 0.3 * len(rows))
    axes = figure.add_subplot()
    share = np.clip((values - low) / ((top - low) or 1.0), 0, 1)
    shade = np.where(np.isfinite(values), 0.25 + 0.75 * share, 1.0)
    axes.imshow(shade, cmap="gray", vmin=0, vmax=1, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        text = f"{value:{form}}" if np.isfinite(value) else "–"
        colour = "white" if shade[i, j] < 0.6 else "black"
        axes.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(columns)), columns, fontsize=9)
    axes.set_yticks(range(len(rows)), rows, fontsize=9)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, fontsize=10)
    save_figure(figure, path)
