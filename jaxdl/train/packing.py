"""Metrics of a step in few arrays, which the host reads sooner than many small ones: of
ten metrics of a block of steps in 0.26 ms and not 0.47 (as ``fit`` reads them, now and
then), in which an MLP's steps lacked one of two cores."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, PyTree


class Packed(struct.PyTreeNode):
    """A tree of arrays, those of one shape and type side by side along a new last axis.

    Attributes:
      arrays: one of each shape and type.
      structure: of the tree.
      places: of each leaf of it, in which array it is.
    """

    arrays: tuple[Array, ...]
    structure: Any = struct.field(pytree_node=False)
    places: tuple[int, ...] = struct.field(pytree_node=False)


def pack(tree: PyTree) -> Packed:
    """The tree in few arrays."""
    leaves, structure = jax.tree.flatten(jax.tree.map(jnp.asarray, tree))
    alike: dict[Any, list[Array]] = {}
    for leaf in leaves:
        alike.setdefault((leaf.shape, leaf.dtype), []).append(leaf)
    places = tuple(list(alike).index((leaf.shape, leaf.dtype)) for leaf in leaves)
    arrays = tuple(jnp.stack(own, axis=-1) for own in alike.values())
    return Packed(arrays, structure, places)


def unpack(tree: PyTree) -> PyTree:
    """The tree that was packed, whatever axes its arrays have been given in front; any
    other as it is."""
    if not isinstance(tree, Packed):
        return tree
    columns = [iter(np.moveaxis(np.asarray(array), -1, 0)) for array in tree.arrays]
    return jax.tree.unflatten(tree.structure, [next(columns[i]) for i in tree.places])


def packed(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step, or a block of steps, with its metrics packed: of a block once, behind
    its loop. (Within it that took 2% of an MLP's steps in blocks of 44.)"""

    def run(state: Any, *given: Any) -> Any:
        state, metrics = step(state, *given)
        return state, pack(metrics)

    return run


def packed_evaluation(evaluation: Callable[..., Any]) -> Callable[..., Any]:
    """The evaluation, with its metrics packed."""

    def run(state: Any, batch: Any) -> Packed:
        return pack(evaluation(state, batch))

    return run
