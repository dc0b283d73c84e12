"""Metrics: sums that merge by ``+`` on the device, read once on the host.

A step returns a dict of metrics. Each is a pytree that two batches, two
microbatches or two devices merge by adding leaf to leaf: ``Mean`` and
``RootMean`` hold (total, count), a confusion matrix holds counts. Over a run
the host adds them in float64, one step after the other, so that the figures do
not depend on how many steps a dispatch held. What needs a ranking of all
examples (ROC AUC, average precision) is computed on the host from gathered
scores.
"""

import difflib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from jaxdl import sample_metrics

Tree = TypeVar("Tree")


class Mean(NamedTuple):
    """A weighted mean in parts; ``merge`` adds them, ``read`` divides."""

    total: Any
    count: Any

    def read(self) -> Any:
        """The mean; NaN of no examples."""
        return _quotient(self.total, self.count)


class RootMean(NamedTuple):
    """As ``Mean``, and ``read`` takes the square root: the RMSE of squares."""

    total: Any
    count: Any

    def read(self) -> Any:
        """The root of the mean; NaN of no examples."""
        return np.sqrt(_quotient(self.total, self.count))


class ExpMean(NamedTuple):
    """As ``Mean``, and ``read`` takes e to its power: perplexity of losses in nats."""

    total: Any
    count: Any

    def read(self) -> Any:
        """e to the mean; infinity where that is beyond float64, NaN of nothing."""
        with np.errstate(over="ignore"):
            return np.exp(_quotient(self.total, self.count))


# Metrics that ``read`` reads by their own ``read``, all by their name in JSON. A
# metric of another kind is one more NamedTuple of sums with such a function.
KINDS: dict[str, Any] = {"mean": Mean, "root_mean": RootMean, "exp_mean": ExpMean}
KINDS |= sample_metrics.KINDS


def _quotient(total: Any, count: Any) -> np.ndarray:
    total, count = np.asarray(total, np.float64), np.asarray(count, np.float64)
    result = np.full(total.shape, np.nan)
    np.divide(total, count, out=result, where=count != 0)
    return result


# Every metric that jaxdl's objectives and experiments name, and which way is up.
DIRECTIONS = {
    "loss": "min",
    "accuracy": "max",
    "top5_accuracy": "max",
    "precision": "max",
    "recall": "max",
    "f1": "max",
    "roc_auc": "max",
    "average_precision": "max",
    "mae": "min",
    "rmse": "min",
    "perplexity": "min",
    "bits_per_character": "min",
    "exact_match": "max",
    "negative_elbo": "min",
    "importance_weighted_bound": "min",
    "active_latents": "max",
    "knn_accuracy": "max",
    "reconstruction": "min",
    "kl": "min",
    "frechet_distance": "min",
    "class_coverage": "max",
    "generator_loss": "min",
    "discriminator_loss": "min",
}


