"""Maximum pooling by the compiled kernel, and its gradient.

What is differentiated again is left to JAX.
"""

from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxdl.kernels.calls import Axes, call

Images = Float[Array, "batch height width channels"]
Maps = Float[Array, "batch half_height half_width channels"]

_IMAGES, _MAPS = "m b h w c", "m b h/2 w/2 c"
_FORWARD = Axes((_IMAGES,), (_MAPS,), "mb")
_GRADIENT = Axes((_IMAGES, _MAPS), (_IMAGES,), "mb")


@jax.custom_vjp
def max_pool(x: Images) -> Maps:
    """The maximum of each window of 2 x 2; an odd last line or column is left out.

    float32 or float64. Places that tie share the gradient as in ``formula``.
    """
    return call("jaxdl_pool", _FORWARD, x[None])[0][0]


def formula(x: Images) -> Maps:
    """The same, with gradients by JAX: in row-major order, a tie halving what went to
    those before."""
    height, width = (size // 2 * 2 for size in x.shape[1:3])
    places = [x[:, i:height:2, j:width:2] for i in range(2) for j in range(2)]
    return reduce(jnp.maximum, places)


def _saved(x: Images) -> tuple[Maps, Images]:
    return max_pool(x), x


def _pulled(x: Images, slope: Maps) -> tuple[Images]:
    return (_gradient(x, slope),)


max_pool.defvjp(_saved, _pulled)


@jax.custom_jvp
def _gradient(x: Images, slope: Maps) -> Images:
    return call("jaxdl_pool_gradient", _GRADIENT, x[None], slope[None])[0][0]


@_gradient.defjvp
def _(primals: Any, tangents: Any) -> Any:
    """It is linear in the slope; by x it does not change but where places tie."""
    x, slope = primals
    moved = jax.vjp(formula, x)[1](tangents[1])[0]
    return _gradient(x, slope), moved
