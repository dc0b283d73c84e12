"""Paths of optimizers over functions of two numbers, and the field that drives them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

Function = Callable[[Float[Array, " dimensions"]], Any]


def valley(x: Float[Array, "2"]) -> Float[Array, ""]:
    """x0^2 / 20 + x1^2: a long valley, steep across and flat along (Saitoh 2016, eq.
    6.2). The gradient hardly ever points at the minimum."""
    return x[0] ** 2 / 20 + x[1] ** 2


def bowl(x: Float[Array, "2"]) -> Float[Array, ""]:
    """x0^2 + x1^2: the gradient points away from the minimum everywhere."""
    return x[0] ** 2 + x[1] ** 2


def descend(
    function: Function,
    start: Float[Array, " dimensions"],
    optimizer: optax.GradientTransformation,
    steps: int,
) -> Float[Array, "places dimensions"]:
    """The places an optimizer goes through, the start first: [steps + 1, dimensions].

    Args:
      function: to be made small.
      start: where to begin.
      optimizer: of Optax.
      steps: how many.
    """
    start = jnp.asarray(start)
    gradient = jax.grad(function)

    def step(carry: Any, _: None) -> tuple[Any, Array]:
        x, state = carry
        updates, state = optimizer.update(gradient(x), state, x)
        x = optax.apply_updates(x, updates)
        return (x, state), x

    _, path = jax.lax.scan(step, (start, optimizer.init(start)), None, steps)
    return jnp.concatenate([start[None], path])


def gradient_field(
    function: Function,
    x: Float[np.ndarray, " columns"],
    y: Float[np.ndarray, " rows"],
) -> tuple[Float[np.ndarray, "rows columns"], Float[np.ndarray, "rows columns 2"]]:
    """Values and downhill directions (minus the gradient) over a grid."""
    grid = jnp.stack(jnp.meshgrid(jnp.asarray(x), jnp.asarray(y)), axis=-1)
    both = jax.vmap(jax.vmap(jax.value_and_grad(function)))
    values, slopes = both(grid.astype(jnp.float32))
    return np.asarray(values), -np.asarray(slopes)
