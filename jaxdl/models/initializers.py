"""Initializers of weights by name."""

from collections.abc import Callable

from flax.typing import Initializer
from jax.nn import initializers

from jaxdl.models.activations import RECTIFIERS

# "xavier" and "he" are the books': standard deviation sqrt(1/n) and sqrt(2/n) of a
# normal distribution, n the inputs of a unit. Flax's and Keras's glorot averages
# inputs and outputs.
INITIALIZERS: dict[str, Callable[[], Initializer]] = {
    "glorot": initializers.glorot_uniform,
    "he": lambda: initializers.variance_scaling(2.0, "fan_in", "normal"),
    "lecun": initializers.lecun_normal,
    "normal": lambda: initializers.normal(1.0),
    "orthogonal": initializers.orthogonal,
    "xavier": lambda: initializers.variance_scaling(1.0, "fan_in", "normal"),
    "zeros": lambda: initializers.zeros,
}


def initializer(name: str, activation: str = "identity") -> Initializer:
    """The initializer of a layer's weights.

    Args:
      name: a key of ``INITIALIZERS``; "normal" is N(0, 1), "normal:0.01" has
        standard deviation 0.01; "auto" is "he" before the ReLU family and "xavier"
        before S-shaped functions, SELU and outputs.
      activation: the name of the function that follows the layer.

    Raises:
      ValueError: an unknown name, or a standard deviation that isn't positive.
    """
    if name == "auto":
        name = "he" if activation in RECTIFIERS else "xavier"
    kind, colon, value = name.partition(":")
    if kind == "normal" and colon:
        return initializers.normal(_standard_deviation(value))
    if name not in INITIALIZERS:
        known = ", ".join(["auto", *sorted(INITIALIZERS), "normal:STD"])
        raise ValueError(f"unknown initializer {name!r}: give one of {known}")
    return INITIALIZERS[name]()


def _standard_deviation(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ValueError(
            f"initializer 'normal:{text}' has no standard deviation: give a positive "
            "number, as in normal:0.01"
        )
    return value
