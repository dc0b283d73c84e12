"""Sums of squares of gradients, which every step needs: their norm, and whether they
are finite."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# XLA on CPU turns a long sum into a tree of short ones, and writes the squares to
# memory for it, which is a large part of an MLP's step. A sum of at most so many terms
# it leaves as it is, one loop with the squares in it (of 784 x 256 numbers 0.08 ms and
# not 0.3, two cores).
_SHORT = 32
# Of fewer numbers either takes no time.
_MANY = 2**14


def sum_of_squares(x: Float[Array, "..."]) -> Float[Array, ""]:
    """The sum of all numbers' squares."""
    squares = jnp.square(x)
    if x.size < _MANY or jax.default_backend() != "cpu":
        return jnp.sum(squares)
    rows = x.size // x.shape[-1] if x.ndim > 1 else x.size
    parts = max(d for d in range(1, _SHORT + 1) if rows % d == 0)
    partial = jnp.sum(squares.reshape(parts, rows // parts, -1), axis=0)
    return jnp.sum(jax.lax.optimization_barrier(partial))


def global_norm(squares: Sequence[Float[Array, ""]]) -> Float[Array, ""]:
    """The length of several arrays as one vector, by each one's sum of squares."""
    return jnp.sqrt(sum(squares, jnp.float32(0)))
