"""What a finished model got wrong, and what it sees inside."""

from typing import Any

import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict
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


def feature_maps(
    module: nn.Module, variables: Any, *args: Any, **kwargs: Any
) -> dict[str, np.ndarray]:
    """What every layer inside a Linen module puts out, by its path.

    The arguments after ``variables`` are those of ``module.apply``. Layers that
    return something other than one array are left out; of a layer that is called
    more than once, the last call counts.

    Returns:
      ``{"Conv_0": [batch, height, width, channels], ...}`` in order of calling.
    """
    _, changed = module.apply(
        variables,
        *args,
        capture_intermediates=True,
        mutable=["intermediates"],
        **kwargs,
    )
    outputs = {}
    for path, calls in flatten_dict(changed["intermediates"]).items():
        name = "/".join(path[:-1])
        if name and path[-1] == "__call__" and hasattr(calls[-1], "shape"):
            outputs[name] = np.asarray(calls[-1])
    return outputs
