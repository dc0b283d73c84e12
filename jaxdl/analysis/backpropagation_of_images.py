"""Backpropagation by hand through convolution and pooling: im2col and col2im.

``im2col`` lays every window of the images out as a row, so that a convolution is one
matrix product; its backward pass adds every row back to where it came from. Images are
[batch, height, width, channels].
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxdl.analysis.backpropagation import Node, affine
from jaxdl.layers import conv_output_size

Images = Float[Array, "batch height width channels"]
# A row a window, its pixels in order: row, column, channel.
Windows = Float[Array, "batch out_height out_width window"]


def im2col(x: Images, size: int, stride: int = 1, padding: int = 0) -> Windows:
    """Every window of size x size pixels as a row.

    A pixel is copied into as many rows as windows see it: for 3x3 and stride 1 the
    result is nine times the images.
    """
    batch, height, width, _ = x.shape
    rows = conv_output_size(height, size, stride, padding)
    columns = conv_output_size(width, size, stride, padding)
    sides = (padding, padding)
    x = jnp.pad(x, ((0, 0), sides, sides, (0, 0)))
    # One slice for each place in the window, not one for each window.
    parts = [
        x[:, i : i + rows * stride : stride, j : j + columns * stride : stride]
        for i in range(size)
        for j in range(size)
    ]
    return jnp.stack(parts, axis=3).reshape(batch, rows, columns, -1)


def col2im(
    windows: Windows,
    shape: tuple[int, int, int, int],
    size: int,
    stride: int = 1,
    padding: int = 0,
) -> Images:
    """The transpose of ``im2col``: every window added to where it came from.

    Not its inverse: a pixel that n windows saw gets the sum of n entries.
    """
    batch, height, width, channels = shape
    rows, columns = windows.shape[1:3]
    parts = windows.reshape(batch, rows, columns, size, size, channels)
    x = jnp.zeros(
        (batch, height + 2 * padding, width + 2 * padding, channels), windows.dtype
    )
    for i in range(size):
        for j in range(size):
            down = slice(i, i + rows * stride, stride)
            across = slice(j, j + columns * stride, stride)
            x = x.at[:, down, across].add(parts[:, :, :, i, j])
    return x[:, padding : padding + height, padding : padding + width]


def convolution(size: int, stride: int = 1, padding: int = 0) -> Node:
    """Convolution (as networks have it: without flipping the kernel) and bias.

    Parameters: ``kernel`` [size, size, channels, filters] and ``bias`` [filters].
    """

    def forward(params: Any, x: Images) -> tuple[Images, Any]:
        windows = im2col(x, size, stride, padding)
        filters = params["kernel"].shape[-1]
        flat = {**params, "kernel": params["kernel"].reshape(-1, filters)}
        y, kept = affine.forward(flat, windows.reshape(-1, windows.shape[-1]))
        return y.reshape(*windows.shape[:3], filters), (kept, x.shape, windows.shape)

    def backward(kept: Any, slope: Images) -> tuple[Any, Images]:
        # An affine layer on windows: its backward pass, and the windows put back.
        kept, shape, windows = kept
        filters = slope.shape[-1]
        slopes, rows = affine.backward(kept, slope.reshape(-1, filters))
        kernel = slopes["kernel"].reshape(size, size, shape[-1], filters)
        x = col2im(rows.reshape(windows), shape, size, stride, padding)
        return {**slopes, "kernel": kernel}, x

    return Node(forward, backward)


def max_pooling(size: int, stride: int | None = None) -> Node:
    """The maximum of each window, channel by channel; nothing is learned."""
    stride = stride or size

    def forward(params: None, x: Images) -> tuple[Images, Any]:
        windows = im2col(x, size, stride)
        windows = windows.reshape(*windows.shape[:3], size * size, x.shape[-1])
        winners = jnp.argmax(windows, axis=3, keepdims=True)
        y = jnp.take_along_axis(windows, winners, axis=3).squeeze(3)
        return y, (winners, windows.shape, x.shape)

    def backward(kept: Any, slope: Images) -> tuple[None, Images]:
        # Only the pixel that won moved the output; of equal ones, the first.
        winners, windows, shape = kept
        places = jnp.arange(size * size)[:, None]
        rows = jnp.where(places == winners, slope[:, :, :, None], 0)
        return None, col2im(rows.reshape(*windows[:3], -1), shape, size, stride)

    return Node(forward, backward)


def _flatten_forward(params: None, x: Images) -> tuple[Array, Any]:
    return x.reshape(len(x), -1), x.shape


def _flatten_backward(kept: Any, slope: Array) -> tuple[None, Images]:
    # Only the shape changed.
    return None, slope.reshape(kept)


flatten = Node(_flatten_forward, _flatten_backward)
