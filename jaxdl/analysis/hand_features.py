"""Features that a person thought of, where a network would learn its own."""

import jax.numpy as jnp
from jaxtyping import Array, Float

# Directions of edges that are told apart, over half a turn.
DIRECTIONS = 8
# Below the length of a gradient that a whole grey level makes over a cell.
_SMALL = 1e-3


def oriented_gradients(
    images: Float[Array, "batch height width channels"], cell: int = 4
) -> Float[Array, "batch features"]:
    """Histograms of oriented gradients (Dalal and Triggs 2005), to put before a linear
    model.

    In each cell the lengths of the gradients are summed by direction, an edge between
    two directions shared by both; light on dark counts as dark on light. Each block of
    2 x 2 cells is brought to length 1, so that contrast does not matter.

    Args:
      images: in [0, 1] or so; channels are averaged.
      cell: its side in pixels; what is left over at the bottom and the right is not
        seen.

    Returns:
      The blocks, overlapping by a cell, of 4 x DIRECTIONS numbers each.

    Raises:
      ValueError: fewer than 2 x 2 cells.
    """
    grey = jnp.mean(images, axis=-1)
    rows, columns = grey.shape[1] // cell, grey.shape[2] // cell
    if cell < 1 or min(rows, columns) < 2:
        raise ValueError(
            f"cells of {cell} in images of {grey.shape[1]} x {grey.shape[2]}: give at "
            "least two a side"
        )
    down, right = jnp.gradient(grey, axis=(1, 2))
    turn = jnp.arctan2(down, right) / jnp.pi * DIRECTIONS
    apart = jnp.abs(turn[..., None] - jnp.arange(DIRECTIONS)) % DIRECTIONS
    near = jnp.maximum(0, 1 - jnp.minimum(apart, DIRECTIONS - apart))
    votes = jnp.hypot(down, right)[..., None] * near
    votes = votes[:, : rows * cell, : columns * cell]
    cells = votes.reshape(-1, rows, cell, columns, cell, DIRECTIONS).sum(axis=(2, 4))
    blocks = jnp.concatenate(
        [
            cells[:, i : rows - 1 + i, j : columns - 1 + j]
            for i in (0, 1)
            for j in (0, 1)
        ],
        axis=-1,
    )
    length = jnp.sqrt(jnp.sum(blocks**2, axis=-1, keepdims=True) + _SMALL**2)
    return (blocks / length).reshape(len(images), -1)
