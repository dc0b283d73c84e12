"""What a tree of arrays looks like, and where two differ, in words."""

import jax
from jaxtyping import PyTree

from jaxdl.parameters import path_name


def shapes(tree: PyTree) -> dict[str, str]:
    """Path to type of every array, e.g. ``params/Dense_0/kernel: float32[64,10]``."""
    rows = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        rows[path_name(path)] = f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
    return rows


def shape_difference(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """Readable lines of what differs between two ``shapes``."""
    return [
        f"{name} is {old.get(name, 'absent')} there and {new.get(name, 'absent')} here"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]
