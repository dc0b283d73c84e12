"""A step that was not finite: said in a line, and kept with its batch and state."""

import io
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxdl.batch import Batch
from jaxdl.parameters import path_name
from jaxdl.runs.folder import RunFolder, write_bytes
from jaxdl.train.nonfinite import before_failure, explain
from jaxdl.train.step import Step

ADVICE = "Try a lower --learning_rate, --clip_norm=1, or --on_nonfinite=skip."


def keep(folder: RunFolder, step: Step, state: PyTree, batch: Batch) -> str:
    """Write ``failure.npz``, arrays by path below ``batch/`` and ``state/``, and say
    what was not finite.

    Args:
      folder: of the run.
      step: its step, made with ``on_nonfinite="stop"``.
      state: as it stopped, or as it was before the step.
      batch: that of the step.

    Returns:
      A line without its end.
    """
    state, batch = _here(before_failure(state)), _here(batch)
    arrays = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(
        {"batch": batch, "state": state}
    ):
        arrays[path_name(path)] = _plain(leaf)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    write_bytes(folder.failure, content.getvalue())
    found = explain(step, state, batch)
    told = f" (first {', then '.join(found)})" if found else ""
    return (
        f"step {int(state.step)} was not finite{told}: stopped before it. Its batch "
        f"and state are in {folder.failure}."
    )


def _here(tree: PyTree) -> PyTree:
    """The same tree, on no device in particular."""

    def take(leaf: Any) -> Any:
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return np.asarray(leaf)
        data = jnp.asarray(np.asarray(jax.random.key_data(leaf)))
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))

    return jax.tree.map(take, tree)


def _plain(leaf: Any) -> np.ndarray:
    """An array in a type that NumPy writes without pickling."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    array = np.asarray(leaf)
    return array.astype(np.float32) if array.dtype.kind == "V" else array
