"""What a regression gets wrong: predicted against true values, and the residuals."""

from pathlib import Path

import numpy as np
from jaxtyping import ArrayLike, Float

from jaxdl.runs.plots.figure import new_figure, save_figure
from jaxdl.runs.text import printable

# More points than this make a blot, and a slow one.
POINTS = 5_000


def predicted_and_true(
    predicted: Float[ArrayLike, " examples"],
    true: Float[ArrayLike, " examples"],
    name: str,
    path: Path,
) -> None:
    """Draws predicted against true values, and the residuals against the predicted.

    Args:
      predicted, true: in one unit; of many, 5,000 evenly spaced ones are drawn.
      name: of the target.
      path: the PNG to write.
    """
    said, truth = np.asarray(predicted, float), np.asarray(true, float)
    few = np.unique(np.linspace(0, len(said) - 1, POINTS).astype(int))
    figure = new_figure(9.6, 4.4)
    left, right = figure.subplots(1, 2)
    style = {"s": 14, "alpha": 0.6, "color": "#0b4f8a", "linewidths": 0}
    left.scatter(truth[few], said[few], **style)
    ends = [float(truth.min()), float(truth.max())]
    left.plot(ends, ends, color="#d55e00", lw=1, linestyle="--", label="equal")
    left.set_xlabel(f"true {printable(name, 40)}")
    left.set_ylabel(f"predicted {printable(name, 40)}")
    left.legend(frameon=False, fontsize=9)
    right.scatter(said[few], (truth - said)[few], **style)
    right.axhline(0.0, color="#d55e00", lw=1, linestyle="--")
    right.set_xlabel(f"predicted {printable(name, 40)}")
    right.set_ylabel("residual (true minus predicted)")
    for axes in (left, right):
        axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    save_figure(figure, path)
