"""The shape of a supervised objective: forward, a loss per example, metrics."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxdl.batch import Batch, Context, context, mask_of
from jaxdl.metrics import Mean
from jaxdl.objectives import losses

Params = Any
ModelState = Any
Hyper = Mapping[str, Any]
Metrics = dict[str, Any]

# forward(params, model_state, inputs, context, key) -> (outputs, model_state)
Forward = Callable[
    [Params, ModelState, Any, Context, Key[Array, ""] | None], tuple[Any, ModelState]
]
# prepare(batch, key, training) -> batch
Prepare = Callable[[Batch, Key[Array, ""] | None, bool], Batch]
# ((loss sum, count), (model_state, metrics))
Result = tuple[tuple[Array, Array], tuple[ModelState, Metrics]]
# objective(params, model_state, hyper, batch, key, training)
Objective = Callable[
    [Params, ModelState, Hyper, Batch, Key[Array, ""] | None, bool], Result
]
# loss(outputs, targets) -> [batch], or [batch, ...] where ``weigh`` says what counts
Loss = Callable[[Any, Any], Float[Array, "batch *rest"]]
# measure(outputs, targets, mask) -> metrics besides the loss
Measure = Callable[[Any, Any, Float[Array, "batch *rest"]], Metrics]
# weigh(targets, mask) -> what counts, in the shape of the loss
Weigh = Callable[[Any, Float[Array, " batch"]], Float[Array, "batch *rest"]]

# Which draw a key is for; folded into it, so that uses never share one.
PREPARE, MODEL = 0, 1


def supervised(
    forward: Forward,
    loss: Loss,
    measure: Measure,
    prepare: Prepare | None = None,
    weigh: Weigh | None = None,
) -> Objective:
    """An objective over ``inputs`` and ``targets``; the loss pair is (sum, count).

    Masked examples count nothing in loss, gradient or metrics, whatever they
    hold: their inputs and targets are set to zero before the model sees them,
    since 0 * NaN in a backward pass is NaN.

    Args:
      forward: ``jaxdl.models.apply.forward(model)``, or any function of its shape.
      loss: loss(outputs, targets), a value per example [batch] (or per token).
      measure: measure(outputs, targets, mask), the metrics besides ``loss``.
      prepare: prepare(batch, key, training), pure preprocessing inside the step.
      weigh: weigh(targets, mask), what counts in place of the mask: tokens that are
        no padding.
    """

    def objective(
        params: Params,
        model_state: ModelState,
        hyper: Hyper,
        batch: Batch,
        key: Key[Array, ""] | None,
        training: bool,
    ) -> Result:
        batch = without_padding(batch)
        if prepare is not None:
            batch = without_padding(prepare(batch, key_for(key, PREPARE), training))
        outputs, model_state = forward(
            params,
            model_state,
            batch["inputs"],
            context(batch, hyper, training),
            key_for(key, MODEL),
        )
        mask = mask_of(batch)
        if weigh is not None:
            mask = weigh(batch["targets"], mask)
        pair = losses.total(loss(outputs, batch["targets"]), mask)
        measured = measure(outputs, batch["targets"], mask)
        return pair, (model_state, {"loss": Mean(*pair), **measured})

    return objective


def key_for(key: Key[Array, ""] | None, use: int) -> Key[Array, ""] | None:
    """The key of one use; None (evaluation draws nothing) stays None."""
    return None if key is None else jax.random.fold_in(key, use)


def without_padding(batch: Batch) -> Batch:
    """The batch with zeros for inputs and targets of masked examples."""
    if "mask" not in batch:
        return batch
    real = mask_of(batch) != 0

    def clean(leaf: Array) -> Array:
        keep = real.reshape(real.shape[:1] + (1,) * (leaf.ndim - 1))
        return jnp.where(keep, leaf, jnp.zeros_like(leaf))

    cleaned = {
        name: jax.tree.map(clean, batch[name])
        for name in ("inputs", "targets")
        if name in batch
    }
    return {**batch, **cleaned}
