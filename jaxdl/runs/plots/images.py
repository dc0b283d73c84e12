"""Images and feature maps side by side."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import ArrayLike, Num

from jaxdl.runs.folder import write_bytes
from jaxdl.runs.plots.figure import new_figure, save_figure

# Inches: an image's side with the gap around it, a line of its title.
_TILE, _GAP, _LINE = 1.55, 0.15, 0.2


def image_grid(
    images: Num[ArrayLike, "images height width channels"],
    path: Path,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    each_scaled: bool = False,
) -> None:
    """Draws images side by side.

    Args:
      images: integers are shown relative to the largest of them all (digits count
        to 16, photographs to 255); floats within [0, 1] as they are, others
        stretched to the range of them all. One channel is grey, three are colour;
        of other numbers the mean is shown.
      path: the PNG to write.
      titles: a text over each.
      columns: how many to a row; about a square by default.
      each_scaled: stretch each image by itself, to see structure, not size.

    Raises:
      ValueError: no images, or not of four axes.
    """
    stored = np.asarray(images)
    if stored.ndim != 4 or stored.size == 0:
        raise ValueError(
            f"images of shape {stored.shape}; give [images, height, width, channels]"
        )
    columns = columns or math.ceil(math.sqrt(len(stored)))
    rows = math.ceil(len(stored) / columns)
    lines = max(title.count("\n") + 1 for title in titles) if titles else 0
    across, down = _TILE, _TILE + _LINE * lines
    figure = new_figure(across * columns, down * rows)
    figure.set_layout_engine("none")
    # One pair of axes, in inches: a pair an image took six times as long to draw.
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    for index, image in enumerate(_pixels(stored, each_scaled)):
        row, column = divmod(index, columns)
        middle, bottom = (column + 0.5) * across, (row + 1) * down - _GAP / 2
        height, width = (
            n * (_TILE - _GAP) / max(image.shape[:2]) for n in image.shape[:2]
        )
        box = (middle - width / 2, middle + width / 2, bottom, bottom - height)
        axes.imshow(
            image, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest", extent=box
        )
        if titles:
            place = (middle, bottom - height - _GAP / 2)
            axes.text(*place, titles[index], fontsize=7.5, ha="center", va="bottom")
    axes.set(xlim=(0, across * columns), ylim=(down * rows, 0))
    axes.set_axis_off()
    save_figure(figure, path)


def _pixels(images: np.ndarray, each_scaled: bool) -> np.ndarray:
    """[n, h, w] grey or [n, h, w, 3] colour, in [0, 1]."""
    pixels = images.astype(np.float64)
    if images.dtype.kind in "ui":
        pixels /= max(pixels.max(), 1.0)
    pixels = np.nan_to_num(pixels, nan=0.0, posinf=1.0, neginf=0.0)
    axis = (1, 2, 3) if each_scaled else None
    low = pixels.min(axis=axis, keepdims=True)
    high = pixels.max(axis=axis, keepdims=True)
    if each_scaled or low.min() < 0.0 or high.max() > 1.0:
        pixels = (pixels - low) / np.maximum(high - low, 1e-12)
    return pixels if pixels.shape[-1] == 3 else pixels.mean(axis=-1)


def feature_maps(
    maps: Num[ArrayLike, "height width channels"], path: Path, count: int = 64
) -> None:
    """Draws what a convolution puts out for one image, a tile a channel.

    Each channel is stretched by itself; the first ``count`` are drawn. The maps
    come from ``jaxdl.models.layer_outputs``; ``[..., 0, :]`` of a kernel works as well.
    """
    channels = np.moveaxis(np.asarray(maps), -1, 0)[:count, ..., None]
    titles = [str(index) for index in range(len(channels))]
    image_grid(channels, path, titles=titles, each_scaled=True)


def montage(
    images: Num[ArrayLike, "images height width channels"],
    path: Path,
    columns: int | None = None,
    scale: int = 0,
) -> None:
    """Writes images side by side as one PNG, a grey line between them.

    Quicker than ``image_grid`` and without titles, for samples by the dozen.

    Args:
      images, columns: as in ``image_grid``.
      path: the PNG to write.
      scale: pixels a pixel of theirs; 0 makes the whole about 640 wide.

    Raises:
      ValueError: no images, or not of four axes.
    """
    from PIL import Image

    stored = np.asarray(images)
    if stored.ndim != 4 or stored.size == 0:
        raise ValueError(
            f"images of shape {stored.shape}; give [images, height, width, channels]"
        )
    columns = columns or math.ceil(math.sqrt(len(stored)))
    rows = math.ceil(len(stored) / columns)
    pixels = np.round(_pixels(stored, each_scaled=False) * 255).astype(np.uint8)
    height, width = pixels.shape[1:3]
    canvas = np.full(
        (rows * (height + 1) - 1, columns * (width + 1) - 1, *pixels.shape[3:]),
        128,
        np.uint8,
    )
    for index, image in enumerate(pixels):
        row, column = divmod(index, columns)
        top, left = row * (height + 1), column * (width + 1)
        canvas[top : top + height, left : left + width] = image
    scale = scale or max(1, 640 // canvas.shape[1])
    enlarged = canvas.repeat(scale, axis=0).repeat(scale, axis=1)
    content = io.BytesIO()
    Image.fromarray(enlarged).save(content, format="png")
    write_bytes(Path(path), content.getvalue())
