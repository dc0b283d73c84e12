"""What a tree of arrays looks like, and where two differ, in words."""

import jax
from jaxtyping import PyTree

from jaxdl.parameters import path_name


def shapes(tree: PyTree, weak: bool = False) -> dict[str, str]:
    """Path to type of every array, e.g. ``params/Dense_0/kernel: float32[64,10]``; with
    ``weak`` also which types are weak, as compiled functions tell them apart."""
    rows = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        told = " (weak)" if weak and getattr(leaf, "weak_type", False) else ""
        shape = ",".join(map(str, leaf.shape))
        rows[path_name(path)] = f"{leaf.dtype}[{shape}]{told}"
    return rows


def shape_difference(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """Readable lines of what differs between two ``shapes``."""
    return [
        f"{name} is {old.get(name, 'absent')} there and {new.get(name, 'absent')} here"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]
