"""Layer normalisation by the compiled kernel: a row is read from memory once.

XLA makes a dozen passes of a layer, forward and backward, and sums over rows in
windows. Reverse mode runs by the kernel once; what is differentiated again, by JAX.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdl.kernels.calls import Axes, call

Places = Float[Array, "batch places features"]
Features = Float[Array, " features"]

_PLACES, _OF_EXAMPLES, _FEATURES = "m b p f", "m b f", "m f"
_VALUE = Axes((_PLACES, _FEATURES, _FEATURES), (_PLACES,), "mbp")
_GRADIENTS = Axes((_PLACES, _FEATURES, _PLACES), (_PLACES, *(_OF_EXAMPLES,) * 2), "mb")


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(x: Places, scale: Features, bias: Features, epsilon: float) -> Places:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, over the features.

    float32 or float64, all alike.
    """
    return _value(epsilon, x, scale, bias)


def formula(x: Places, scale: Features, bias: Features, epsilon: float) -> Places:
    """The same by JAX."""
    apart = x - x.mean(-1, keepdims=True)
    variance = jnp.square(apart).mean(-1, keepdims=True)
    return apart * jax.lax.rsqrt(variance + epsilon) * scale + bias


def _one(target: str, axes: Axes, epsilon: float, *operands: Array) -> list[Array]:
    """The call of one member."""
    members = [operand[None] for operand in operands]
    results = call(target, axes, *members, epsilon=np.float64(epsilon))
    return [result[0] for result in results]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _value(epsilon: float, *operands: Array) -> Places:
    return _one("jaxdl_layer_norm", _VALUE, epsilon, *operands)[0]


@_value.defjvp
def _(epsilon: float, primals: Any, tangents: Any) -> Any:
    plain = partial(formula, epsilon=epsilon)
    return _value(epsilon, *primals), jax.jvp(plain, primals, tangents)[1]


def _saved(x: Places, scale: Features, bias: Features, epsilon: float) -> Any:
    return _value(epsilon, x, scale, bias), (x, scale)


def _pulled(epsilon: float, saved: Any, slope: Places) -> Any:
    by_x, by_scale, by_bias = _gradients(epsilon, *saved, slope)
    return by_x, by_scale.sum(0), by_bias.sum(0)


layer_norm.defvjp(_saved, _pulled)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _gradients(epsilon: float, *operands: Array) -> Any:
    """By x, and of each example those by the scale and by the bias."""
    return tuple(_one("jaxdl_layer_norm_gradient", _GRADIENTS, epsilon, *operands))


@_gradients.defjvp
def _(epsilon: float, primals: Any, tangents: Any) -> Any:
    def plain(x: Places, scale: Features, slope: Places) -> Any:
        def of_example(x: Array, slope: Array) -> Any:
            run = partial(formula, epsilon=epsilon)
            return jax.vjp(run, x, scale, jnp.zeros_like(scale))[1](slope)

        return jax.vmap(of_example)(x, slope)

    through = jax.jvp(plain, primals, tangents)[1]
    return _gradients(epsilon, *primals), through
