"""What a finished model got wrong."""

import numpy as np
from jaxtyping import ArrayLike, Float, Int


def worst(
    probabilities: Float[ArrayLike, "examples classes"],
    targets: Int[ArrayLike, " examples"],
    count: int,
) -> Int[np.ndarray, " worst"]:
    """Indices of the examples that are classified worst, the worst first.

    Those whose true class got the lowest probability; ties, in example order.
    NaN counts as worst of all. At most ``count`` of them.
    """
    true = np.asarray(probabilities)[np.arange(np.size(targets)), np.asarray(targets)]
    order = np.argsort(np.where(np.isnan(true), -1.0, true), kind="stable")
    return order[:count]


def misclassified(
    probabilities: Float[ArrayLike, "examples classes"],
    targets: Int[ArrayLike, " examples"],
) -> Int[np.ndarray, " wrong"]:
    """Indices of the examples whose likeliest class is not theirs, in order."""
    predictions = np.argmax(np.asarray(probabilities), axis=-1)
    return np.flatnonzero(predictions != np.asarray(targets))
