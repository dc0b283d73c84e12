"""Steps whose loss, metrics or gradient are not finite: what becomes of the state,
and which step, metric and parameter it was.

Under "stop" the state stays as it was before such a step, whatever steps come after
(the host reads metrics late), and its negative step says which one it was.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PyTree

from jaxdl.batch import Batch
from jaxdl.metrics import value
from jaxdl.parameters import path_name
from jaxdl.train.norms import sum_of_squares
from jaxdl.train.state import State

Metrics = dict[str, Any]

ON_NONFINITE = ("stop", "skip", "ignore")


def culprit(metrics: PyTree, squares: Sequence[Array]) -> Int[Array, ""]:
    """0 where metrics and gradients are finite; 1 for a metric; 2 and more for the
    first gradient that is not, by their sums of squares in the order of the tree."""
    bad = ~jnp.stack([jnp.asarray(True), *map(jnp.isfinite, squares)])
    place = jnp.argmax(bad)
    told = ~jnp.all(jnp.stack([_finite(x) for x in jax.tree.leaves(metrics)]))
    return jnp.where(place > 0, place + 1, told).astype(jnp.int32)


def _finite(leaf: Array) -> Bool[Array, ""]:
    if not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return jnp.asarray(True)
    return jnp.isfinite(leaf if leaf.ndim == 0 else sum_of_squares(leaf))


def guarded_update(
    on_nonfinite: str,
    bad: Int[Array, ""],
    update: Callable[[State, PyTree], State],
    grads: PyTree,
    old: State,
    metrics: Metrics,
) -> tuple[State, Metrics]:
    """State and metrics of a step, by the rule for one that is not finite: the update
    by its gradient, or the state as it was.

    Chosen before the update and not leaf by leaf after it, where XLA computes moments
    twice: 0.5% of an MLP's step and not 2.3% (``experiments.benchmark
    --measure=guard``). Vmapped, the condition becomes that choice again.

    Args:
      on_nonfinite: one of ``ON_NONFINITE``.
      bad: the ``culprit`` of gradient and metrics.
      update: the state after a gradient, from the one before; a step on.
      grads: the gradient.
      old: the state before the step.
      metrics: of the step.
    """
    if on_nonfinite == "ignore":
        return update(old, grads), metrics
    # The branch does without; but on a CPU that MLP then lost 1.8%, with this 0.5%.
    grads = jax.tree.map(lambda g: jnp.where(bad == 0, g, jnp.zeros_like(g)), grads)
    kept = jax.lax.cond(
        goes_on(on_nonfinite, bad, old),
        update,
        lambda old, grads: old.replace(step=old.step + 1),
        old.replace(key=None),
        grads,
    )
    return _told(on_nonfinite, bad, kept.replace(key=old.key), old, metrics)


def guarded(
    on_nonfinite: str, bad: Int[Array, ""], new: State, old: State, metrics: Metrics
) -> tuple[State, Metrics]:
    """The same, where the state after the step is there already. What is one object in
    both needs no choice."""
    if on_nonfinite == "ignore":
        return new, metrics
    kept = _keep_if(goes_on(on_nonfinite, bad, old), new, old)
    return _told(on_nonfinite, bad, kept, old, metrics)


def goes_on(on_nonfinite: str, bad: Int[Array, ""], old: State) -> Bool[Array, ""]:
    """Whether the state moves; under "stop" it never does again."""
    if on_nonfinite == "ignore":
        return jnp.asarray(True)
    return (bad == 0) & (old.step >= 0) if on_nonfinite == "stop" else bad == 0


def _told(
    on_nonfinite: str, bad: Int[Array, ""], kept: State, old: State, metrics: Metrics
) -> tuple[State, Metrics]:
    """Under "skip" a count; under "stop" the step that failed, in the state too."""
    if on_nonfinite == "skip":
        return kept, {**metrics, "skipped": value((bad > 0).astype(jnp.float32))}
    failed = old.step < 0
    bad = jnp.where(failed, jnp.maximum(bad, 1), bad)
    step = jnp.where(failed, old.step, jnp.where(bad > 0, -1 - old.step, kept.step))
    told = value(bad.astype(jnp.float32))
    return kept.replace(step=step), {**metrics, "nonfinite": told}


def _keep_if(finite: Bool[Array, ""], new: State, old: State) -> State:
    """The new state where the step was finite, else the old one, a step on."""
    chosen = jax.tree.map(
        lambda n, o: n if n is o else jnp.where(finite, n, o),
        new.replace(key=None),
        old.replace(key=None),
    )
    return chosen.replace(key=old.key, step=new.step)


def failed_step(state: PyTree) -> int | None:
    """The step (from 0) that was not finite and before which the state stopped; None
    where there was none."""
    step = getattr(state, "step", None)
    if step is None or np.ndim(step) or int(step) >= 0:
        return None
    return -1 - int(step)


def before_failure(state: PyTree) -> PyTree:
    """A state that stopped at a step that was not finite, as it was before it."""
    failed = failed_step(state)
    if failed is None:
        return state
    return state.replace(step=jnp.full_like(state.step, failed))


def explain(
    step: Callable[[PyTree, Batch], Any], state: PyTree, batch: Batch
) -> list[str]:
    """What is not finite in a batch, in a state, and in the step from one over the
    other; in this order, for what comes first is the cause of the rest.

    Args:
      step: made with ``on_nonfinite="stop"``.
      state: as it was before the step.
      batch: which it took.

    Returns:
      Phrases such as "inputs of its example 3 (nan)"; empty where all is finite.
    """
    found = _of_batch(batch)
    found += [f"{name} ({told})" for name, told in _not_finite(state)]
    _, metrics = jax.jit(step)(state, batch)
    found += _of_metrics(metrics)
    code = int(metrics["nonfinite"].total) if "nonfinite" in metrics else 0
    if code > 1:
        paths = jax.tree_util.tree_leaves_with_path(state.params)
        found.append(f"the gradient of {path_name(paths[code - 2][0])}")
    return found


def _of_batch(batch: Batch) -> list[str]:
    found = []
    for name, told in _not_finite(dict(batch)):
        array = np.asarray(batch[name.split("/")[0]])
        rows = ~np.isfinite(array.astype(np.float32)).reshape(len(array), -1)
        found.append(
            f"{name} of its example {int(np.argmax(rows.any(axis=1)))} ({told})"
        )
    return found


def _of_metrics(metrics: Mapping[str, Any]) -> list[str]:
    """The loss first: the others follow it."""
    names = sorted(metrics, key=lambda name: (name != "loss", name))
    return [
        f"the metric {name} ({told[0][1]})"
        for name in names
        if name != "nonfinite" and (told := _not_finite(metrics[name]))
    ]


def _not_finite(tree: PyTree) -> list[tuple[str, str]]:
    """Path and first value of every float array that is not finite."""
    found = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            continue
        array = np.asarray(leaf, np.float32)
        bad = array[~np.isfinite(array)]
        if bad.size:
            found.append((path_name(path), str(bad.flat[0])))
    return found
