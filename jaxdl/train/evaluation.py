"""Evaluation: every example once, the padded last batch included."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from jaxdl.batch import Batch
from jaxdl.metrics import Mean, accumulate, read
from jaxdl.train.packing import unpack
from jaxdl.train.state import State, evaluation_params
from jaxdl.train.step import Metrics, Objective

# Evaluation draws (a VAE's noise, say) the same numbers at every check.
EVALUATION_SEED = 0

Evaluation = Callable[[Any, Batch], Metrics]


def make_evaluation(objective: Objective) -> Evaluation:
    """``(state, batch) -> metrics``: pure sums over the unmasked examples, with
    the moving average of the parameters where the state has one."""

    def evaluation(state: State, batch: Batch) -> Metrics:
        (total, count), (_, metrics) = objective(
            evaluation_params(state),
            state.model_state,
            state.hyper,
            batch,
            jax.random.key(EVALUATION_SEED),
            False,
        )
        return {"loss": Mean(total, count), **metrics}

    return evaluation


def dispatch_evaluation(
    evaluation: Evaluation,
    state: Any,
    batches: Iterable[Batch],
    *,
    stacked: bool = False,
) -> Callable[[], dict[str, Any]]:
    """Have the devices measure a state over all batches; what is returned waits for
    them, and reads metrics, merged on the host in float64.

    ``evaluation`` should be compiled (``jax.jit`` or a way's ``evaluation``), and may
    pack its metrics (``jaxdl.train.packing``). Where ``stacked``, it takes stacks of
    batches, and its metrics lead with an axis of them.
    """
    results = [evaluation(state, batch) for batch in batches]
    if not results:
        raise ValueError("there is no batch to evaluate: the split is empty.")
    joined = np.concatenate if stacked else np.stack

    def values() -> dict[str, Any]:
        fetched = jax.device_get(results)
        rows = jax.tree.map(lambda *leaves: joined(leaves), *fetched)
        return read(accumulate(None, unpack(rows)))

    return values


def evaluate(
    evaluation: Evaluation, state: Any, batches: Iterable[Batch]
) -> dict[str, Any]:
    """Metrics of a state over all batches: as ``dispatch_evaluation``, awaited."""
    return dispatch_evaluation(evaluation, state, batches)()


def measure(
    objective: Objective, batches: Iterable[Batch]
) -> Callable[[Any], dict[str, Any]]:
    """State to metrics over batches that may be gone through again and again: what
    ``fit`` takes as ``evaluate``."""
    evaluation = jax.jit(make_evaluation(objective))
    return lambda state: evaluate(evaluation, state, batches)


def predict(
    function: Callable[[Any, Batch], Any],
    state: Any,
    batches: Iterable[Batch],
    fetch: Callable[[Any], Any] = jax.device_get,
) -> Any:
    """``function(state, batch)`` of every example, in example order.

    The outputs of padding are dropped; leaves of the result are NumPy arrays
    with one row an example. ``fetch`` gets such arrays from the devices, which may be
    those of several processes.
    """
    outputs, masks = [], []
    for batch in batches:
        outputs.append(function(state, batch))
        masks.append(batch["mask"])
    real = [np.asarray(mask) > 0 for mask in fetch(masks)]
    parts = fetch(outputs)
    return jax.tree.map(
        lambda *leaves: np.concatenate(
            [leaf[keep] for leaf, keep in zip(leaves, real, strict=True)]
        ),
        *parts,
    )