def direction(name: str) -> str:
    """Whether less or more of a metric is better: ``"min"`` or ``"max"``.

    Raises:
      ValueError: for a metric of the test split, or a name that is unknown.
    """
    if name.startswith("test_"):
        raise ValueError(
            f"{name!r} is a metric of the test split, which is read once, after "
            f"training: monitor the validation metric {name.removeprefix('test_')!r}"
        )
    if name not in DIRECTIONS:
        close = difflib.get_close_matches(name, DIRECTIONS, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ValueError(
            f"unknown metric {name!r}{hint}: choose one of {', '.join(DIRECTIONS)}"
        )
    return DIRECTIONS[name]


# On the device: what a step returns.


def mean(values: Num[Array, "batch *rest"], mask: Float[Array, "batch *rest"]) -> Mean:
    """The masked mean of values, in parts.

    Args:
      values: [batch] or [batch, ...], a value per example (or per token).
      mask: [batch] or the shape of values; what it marks 0 counts nothing, NaN
        included.
    """
    mask = mask.reshape(mask.shape + (1,) * (values.ndim - mask.ndim))
    mask = jnp.broadcast_to(mask, values.shape).astype(jnp.float32)
    kept = jnp.where(mask == 0, jnp.zeros_like(values), values)
    return Mean(jnp.sum(kept * mask), jnp.sum(mask))


def value(x: Any) -> Mean:
    """A plain number of a step (its learning rate), averaged over the steps."""
    x = jnp.asarray(x)
    return Mean(x, jnp.ones_like(x))


def merge(a: Tree, b: Tree) -> Tree:
    """Two metrics, or dicts of them, as one: leaf plus leaf."""
    return jax.tree.map(lambda x, y: x + y, a, b)


def class_indices(
    logits: Num[Array, "*batch classes"], targets: Num[Array, "..."]
) -> Int[Array, "*batch"]:
    """Integer classes of targets given as integers, one-hot or soft rows."""
    if targets.ndim == logits.ndim:
        return jnp.argmax(targets, axis=-1)
    return targets.astype(jnp.int32)


def accuracy(
    logits: Num[Array, "*batch classes"], targets: Num[Array, "..."]
) -> Float[Array, "*batch"]:
    """1.0 for each example whose largest logit is its class, else 0.0.

    Targets are integer classes, one-hot or soft (their largest entry counts).
    """
    right = jnp.argmax(logits, axis=-1) == class_indices(logits, targets)
    return right.astype(jnp.float32)


def top_k_accuracy(
    logits: Num[Array, "*batch classes"], targets: Num[Array, "..."], k: int
) -> Float[Array, "*batch"]:
    """1.0 for each example whose class is among its k largest logits, else 0.0.

    Raises:
      ValueError: if k is not between 1 and the number of classes.
    """
    if not 1 <= k <= logits.shape[-1]:
        raise ValueError(
            f"top-{k} accuracy of {logits.shape[-1]} classes: k is 1 to "
            f"{logits.shape[-1]}"
        )
    # Who is ahead is counted: on a CPU lax.top_k took 2% of an MLP's step. As there,
    # the first of equal ones is ahead, and NaN is large.
    logits = jnp.where(jnp.isnan(logits), jnp.inf, logits)
    places = jnp.arange(logits.shape[-1])
    own = class_indices(logits, targets)[..., None]
    value = jnp.sum(jnp.where(places == own, logits, 0), axis=-1, keepdims=True)
    ahead = (logits > value) | (logits == value) & (places < own)
    known = (own[..., 0] >= 0) & (own[..., 0] < logits.shape[-1])
    return (known & (jnp.sum(ahead, axis=-1) < k)).astype(jnp.float32)


def confusion_matrix(
    targets: Int[Array, " batch"],
    predictions: Int[Array, " batch"],
    classes: int,
    mask: Float[Array, " batch"],
) -> Int[Array, "classes classes"]:
    """Counts of examples by true class (row) and predicted class (column)."""
    counts = jnp.zeros((classes, classes), jnp.int32)
    return counts.at[targets, predictions].add((mask != 0).astype(jnp.int32))


# On the host: over the steps of a run.


def accumulate(
    totals: dict[str, Any] | None, metrics: Mapping[str, Any], *, stacked: bool = True
) -> dict[str, Any]:
    """Adds metrics to host totals, in float64 (integers in int64), step by step.

    The sum runs strictly in step order, so cutting a run into other blocks
    leaves the same bits.

    Args:
      totals: what an earlier call returned, or None to begin.
      metrics: a dict of metrics; where stacked, their leaves lead with an axis of
        steps, as ``lax.scan`` leaves them.
      stacked: False for the metrics of a single step.
    """

    def rows(leaf: Any) -> np.ndarray:
        return _wide(leaf) if stacked else _wide(leaf)[None]

    def added(start: np.ndarray, leaf: Any) -> np.ndarray:
        return _sum_in_order(np.concatenate([start[None], rows(leaf)]))

    if totals is None:
        return jax.tree.map(lambda leaf: _sum_in_order(rows(leaf)), dict(metrics))
    return jax.tree.map(added, totals, dict(metrics))


def _wide(leaf: Any) -> np.ndarray:
    leaf = np.asarray(leaf)
    exact = np.issubdtype(leaf.dtype, np.integer) or leaf.dtype == bool
    return leaf.astype(np.int64 if exact else np.float64)


def _sum_in_order(leaf: np.ndarray) -> np.ndarray:
    # np.sum adds pairwise, which depends on the length; accumulate does not.
    return np.asarray(np.add.accumulate(leaf, axis=0)[-1])


def read(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What metrics say: means as floats (NaN of no examples), arrays as NumPy.

    Members of a vmapped run, where leaves have an axis more, give an array.
    """
    return {name: _read(metric) for name, metric in metrics.items()}


def _read(metric: Any) -> Any:
    result = np.asarray(metric.read() if hasattr(metric, "read") else metric)
    floating = np.issubdtype(result.dtype, np.floating)
    return float(result) if result.ndim == 0 and floating else result


def to_json(totals: Mapping[str, Any]) -> dict[str, Any]:
    """Totals as plain JSON values; ``from_json`` gives the same bits back."""
    kinds = {kind: name for name, kind in KINDS.items()}
    return {
        name: {kinds[type(metric)]: [_pack(part) for part in metric]}
        if type(metric) in kinds
        else {"array": _pack(metric)}
        for name, metric in totals.items()
    }


def from_json(packed: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of ``to_json``."""
    totals: dict[str, Any] = {}
    for name, metric in packed.items():
        ((kind, content),) = metric.items()
        if kind == "array":
            totals[name] = _unpack(content)
        else:
            totals[name] = KINDS[kind](*(_unpack(part) for part in content))
    return totals


def _pack(leaf: Any) -> dict[str, Any]:
    leaf = _wide(leaf)
    # JSON has no NaN and no infinity: those travel as text.
    flat = [x if math.isfinite(x) else repr(x) for x in leaf.ravel().tolist()]
    return {"dtype": leaf.dtype.name, "shape": list(leaf.shape), "values": flat}


def _unpack(packed: Mapping[str, Any]) -> np.ndarray:
    flat = [float(x) if isinstance(x, str) else x for x in packed["values"]]
    return np.array(flat, packed["dtype"]).reshape(packed["shape"])


# On the host: from counts and scores of all examples.


class ClassScores(NamedTuple):
    """Precision, recall and F1 of each class, and how often it is true."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray


def class_scores(matrix: Any) -> ClassScores:
    """Scores of each class of a confusion matrix (rows true); 0 where undefined."""
    matrix = np.asarray(matrix, np.float64)
    hits = np.diagonal(matrix)
    true, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    return ClassScores(
        precision=_ratio(hits, predicted),
        recall=_ratio(hits, true),
        f1=_ratio(2 * hits, true + predicted),
        support=true,
    )


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.zeros_like(a), where=b != 0)


def macro_scores(matrix: Any) -> dict[str, float]:
    """``precision``, ``recall``, ``f1``: means over the classes that occur.

    A class occurs if it is the truth or the prediction of any example, as in
    scikit-learn's ``average="macro"``.
    """
    matrix = np.asarray(matrix, np.float64)
    scores = class_scores(matrix)
    occurs = (matrix.sum(axis=0) + matrix.sum(axis=1)) > 0
    if not occurs.any():
        return dict.fromkeys(("precision", "recall", "f1"), math.nan)
    return {
        "precision": float(scores.precision[occurs].mean()),
        "recall": float(scores.recall[occurs].mean()),
        "f1": float(scores.f1[occurs].mean()),
    }


def roc_auc(scores: Any, targets: Any) -> float:
    """Area under the ROC curve: P(score of a positive > of a negative), ties half.

    The Mann-Whitney rank statistic. NaN where a class lacks either side.

    Args:
      scores: [examples] for the positive class; or [examples, classes], and the
        areas of one class against the rest are averaged.
      targets: [examples] of 0 and 1, or integer classes; or k-hot rows.
    """
    return _one_against_rest(_binary_auc, scores, targets)


def average_precision(scores: Any, targets: Any) -> float:
    """Precision averaged over the steps of recall (no interpolation).

    Arguments as for ``roc_auc``; with classes or labels, their mean (mAP).
    """
    return _one_against_rest(_binary_average_precision, scores, targets)


def _one_against_rest(binary: Any, scores: Any, targets: Any) -> float:
    scores, targets = np.asarray(scores, np.float64), np.asarray(targets)
    if scores.shape[0] != targets.shape[0]:
        raise ValueError(
            f"{scores.shape[0]} rows of scores against {targets.shape[0]} targets"
        )
    if scores.ndim == 1:
        return binary(scores, targets != 0)
    if targets.ndim == 1:
        targets = targets[:, None] == np.arange(scores.shape[1])
    # A class without positives or without negatives has no ranking.
    ranked = [
        column
        for column in range(scores.shape[1])
        if 0 < np.count_nonzero(targets[:, column]) < len(targets)
    ]
    areas = [binary(scores[:, c], targets[:, c] != 0) for c in ranked]
    return float(np.mean(areas)) if areas else math.nan


def _binary_auc(scores: np.ndarray, positive: np.ndarray) -> float:
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives or np.isnan(scores).any():
        return math.nan
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    # Equal scores share the mean of the ranks that they fill.
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    above = ranks[positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def _binary_average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    if not positive.any() or np.isnan(scores).any():
        return math.nan
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(positive[order])
    last = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    precision, recall = hits[last] / (last + 1), hits[last] / hits[-1]
    return float(np.sum(precision * np.diff(recall, prepend=0.0)))
