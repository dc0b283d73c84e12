"""Images beside what a network sees in them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxdl.runs.plots.figure import new_figure, save_figure


def beside(
    images: Float[np.ndarray, "images height width channels"],
    maps: Mapping[str, Float[np.ndarray, "images rows columns"]],
    titles: Sequence[str],
    path: Path,
) -> None:
    """Draws images in a row and, below each, what every map says of it.

    Args:
      images: in [0, 1]; one channel is grey, three are colour.
      maps: name to a map an image, of any size; black is nothing, white the most of
        that map. They are stretched over the image.
      titles: a text over each image.
      path: the PNG to write.
    """
    count, height, width, channels = images.shape
    figure = new_figure(1.35 * count + 0.7, 1.5 * (1 + len(maps)))
    grid = figure.subplots(1 + len(maps), count, squeeze=False)
    shown = images if channels == 3 else images.mean(axis=-1)
    for number in range(count):
        grid[0, number].imshow(shown[number], cmap="gray", vmin=0, vmax=1)
        grid[0, number].set_title(titles[number], fontsize=7.5)
        for row, values in enumerate(maps.values(), 1):
            grid[row, number].imshow(
                values[number],
                cmap="gray",
                extent=(-0.5, width - 0.5, height - 0.5, -0.5),
            )
    for row, name in enumerate(["image", *maps]):
        grid[row, 0].set_ylabel(name, fontsize=9)
        for axes in grid[row]:
            axes.set_xticks([])
            axes.set_yticks([])
    save_figure(figure, path)
