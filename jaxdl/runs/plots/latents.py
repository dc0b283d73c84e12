"""Where examples lie in a space of latents."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import ArrayLike, Float, Num

from jaxdl.runs.plots.figure import new_figure, save_figure
from jaxdl.runs.text import printable

_MARKERS = "os^vD<>P*X"
# More points would hide one another, more classes have no names in a legend.
_POINTS, _NAMED = 3_000, 20


def latent_map(
    points: Float[ArrayLike, "examples 2"],
    targets: Num[ArrayLike, " examples"],
    classes: Sequence[str],
    path: Path,
    names: tuple[str, str] = ("first latent", "second latent"),
) -> None:
    """Draws the first 3,000 points, by class in colour and marker.

    Args:
      points: coordinates of the examples.
      targets: their classes; without classes any values, the first of several.
      classes: names, or none.
      path: the PNG to write.
      names: of the axes.

    Raises:
      ValueError: there is not a pair of coordinates an example.
    """
    at, values = np.asarray(points)[:_POINTS], np.asarray(targets)[:_POINTS]
    if at.ndim != 2 or at.shape[1] != 2 or len(at) != len(values):
        raise ValueError(
            f"points of shape {np.shape(points)} for {np.shape(targets)} targets; "
            "give [examples, 2]"
        )
    figure = new_figure(7.2, 6.0)
    axes = figure.add_subplot()
    if classes:
        for index, name in enumerate(classes):
            chosen = at[values == index]
            axes.scatter(
                chosen[:, 0],
                chosen[:, 1],
                s=12,
                marker=_MARKERS[index % len(_MARKERS)],
                color=f"C{index % 10}",
                linewidths=0,
                label=printable(name, 16),
            )
    else:
        shown = axes.scatter(
            at[:, 0], at[:, 1], s=12, c=values.reshape(len(at), -1)[:, 0]
        )
        figure.colorbar(shown, ax=axes, label="target")
    if 0 < len(classes) <= _NAMED:
        axes.legend(
            frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5)
        )
    axes.set_aspect("equal", "datalim")
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    save_figure(figure, path)
