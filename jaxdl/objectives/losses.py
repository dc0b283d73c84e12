"""Losses: what an example costs, and penalties on parameters.

A loss gives a value per example (or per token); ``total`` reduces it to the
pair (sum, count) that an objective returns. Logits of half precision are raised
to float32 first. Under ``jax.enable_x64`` float64 stays float64.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from jaxdl import metrics
from jaxdl.parameters import decay_mask

Params = Any
Scalar = Float[Array, ""]


def total(
    per_example: Float[Array, "batch *rest"], mask: Float[Array, "batch *rest"]
) -> metrics.Mean:
    """The pair (sum, count) of a loss; masked examples count nothing, even NaN."""
    return metrics.mean(per_example, mask)


def cross_entropy(
    logits: Num[Array, "*batch classes"],
    targets: Num[Array, "..."],
    label_smoothing: float = 0.0,
) -> Float[Array, "*batch"]:
    """Softmax cross-entropy in nats: -sum_k t_k log softmax(logits)_k.

    Its gradient by the logits is softmax(logits) - t. Computed from the
    log-sum-exp, so logits of any size are safe.

    Args:
      logits: [..., classes], unnormalised log probabilities.
      targets: integer classes [...], or one-hot or soft rows [..., classes] that
        sum to one. An integer outside the classes gives NaN.
      label_smoothing: s in [0, 1): targets become (1 - s) t + s / classes
        (Szegedy et al. 2016, section 7).

    Raises:
      ValueError: if the shapes do not fit or label_smoothing is out of range.
    """
    check_label_smoothing(label_smoothing)
    log_probabilities = jax.nn.log_softmax(_at_least_float32(logits), axis=-1)
    if targets.shape == logits.shape:
        # A class of probability 0 that is no target costs nothing, not 0 * inf.
        costs = jnp.where(targets == 0, 0.0, -targets * log_probabilities)
        loss = jnp.sum(costs, axis=-1)
    elif targets.shape == logits.shape[:-1] and jnp.issubdtype(
        targets.dtype, jnp.integer
    ):
        # JAX would count a negative index from the end: make it out of range.
        classes = jnp.where(targets < 0, logits.shape[-1], targets)
        loss = -jnp.take_along_axis(
            log_probabilities, classes[..., None], axis=-1, mode="fill"
        ).squeeze(-1)
    else:
        raise ValueError(
            f"targets of shape {targets.shape} and type {targets.dtype} do not fit "
            f"logits of shape {logits.shape}: give integer classes of shape "
            f"{logits.shape[:-1]}, or one-hot or soft rows of shape {logits.shape}"
        )
    if label_smoothing:
        uniform = -jnp.mean(log_probabilities, axis=-1)
        loss = (1 - label_smoothing) * loss + label_smoothing * uniform
    return loss


def check_label_smoothing(label_smoothing: float) -> None:
    """Raises a ValueError unless label_smoothing is at least 0 and below 1."""
    if not 0 <= label_smoothing < 1:
        raise ValueError(
            f"label smoothing is at least 0 and below 1, got {label_smoothing}"
        )


def binary_cross_entropy(
    logits: Num[Array, "batch *labels"], targets: Num[Array, "batch *labels"]
) -> Float[Array, " batch"]:
    """-t log s(z) - (1 - t) log(1 - s(z)) of logits z, the mean over labels.

    Args:
      logits: [batch], [batch, 1], or [batch, labels] for independent labels.
      targets: 0 to 1, of the same shape ([batch] fits [batch, 1]).
    """
    logits, targets = _same_shape(logits, targets)
    costs = -targets * jax.nn.log_sigmoid(logits)
    return _per_example(costs - (1 - targets) * jax.nn.log_sigmoid(-logits))


def mse(
    outputs: Num[Array, "batch *rest"],
    targets: Num[Array, "batch *rest"],
    half: bool = False,
) -> Float[Array, " batch"]:
    """The squared error, the mean over all axes but the first; half of it if half."""
    outputs, targets = _same_shape(outputs, targets)
    loss = _per_example(jnp.square(outputs - targets))
    return loss / 2 if half else loss


def sum_squared_error(
    outputs: Num[Array, "batch *rest"], targets: Num[Array, "batch *rest"]
) -> Float[Array, " batch"]:
    """Half the sum of squared errors of each example: 1/2 sum_k (y_k - t_k)^2."""
    outputs, targets = _same_shape(outputs, targets)
    return _per_example(jnp.square(outputs - targets), jnp.sum) / 2


def mae(
    outputs: Num[Array, "batch *rest"], targets: Num[Array, "batch *rest"]
) -> Float[Array, " batch"]:
    """The absolute error, the mean over all axes but the first."""
    outputs, targets = _same_shape(outputs, targets)
    return _per_example(jnp.abs(outputs - targets))


def huber(
    outputs: Num[Array, "batch *rest"],
    targets: Num[Array, "batch *rest"],
    delta: float = 1.0,
) -> Float[Array, " batch"]:
    """Half the squared error up to delta, linear beyond it (Huber 1964)."""
    if not delta > 0:
        raise ValueError(f"the delta of huber is above 0, got {delta}")
    outputs, targets = _same_shape(outputs, targets)
    error = jnp.abs(outputs - targets)
    square = jnp.minimum(error, delta)
    return _per_example(square * square / 2 + delta * (error - square))


def l2(params: Params, rate: float | Scalar) -> Scalar:
    """rate / 2 * sum W^2 over the weights; its gradient is rate * W.

    Biases and norm scales are spared (``jaxdl.parameters.decay_mask``).
    """
    return rate / 2 * _over_weights(jnp.square, params)


def l1(params: Params, rate: float | Scalar) -> Scalar:
    """rate * sum |W| over the weights; biases and norm scales are spared."""
    return rate * _over_weights(jnp.abs, params)


def _over_weights(cost: Any, params: Params) -> Scalar:
    leaves, mask = jax.tree.leaves(params), jax.tree.leaves(decay_mask(params))
    costs = [
        jnp.sum(cost(_at_least_float32(leaf)))
        for leaf, weight in zip(leaves, mask, strict=True)
        if weight
    ]
    return sum(costs, start=jnp.zeros(()))


def _at_least_float32(x: Num[Array, "*shape"]) -> Float[Array, "*shape"]:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _per_example(costs: Array, reduce: Any = jnp.mean) -> Float[Array, " batch"]:
    return reduce(costs.reshape(costs.shape[0], -1), axis=1)


def _same_shape(outputs: Array, targets: Array) -> tuple[Array, Array]:
    """Both in the shape of outputs and at least float32.

    Without the check [batch] and [batch, 1] would broadcast to a square.
    """
    if outputs.shape == (*targets.shape, 1):
        targets = targets[..., None]
    if outputs.shape != targets.shape:
        raise ValueError(
            f"targets of shape {targets.shape} do not fit outputs of shape "
            f"{outputs.shape}: they must be of one shape"
        )
    return _at_least_float32(outputs), _at_least_float32(targets)
