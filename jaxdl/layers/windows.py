"""Sliding windows: padding, the strided slices they see, sizes, receptive field."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from jax import lax
from jaxtyping import Array, Float

Padding: TypeAlias = str | int | Sequence[int | tuple[int, int]]


def per_axis(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """One integer for each of ``axes`` spatial axes, a single one repeated."""
    values = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(values) != axes:
        raise ValueError(
            f"{values} names {len(values)} axes, but there are {axes} spatial axes"
        )
    return values


def window_pads(
    sizes: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    padding: Padding,
) -> tuple[tuple[int, int], ...]:
    """How many places to add before and after each spatial axis.

    Args:
      sizes: the spatial sizes of the input.
      window: the extent of the window on each axis, dilation included.
      strides: the step of the window on each axis.
      padding: "SAME" (output size is ceil(size / stride)), "VALID" (none), an
        integer for all sides, one integer an axis, or one (before, after) pair
        an axis.

    Raises:
      ValueError: for any other padding, another number of axes, or a window that
        doesn't fit the padded input.
    """
    if isinstance(padding, str):
        if padding.upper() not in ("SAME", "VALID"):
            raise ValueError(
                f"unknown padding {padding!r}: give SAME, VALID, an integer, or a "
                "(before, after) pair for each spatial axis"
            )
        sides: list[Any] = lax.padtype_to_pads(sizes, window, strides, padding.upper())
    else:
        sides = [padding] * len(sizes) if isinstance(padding, int) else list(padding)
    if len(sides) != len(sizes):
        raise ValueError(
            f"padding {padding} names {len(sides)} axes, but there are "
            f"{len(sizes)} spatial axes"
        )
    pads = tuple(
        (side, side) if isinstance(side, int) else (int(side[0]), int(side[1]))
        for side in sides
    )
    if any(n + sum(p) < k for n, p, k in zip(sizes, pads, window, strict=True)):
        raise ValueError(
            f"a window of {tuple(window)} does not fit an input of {tuple(sizes)} "
            f"with padding {padding}: use a smaller window, larger inputs or "
            "padding='SAME'"
        )
    return pads


def window_slices(
    x: Float[Array, "batch *space channels"],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int] | None = None,
) -> Iterator[Float[Array, "batch *out channels"]]:
    """The padded input as each place of the window sees it, in row-major order."""
    dilation = dilation or (1,) * len(window)
    spans = [
        (n - (k - 1) * d - 1) // s * s + 1
        for n, k, s, d in zip(x.shape[1:-1], window, strides, dilation, strict=True)
    ]
    for place in itertools.product(*(range(k) for k in window)):
        start = [p * d for p, d in zip(place, dilation, strict=True)]
        stop = [a + span for a, span in zip(start, spans, strict=True)]
        yield lax.slice(
            x,
            (0, *start, 0),
            (x.shape[0], *stop, x.shape[-1]),
            (1, *strides, 1),
        )


def conv_output_size(
    size: int,
    kernel: int,
    stride: int = 1,
    padding: str | int | tuple[int, int] = 0,
    exact: bool = False,
) -> int:
    """The output size on one axis: ``floor((size + 2 padding - kernel)/stride) + 1``.

    Args:
      size, kernel, stride: in pixels; a dilated kernel counts its whole extent.
      padding: on each side, as (before, after), or "SAME" or "VALID".
      exact: refuse sizes at which the last stride drops pixels.

    Raises:
      ValueError: the kernel doesn't fit, or ``exact`` and the division isn't.
    """
    sides: Padding = padding if isinstance(padding, str) else [padding]
    (pads,) = window_pads([size], [kernel], [stride], sides)
    steps, dropped = divmod(size + sum(pads) - kernel, stride)
    if exact and dropped:
        raise ValueError(
            f"kernel {kernel} with stride {stride} and padding {padding} leaves "
            f"{dropped} of {size} pixels over: change one of them, or allow it with "
            "exact=False"
        )
    return steps + 1


def receptive_field(layers: Sequence[tuple[int, int]]) -> int:
    """How many input pixels, on one axis, one output of stacked layers sees.

    Args:
      layers: the (kernel, stride) of each convolution or pooling, first to last; a
        dilated kernel counts its whole extent.
    """
    field, jump = 1, 1
    for kernel, stride in layers:
        field += (kernel - 1) * jump
        jump *= stride
    return field
