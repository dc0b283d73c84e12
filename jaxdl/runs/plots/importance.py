"""How much each input matters, as bars."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxdl.runs.plots.figure import new_figure, save_figure
from jaxdl.runs.text import printable

# Bars that a page can hold.
BARS = 25


def importance_bars(
    importances: Mapping[str, Float[np.ndarray, " repeats"]], cost: str, path: Path
) -> None:
    """Draws the mean of each importance and its deviation over the repeats, the
    largest 25 of them, largest first.

    Args:
      importances: input to what it costs to lose it, [repeats].
      cost: what is counted, with its unit.
      path: the PNG to write.
    """
    ordered = sorted(importances, key=lambda name: -float(importances[name].mean()))
    names = ordered[:BARS]
    values = [float(importances[name].mean()) for name in names]
    spread = [float(importances[name].std()) for name in names]
    figure = new_figure(7.0, 1.2 + 0.26 * len(names))
    axes = figure.add_subplot()
    places = np.arange(len(names))
    axes.barh(
        places, values, xerr=spread, color="#5b8db8", ecolor="#444444", height=0.7
    )
    axes.set_yticks(places, [printable(name, 32) for name in names], fontsize=9)
    axes.invert_yaxis()
    axes.set_axisbelow(True)
    axes.axvline(0.0, color="#444444", lw=0.8)
    axes.set_xlabel(cost)
    axes.grid(visible=True, axis="x", color="#dddddd", linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if len(ordered) > BARS:
        axes.set_title(f"the {BARS} largest of {len(ordered)}", fontsize=9)
    save_figure(figure, path)
