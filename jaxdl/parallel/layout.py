"""Layouts: how each array of a state lies over a mesh of devices.

By rule, from paths and shapes alone, so that parameters, their moments and their
moving average lie alike, and a checkpoint restores onto any layout.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from jaxdl.batch import DEVICES
from jaxdl.parameters import path_name

# The flag's word for the axis that splits the batch, and what a mesh calls it.
DATA, MODEL = "data", "model"

# (end of a path, what each axis counts)
Axes = Sequence[tuple[str, tuple[str, ...]]]

# Which mesh axis splits what a parameter's axis counts; others stay whole.
RULES: Mapping[str, str] = {"heads": MODEL, "hidden": MODEL, "vocabulary": MODEL}


def parse_mesh(text: str, devices: int) -> dict[str, int]:
    """``data:4,model:2`` as {"data": 4, "model": 2}; empty: all devices for data.

    Raises:
      ValueError: in one line, for other words, a number below 1, or numbers that do
        not multiply to the devices there are.
    """
    if not text:
        return {DATA: devices}
    sizes: dict[str, int] = {}
    for part in text.split(","):
        name, _, number = part.strip().partition(":")
        if name not in (DATA, MODEL) or name in sizes or not number.isdigit():
            raise ValueError(
                f"--mesh={text}: {part.strip()!r} is not understood; give data:N, "
                "model:N or both, such as data:4,model:2."
            )
        sizes[name] = int(number)
    if math.prod(sizes.values()) != devices:
        raise ValueError(
            f"--mesh={text} takes {math.prod(sizes.values())} devices, but there are "
            f"{devices}: the numbers must multiply to {devices}."
        )
    return {DATA: 1, **sizes}


def make_mesh(sizes: Mapping[str, int], devices: Sequence[jax.Device]) -> Mesh:
    """The mesh of ``parse_mesh``; neighbours share a model."""
    model = sizes.get(MODEL, 1)
    grid = np.array(devices).reshape(sizes.get(DATA, 1), model)
    # Auto axes: jax.make_mesh would default to explicit ones.
    if model == 1 and MODEL not in sizes:
        return Mesh(grid[:, 0], (DEVICES,), axis_types=(AxisType.Auto,))
    return Mesh(grid, (DEVICES, MODEL), axis_types=(AxisType.Auto,) * 2)


def shardings(state: PyTree, mesh: Mesh, axes: Axes = (), fsdp: bool = False) -> PyTree:
    """The sharding of every array of a state (or of their shapes).

    Args:
      state: params, moments and the like; found by the ends of their paths.
      mesh: of ``make_mesh``.
      axes: which axis of which parameter counts heads, hidden features, ...; those
        that ``RULES`` names are split over the mesh's ``model`` axis.
      fsdp: split the largest axis that is left over the data devices as well
        (Zhao et al. 2023): each then holds its share of parameters and optimizer.

    An axis that does not divide stays whole.
    """

    def of(path: Any, leaf: Any) -> NamedSharding:
        spec: list[str | None] = [None] * len(leaf.shape)
        if MODEL in mesh.axis_names:
            spec = _by_rule(path_name(path), leaf.shape, axes, mesh.shape[MODEL])
        if fsdp:
            _spread_largest(spec, leaf.shape, mesh.shape[DEVICES])
        return NamedSharding(mesh, PartitionSpec(*spec))

    return jax.tree_util.tree_map_with_path(of, state)


def _by_rule(
    path: str, shape: Sequence[int], axes: Axes, size: int
) -> list[str | None]:
    for pattern, counts in axes:
        if len(counts) == len(shape) and re.search(rf"(^|/|_){pattern}$", path):
            return [
                RULES[name] if name in RULES and n % size == 0 else None
                for name, n in zip(counts, shape, strict=True)
            ]
    return [None] * len(shape)


def _spread_largest(spec: list[str | None], shape: Sequence[int], size: int) -> None:
    """Split the largest free axis that divides, in place."""
    free = [i for i, n in enumerate(shape) if spec[i] is None and n and n % size == 0]
    if free and size > 1:
        spec[max(free, key=lambda i: shape[i])] = DEVICES


class Laid(NamedTuple):
    """How an array lies.

    Attributes:
      path, shape: which array.
      split: as ``-, data`` an axis each; ``whole`` where no axis is split.
      bytes: of the whole array.
      held: bytes that one device holds.
    """

    path: str
    shape: tuple[int, ...]
    split: str
    bytes: int
    held: int


def laid_out(state: PyTree) -> list[Laid]:
    """How every array of a placed state lies."""
    rows = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        spec = getattr(leaf.sharding, "spec", ())
        names = [{None: "-", DEVICES: DATA}.get(name, name) for name in spec]
        split = ", ".join(map(str, names)) if any(n != "-" for n in names) else "whole"
        local = math.prod(leaf.sharding.shard_shape(leaf.shape))
        held = leaf.nbytes * local // max(leaf.size, 1)
        rows.append(Laid(path_name(path), leaf.shape, split, leaf.nbytes, held))
    return rows
