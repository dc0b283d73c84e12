"""What a language model makes of its context: lines over places and lags."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxdl.runs.plots.figure import new_figure, save_figure


def loss_by_place(losses: Float[np.ndarray, " time"], path: Path) -> None:
    """Draws the mean loss of the tokens at each place of a window: how much it helps
    to have read more."""
    _line(
        np.arange(len(losses)),
        losses,
        "tokens read before, in the window",
        "loss (nats a token)",
        path,
    )


def gradient_by_lag(norms: Float[np.ndarray, " time"], path: Path) -> None:
    """Draws how strongly the loss of a token depends on what stands so many places
    before it, on a logarithmic axis."""
    _line(
        np.arange(len(norms)),
        norms,
        "places back",
        "norm of the gradient",
        path,
        logarithmic=True,
    )


def _line(
    x: np.ndarray,
    y: np.ndarray,
    x_label: str,
    y_label: str,
    path: Path,
    logarithmic: bool = False,
) -> None:
    figure = new_figure(6.4, 3.6)
    axes = figure.add_subplot()
    axes.plot(x, y, color="#0b4f8a", marker="o", markersize=3)
    if logarithmic and np.any(y > 0):
        axes.set_yscale("log")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    save_figure(figure, path)
