"""What every room knows of a batch: its mask, its positions, its sums.

A batch is a dict of arrays with a leading example axis. Under ``pmap`` a
function sees one device's part of it, elsewhere all of it; the functions here
hide that difference, so that models, objectives and steps are written once.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, Key

Batch = Mapping[str, Any]
Tree = TypeVar("Tree")

# The one axis name that jaxdl binds: the devices that share a batch under pmap.
DEVICES = "devices"


def inside_pmap() -> bool:
    """Whether this is being traced where the device axis is bound."""
    try:
        jax.lax.axis_index(DEVICES)
    except NameError:
        return False
    return True


def sum_over_devices(tree: Tree) -> Tree:
    """Sum every leaf over the devices that share the batch.

    Inside ``jaxdl.parallel.pmap`` this is ``jax.lax.psum``; under jit, scan,
    vmap and sharded jit arrays are global already and it is the identity.
    """
    return jax.lax.psum(tree, DEVICES) if inside_pmap() else tree


def size(batch: Batch) -> int:
    """How many examples the batch holds (on this device, under pmap)."""
    return int(jax.tree.leaves(dict(batch))[0].shape[0])


def positions(batch: Batch) -> Int[Array, " batch"]:
    """Each example's position in the global batch.

    ``batch["position"]`` where there is one (microbatches carry it), else
    counted from the first example of the first device.
    """
    if "position" in batch:
        return batch["position"]
    count = size(batch)
    here = jnp.arange(count, dtype=jnp.int32)
    if inside_pmap():
        return here + jax.lax.axis_index(DEVICES).astype(jnp.int32) * count
    return here


def example_keys(
    key: Key[Array, ""], position: Int[Array, " batch"]
) -> Key[Array, " batch"]:
    """A key per example, the same however the batch is split over devices."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, position)


def mask_of(batch: Batch) -> Float[Array, " batch"]:
    """1.0 for real examples, 0.0 for padding; all ones where none is given."""
    if "mask" in batch:
        return batch["mask"]
    return jnp.ones((size(batch),), jnp.float32)


class Context(struct.PyTreeNode):
    """What a model is told of the batch besides its inputs.

    Attributes:
      training: whether dropout drops and batch norm uses the batch (static).
      mask: [batch], 0.0 where an example is padding; None when all are real.
      position: [batch], places in the global batch, for a key per example.
      dropout: the dropout rate in [0, 1); may be traced.
    """

    training: bool = struct.field(pytree_node=False, default=False)
    mask: Float[Array, " batch"] | None = None
    position: Int[Array, " batch"] | None = None
    dropout: float | Float[Array, ""] = 0.0


def context(batch: Batch, hyper: Mapping[str, Any], training: bool) -> Context:
    """The context of a batch: its mask and positions, the dropout rate of hyper."""
    return Context(
        training=training,
        mask=batch.get("mask"),
        position=positions(batch),
        dropout=hyper.get("dropout", 0.0),
    )
