"""Objectives that name a class: one of many, yes or no, or several labels."""

from functools import partial

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxdl.batch import Batch
from jaxdl.metrics import Mean, accuracy, mean, top_k_accuracy
from jaxdl.objectives import losses
from jaxdl.objectives.supervised import (
    Forward,
    Hyper,
    ModelState,
    Objective,
    Params,
    Prepare,
    Result,
    supervised,
)


def classification(
    forward: Forward,
    *,
    classes: int | None = None,
    label_smoothing: float = 0.0,
    prepare: Prepare | None = None,
    top5: bool = False,
) -> Objective:
    """Softmax cross-entropy of one class among many.

    Metrics: ``loss``, ``accuracy`` and, where asked, ``top5_accuracy``. With
    soft targets (mixup) accuracy is against the largest entry.

    Args:
      forward: gives logits [batch, classes].
      classes: how many the model must give; None takes what it gives.
      label_smoothing: in [0, 1), for training alone: evaluation measures the data.
      prepare: prepare(batch, key, training) -> batch, inside the step.
      top5: also count whether the class is among the five largest logits.

    Raises:
      ValueError: if label_smoothing is out of range; while tracing, if the model
        gives another number of classes.
    """
    losses.check_label_smoothing(label_smoothing)

    def measure(
        logits: Array, targets: Array, mask: Float[Array, " batch"]
    ) -> dict[str, Mean]:
        if classes is not None and logits.shape[-1] != classes:
            raise ValueError(
                f"the model gives {logits.shape[-1]} classes and the data has "
                f"{classes}: build the model with {classes} classes"
            )
        measured = {"accuracy": mean(accuracy(logits, targets), mask)}
        if top5:
            best = top_k_accuracy(logits, targets, 5)
            measured["top5_accuracy"] = mean(best, mask)
        return measured

    smoothed = partial(losses.cross_entropy, label_smoothing=label_smoothing)
    train = supervised(forward, smoothed, measure, prepare)
    evaluate = supervised(forward, losses.cross_entropy, measure, prepare)

    def objective(
        params: Params,
        model_state: ModelState,
        hyper: Hyper,
        batch: Batch,
        key: Key[Array, ""] | None,
        training: bool,
    ) -> Result:
        chosen = train if training else evaluate
        return chosen(params, model_state, hyper, batch, key, training)

    return objective


def binary(
    forward: Forward,
    *,
    multilabel: bool = False,
    prepare: Prepare | None = None,
) -> Objective:
    """Sigmoid cross-entropy of a yes or no, or of several independent labels.

    Metrics: ``loss`` and ``accuracy`` (a logit above 0 says yes; over labels,
    the share that is right) and, where multilabel, ``exact_match`` (all right).

    Args:
      forward: gives logits [batch], [batch, 1] or [batch, labels].
      multilabel: whether targets are k-hot rows [batch, labels].
      prepare: prepare(batch, key, training) -> batch, inside the step.
    """

    def measure(
        logits: Array, targets: Array, mask: Float[Array, " batch"]
    ) -> dict[str, Mean]:
        targets = targets.reshape(logits.shape)
        right = ((logits > 0) == (targets > 0.5)).astype(jnp.float32)
        right = right.reshape(right.shape[0], -1)
        measured = {"accuracy": mean(jnp.mean(right, axis=1), mask)}
        if multilabel:
            measured["exact_match"] = mean(jnp.min(right, axis=1), mask)
        return measured

    return supervised(forward, losses.binary_cross_entropy, measure, prepare)
