"""What was looked at while each character was written."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxdl.runs.plots.figure import new_figure, save_figure
from jaxdl.runs.text import printable

# A character's share of an inch, and how many maps stand side by side.
_CELL = 0.2
_COLUMNS = 3


def attention_maps(
    weights: Sequence[Float[np.ndarray, "written read"]],
    read: Sequence[Sequence[str]],
    written: Sequence[Sequence[str]],
    path: Path,
) -> None:
    """Draws a heat map an example: what was read from left to right, what was
    written from top to bottom, each row's weights adding up to one.

    Args:
      weights: of each example.
      read: the label of every column, by example.
      written: the label of every row, by example.
      path: the PNG to write.

    Raises:
      ValueError: no examples, or labels that do not fit the weights.
    """
    if not weights:
        raise ValueError("no attention maps: there are no examples")
    for values, across, down in zip(weights, read, written, strict=True):
        if values.shape != (len(down), len(across)):
            raise ValueError(
                f"weights of shape {values.shape} do not fit {len(down)} characters "
                f"written and {len(across)} read"
            )
    columns = min(len(weights), _COLUMNS)
    rows = math.ceil(len(weights) / columns)
    width = max(1.6, 0.9 + _CELL * max(values.shape[1] for values in weights))
    height = 0.9 + _CELL * max(values.shape[0] for values in weights)
    figure = new_figure(width * columns, height * rows)
    for index, values in enumerate(weights):
        axes = figure.add_subplot(rows, columns, index + 1)
        axes.imshow(values, cmap="Greys", vmin=0.0, vmax=1.0, interpolation="nearest")
        axes.set_xticks(range(len(read[index])), _labels(read[index]))
        axes.set_yticks(range(len(written[index])), _labels(written[index]))
        axes.tick_params(length=0, labelsize=8, labeltop=True, labelbottom=False)
        axes.xaxis.set_label_position("top")
        axes.set_xlabel("read", fontsize=8, color="#555555")
        axes.set_ylabel("written", fontsize=8, color="#555555")
    save_figure(figure, path)


def _labels(characters: Sequence[str]) -> list[str]:
    """A space would be no label, and a dollar sign begins a formula."""
    return [
        "\u2423" if text == " " else printable(text, 8).replace("$", r"\$")
        for text in characters
    ]
