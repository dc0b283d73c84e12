"""Sums of batch normalisation by the compiled kernel: each reads its operands once.

XLA sums over places in windows, four passes a layer through memory. What is
differentiated again is left to JAX.
"""

from typing import Any

import jax
from jaxtyping import Array, Float

from jaxdl.kernels.calls import Axes, call

Places = Float[Array, "batch places channels"]
Channels = Float[Array, " channels"]
OfExamples = Float[Array, "batch channels"]

_PLACES, _OF_EXAMPLES, _CHANNELS = "m b p c", "m b c", "m c"
_MOMENTS = Axes((_PLACES,), (_OF_EXAMPLES,) * 2, "mb")
_SLOPES = Axes((_PLACES, _PLACES, _CHANNELS), (_OF_EXAMPLES,) * 2, "mb")


def _one(target: str, axes: Axes, *operands: Array) -> tuple[Array, Array]:
    """The call of one member."""
    first, second = call(target, axes, *[operand[None] for operand in operands])
    return first[0], second[0]


@jax.custom_jvp
def moments(x: Places) -> tuple[OfExamples, OfExamples]:
    """Of each example and channel the mean, and the sum of squares around it.

    float32 or float64.
    """
    return _one("jaxdl_moments", _MOMENTS, x)


@moments.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (x,), (slope,) = primals, tangents
    mean, squares = moments(x)
    apart = x - mean[:, None]
    return (mean, squares), (slope.mean(1), 2 * (apart * slope).sum(1))


@jax.custom_vjp
def scale_and_shift(
    x: Places, center: Channels, factor: Channels, shift: Channels
) -> Places:
    """(x - center) factor + shift. float32 or float64, all alike."""
    return formula(x, center, factor, shift)


def formula(x: Places, center: Channels, factor: Channels, shift: Channels) -> Places:
    """The same, with gradients by JAX."""
    return (x - center) * factor + shift


def _saved(*operands: Array) -> Any:
    return formula(*operands), operands


def _pulled(saved: tuple[Array, ...], slope: Places) -> tuple[Array, ...]:
    x, center, factor, _ = saved
    sums, products = (part.sum(0) for part in _sums(x, slope, center))
    return slope * factor, -factor * sums, products, sums


scale_and_shift.defvjp(_saved, _pulled)


@jax.custom_jvp
def _sums(x: Places, slope: Places, center: Channels) -> tuple[OfExamples, OfExamples]:
    """Of each example the sum of slopes, and that of slopes times x - center."""
    return _one("jaxdl_slopes", _SLOPES, x, slope, center)


@_sums.defjvp
def _(primals: Any, tangents: Any) -> Any:
    def plain(x: Places, slope: Places, center: Channels) -> tuple[Array, Array]:
        return slope.sum(1), (slope * (x - center)).sum(1)

    return _sums(*primals), jax.jvp(plain, primals, tangents)[1]
