"""What a task asks of its last layer: activation, loss, encoding of targets."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdl.objectives import losses


def identity(x: Array) -> Array:
    """The values as they are: what a regression model gives."""
    return x


def one_hot(labels: Iterable[int], classes: int) -> np.ndarray:
    """Rows [examples, classes] with 1.0 at each example's class.

    Raises:
      ValueError: if a label is not one of 0 to classes - 1.
    """
    return k_hot([[label] for label in labels], classes)


def k_hot(labels: Sequence[Iterable[int]], classes: int) -> np.ndarray:
    """Rows [examples, classes] with 1.0 at every label of an example.

    Raises:
      ValueError: if a label is not one of 0 to classes - 1.
    """
    rows = np.zeros((len(labels), classes), np.float32)
    for row, of_example in zip(rows, labels, strict=True):
        for label in of_example:
            if not 0 <= label < classes:
                raise ValueError(
                    f"label {label} is none of the {classes} classes: labels are "
                    f"0 to {classes - 1}"
                )
            row[label] = 1.0
    return rows


def binary_targets(labels: Iterable[int], classes: int = 2) -> np.ndarray:
    """[examples] of 0.0 and 1.0.

    Raises:
      ValueError: if a label is neither 0 nor 1.
    """
    return one_hot(labels, classes)[:, 1]


def values(targets: Any, classes: int = 1) -> np.ndarray:
    """Targets of a regression, float32 as they are."""
    del classes
    return np.asarray(targets, np.float32)


def probabilities(
    logits: Float[Array, "batch outputs"],
) -> Float[Array, "batch classes"]:
    """Of each class, from a logit a class; from a single one, of no and of yes."""
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    if logits.shape[-1] == 1:
        logits = jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1)
    return jax.nn.softmax(logits, axis=-1)


class Head(NamedTuple):
    """How outputs are read, what they cost, what targets look like."""

    activation: Callable[[Array], Array]
    loss: Callable[[Array, Array], Array]
    encode: Callable[..., np.ndarray]


HEADS = {
    "binary": Head(jax.nn.sigmoid, losses.binary_cross_entropy, binary_targets),
    "multiclass": Head(jax.nn.softmax, losses.cross_entropy, one_hot),
    "multilabel": Head(jax.nn.sigmoid, losses.binary_cross_entropy, k_hot),
    "regression": Head(identity, losses.mse, values),
}
