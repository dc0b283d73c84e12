"""Pooling over windows of one, two or three spatial axes, channels last."""

import math
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxdl import kernels
from jaxdl.layers.windows import Padding, per_axis, window_pads, window_slices


def max_pool(
    x: Float[Array, "batch *space channels"],
    window: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    padding: Padding = "VALID",
) -> Float[Array, "batch *out channels"]:
    """The maximum of each window, channel by channel.

    A maximum of strided slices, not ``reduce_window``, whose gradient
    (select-and-scatter) took 43 ms on a CPU where this takes 2.6.

    Where places of a window tie for the maximum they share the gradient: places
    are compared in row-major order, a tie halving what went to those before.
    ``nn.max_pool`` gives all of it to the first. Without ties both are equal.

    Args:
      x: channels last, with as many spatial axes as ``window`` has.
      window: the window's size, one integer or one an axis.
      strides: its step; None is the window itself, so that windows don't overlap
        (``nn.max_pool`` takes None for 1).
      padding: as ``window_pads`` takes it; padded places never win.

    Raises:
      ValueError: a window larger than the padded input, or an unknown padding.
    """
    if _compilable(x, window, strides, padding):
        return kernels.max_pool(x)
    return reduce(jnp.maximum, _padded_slices(x, window, strides, padding, -jnp.inf))


def _compilable(x: Array, window: Any, strides: Any, padding: Padding) -> bool:
    """Whether a compiled kernel gives the gradient: windows of 2 x 2, side by side, and
    no padding."""
    if x.ndim != 4 or min(x.shape) < 2 or not kernels.supports(x.dtype):
        return False
    window = per_axis(window, 2)
    strides = window if strides is None else per_axis(strides, 2)
    pads = window_pads(x.shape[1:-1], window, strides, padding)
    unpadded = all(pad == (0, 0) for pad in pads)
    return window == strides == (2, 2) and unpadded


def avg_pool(
    x: Float[Array, "batch *space channels"],
    window: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    padding: Padding = "VALID",
    count_include_pad: bool = True,
) -> Float[Array, "batch *out channels"]:
    """The mean of each window, channel by channel.

    Arguments and errors are those of ``max_pool``. Padded places count as zeros
    unless ``count_include_pad`` is False: then the mean is over real places alone.
    """
    total = reduce(jnp.add, _padded_slices(x, window, strides, padding, 0.0))
    if count_include_pad:
        return total / math.prod(per_axis(window, x.ndim - 2))
    ones = jnp.ones((1, *x.shape[1:-1], 1), x.dtype)
    return total / reduce(jnp.add, _padded_slices(ones, window, strides, padding, 0.0))


def global_avg_pool(
    x: Float[Array, "batch *space channels"],
) -> Float[Array, "batch channels"]:
    """The mean over all spatial axes (Lin et al. 2013), summed in float32."""
    sum_dtype = jnp.promote_types(x.dtype, jnp.float32)
    return jnp.mean(x, tuple(range(1, x.ndim - 1)), dtype=sum_dtype).astype(x.dtype)


def masked_mean(
    x: Float[Array, "batch time channels"], valid: Bool[Array, "batch time"] | None
) -> Float[Array, "batch channels"]:
    """The mean over the valid steps of a sequence, 0 of none; None: all are valid."""
    if valid is None:
        return global_avg_pool(x)
    sum_dtype = jnp.promote_types(x.dtype, jnp.float32)
    kept = jnp.where(valid[..., None], x, jnp.zeros_like(x))
    counts = jnp.maximum(jnp.sum(valid, axis=1, keepdims=True), 1)
    return (jnp.sum(kept, axis=1, dtype=sum_dtype) / counts).astype(x.dtype)


def masked_max(
    x: Float[Array, "batch time channels"], valid: Bool[Array, "batch time"] | None
) -> Float[Array, "batch channels"]:
    """The maximum over the valid steps of a sequence, 0 of none; None: all are."""
    if valid is None:
        return jnp.max(x, axis=1)
    largest = jnp.max(jnp.where(valid[..., None], x, -jnp.inf), axis=1)
    return jnp.where(jnp.any(valid, axis=1, keepdims=True), largest, 0.0)


def masked_max_pool(
    x: Float[Array, "batch time channels"],
    valid: Bool[Array, "batch time"] | None,
    window: int,
) -> tuple[Float[Array, "batch out channels"], Bool[Array, "batch out"] | None]:
    """The maximum over the valid steps of each window, and which windows have any.

    Windows are counted from the first step and do not overlap; the last may be cut
    off by the end. Those without a valid step give 0.
    """
    after = (0, -x.shape[1] % window)
    if valid is None:
        return max_pool(x, window, padding=(after,)), None
    x = max_pool(jnp.where(valid[..., None], x, -jnp.inf), window, padding=(after,))
    rest = jnp.pad(valid, ((0, 0), after))
    valid = jnp.any(rest.reshape(len(rest), -1, window), axis=2)
    return jnp.where(valid[..., None], x, 0.0), valid


def _padded_slices(
    x: Array,
    window: int | Sequence[int],
    strides: int | Sequence[int] | None,
    padding: Padding,
    fill: float,
) -> Iterator[Array]:
    window = per_axis(window, x.ndim - 2)
    strides = window if strides is None else per_axis(strides, x.ndim - 2)
    pads = window_pads(x.shape[1:-1], window, strides, padding)
    if any(pad != (0, 0) for pad in pads):
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=fill)
    return window_slices(x, window, strides)
