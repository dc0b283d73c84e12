"""Arrays over the devices of several processes, each of which sees its own alone."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int, PyTree

from jaxdl.batch import DEVICES


def processes(devices: Sequence[jax.Device]) -> int:
    """How many processes the devices belong to."""
    return len({device.process_index for device in devices})


def spread(tree: PyTree, shardings: PyTree) -> PyTree:
    """Arrays that are the same in every process, laid out over all devices.

    Args:
      tree: arrays of this process; those that lie over several are laid out anew.
      shardings: one for each array, or one for all.
    """
    if isinstance(shardings, jax.sharding.Sharding):
        shardings = jax.tree.map(lambda _, one=shardings: one, tree)
    return jax.tree.map(_spread, tree, shardings)


def _spread(leaf: Any, sharding: NamedSharding) -> jax.Array:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        bits = _spread(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(leaf))
    # device_put would first compare the array over all processes.
    held = np.asarray(leaf)
    return jax.make_array_from_callback(held.shape, sharding, lambda at: held[at])


@functools.lru_cache(maxsize=64)
def rows(mesh: Mesh, size: int) -> Int[np.ndarray, " rows"]:
    """Which of a batch of ``size`` examples, split over the mesh, this process's
    devices hold, in order."""
    split = NamedSharding(mesh, PartitionSpec(DEVICES))
    mine = split.addressable_devices_indices_map((size,)).values()
    everything = np.arange(size)
    return np.unique(np.concatenate([everything[at] for at in mine]))


def from_rows(tree: PyTree, mesh: Mesh, axis: int) -> PyTree:
    """The global batch, from the examples (along ``axis``) that ``rows`` names."""
    spec = PartitionSpec(*[None] * axis, DEVICES)
    shares = mesh.shape[DEVICES]
    mine = len(rows(mesh, shares))

    def whole(leaf: Any) -> jax.Array:
        shape = list(leaf.shape)
        shape[axis] = shape[axis] * shares // mine
        return jax.make_array_from_process_local_data(
            NamedSharding(mesh, spec), np.asarray(leaf), tuple(shape)
        )

    return jax.tree.map(whole, tree)


def here(tree: PyTree, mesh: Mesh) -> PyTree:
    """Every array whole, on one device of this process: all processes must ask for it,
    then each may compute with it by itself."""
    parts = jax.tree.leaves(tree)
    if not all(leaf.is_fully_replicated for leaf in parts):
        # Awaited: see ways.one_at_a_time.
        tree = jax.block_until_ready(_gather(mesh)(tree))
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


@functools.cache
def _gather(mesh: Mesh) -> Any:
    return jax.jit(
        lambda tree: tree, out_shardings=NamedSharding(mesh, PartitionSpec())
    )
