"""The perceptron, its learning rule, logic gates, and where a model decides what."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

# What every gate is asked, and what it answers.
INPUTS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
TRUTH = {
    "AND": np.array([0, 0, 0, 1], np.float32),
    "NAND": np.array([1, 1, 1, 0], np.float32),
    "OR": np.array([0, 1, 1, 1], np.float32),
    "XOR": np.array([0, 1, 1, 0], np.float32),
}


class Perceptron(NamedTuple):
    """One unit that fires or does not (Rosenblatt 1958).

    Attributes:
      weights: [inputs], how much each input matters.
      bias: how easily it fires: at 0 inputs it does above 0.
    """

    weights: Float[ArrayLike, " inputs"]
    bias: Float[ArrayLike, ""]

    def __call__(self, x: Float[ArrayLike, "*batch inputs"]) -> Float[Array, "*batch"]:
        """1.0 where weights and inputs add up to more than -bias, else 0.0."""
        total = jnp.asarray(x) @ jnp.asarray(self.weights) + self.bias
        return (total > 0).astype(jnp.float32)


# Weights set by hand (Saitoh 2016, chapter 2): only they tell the gates apart.
GATES = {
    "AND": Perceptron(np.array([0.5, 0.5], np.float32), -0.7),
    "NAND": Perceptron(np.array([-0.5, -0.5], np.float32), 0.7),
    "OR": Perceptron(np.array([0.5, 0.5], np.float32), -0.2),
}


def xor(x: Float[ArrayLike, "*batch inputs"]) -> Float[Array, "*batch"]:
    """XOR by two layers: AND of NAND and OR. No single perceptron computes it."""
    hidden = jnp.stack([GATES["NAND"](x), GATES["OR"](x)], axis=-1)
    return GATES["AND"](hidden)


class Learned(NamedTuple):
    """What the learning rule came to.

    Attributes:
      perceptron: after the last epoch.
      best: the one that was right most often ("pocket", Gallant 1990).
      path: a perceptron after each epoch, stacked.
      accuracy: [epochs], of each of those.
    """

    perceptron: Perceptron
    best: Perceptron
    path: Perceptron
    accuracy: Float[Array, " epochs"]


def learn_perceptron(
    x: Float[ArrayLike, "examples inputs"],
    targets: Float[ArrayLike, " examples"],
    epochs: int = 20,
    rate: float = 0.1,
) -> Learned:
    """The perceptron's learning rule, one example after the other, from zeros.

    w += rate (t - y) x and b += rate (t - y): nothing where it was right. If a line
    parts the classes it ends at one (Novikoff 1962); else it goes on for ever.

    Args:
      x, targets: examples, and 0.0 or 1.0 for each.
      epochs: passes over them, in order.
      rate: of a step; from zeros it scales the result and decides nothing.
    """
    x, targets = jnp.asarray(x), jnp.asarray(targets)

    def example(unit: Perceptron, one: tuple[Array, Array]) -> tuple[Perceptron, None]:
        inputs, target = one
        error = rate * (target - unit(inputs))
        weights = jnp.asarray(unit.weights) + error * inputs
        return Perceptron(weights, unit.bias + error), None

    def epoch(unit: Perceptron, _: None) -> tuple[Perceptron, Any]:
        unit, _ = jax.lax.scan(example, unit, (x, targets))
        return unit, (unit, jnp.mean(unit(x) == targets))

    start = Perceptron(jnp.zeros(x.shape[1], x.dtype), jnp.zeros((), x.dtype))
    last, (path, accuracy) = jax.lax.scan(epoch, start, None, epochs)
    most = jnp.argmax(accuracy)
    best = jax.tree.map(lambda leaf: leaf[most], path)
    return Learned(last, best, path, accuracy)


class Boundary(NamedTuple):
    """What a function says at every place of a rectangle.

    Attributes:
      x, y: [places], along the axes.
      values: [places of y, places of x].
    """

    x: Float[np.ndarray, " columns"]
    y: Float[np.ndarray, " rows"]
    values: Float[np.ndarray, "rows columns"]


def decision_boundary(
    function: Callable[[Array], Any],
    low: tuple[float, float],
    high: tuple[float, float],
    places: int = 101,
) -> Boundary:
    """What a classifier of two features says over a rectangle of them.

    Args:
      function: [places, 2] to a value each: a class, or a probability.
      low, high: corners of the rectangle.
      places: along each side.
    """
    x, y = (np.linspace(a, b, places) for a, b in zip(low, high, strict=True))
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.float32)
    values = np.asarray(function(jnp.asarray(grid))).reshape(places, places)
    return Boundary(x, y, values)
