"""Backpropagation by hand: every backward pass written out, to be read.

A node of the graph is a pair of functions. ``forward(params, x)`` gives the output and
what the backward pass needs of it; ``backward(kept, slope)`` takes the slope of the
loss by the output to its slopes by the parameters and by the input: the chain rule, one
factor a node. ``jax.vjp`` of each forward gives the same (the tests say so), without
anybody having to write it.

Saitoh, "Deep Learning from Scratch", 2016, chapter 5, has the same graph in NumPy.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

Params = Any
Rows = Float[Array, "batch features"]


class Node(NamedTuple):
    """An operation with its backward pass.

    Attributes:
      forward: (params, x) -> (y, kept).
      backward: (kept, slope of the loss by y) -> (slopes by params, slope by x).
    """

    forward: Callable[[Params, Any], tuple[Any, Any]]
    backward: Callable[[Any, Any], tuple[Params, Any]]


def _add_forward(params: None, x: tuple[Array, Array]) -> tuple[Array, None]:
    return x[0] + x[1], None


def _add_backward(kept: None, slope: Array) -> tuple[None, tuple[Array, Array]]:
    # d(a + b)/da = 1: the slope goes to both inputs as it is.
    return None, (slope, slope)


def _multiply_forward(params: None, x: tuple[Array, Array]) -> tuple[Array, Any]:
    return x[0] * x[1], x


def _multiply_backward(
    kept: tuple[Array, Array], slope: Array
) -> tuple[None, tuple[Array, Array]]:
    # d(a b)/da = b: each input gets the slope times the other one.
    a, b = kept
    return None, (slope * b, slope * a)


def _affine_forward(params: Params, x: Rows) -> tuple[Rows, Any]:
    return x @ params["kernel"] + params["bias"], (params["kernel"], x)


def _affine_backward(kept: Any, slope: Rows) -> tuple[Params, Rows]:
    # The shapes alone tell the order: dW [in, out] = X^T dY, dX [batch, in] = dY W^T.
    # The bias was added to every row, so that its slope is the sum over them.
    kernel, x = kept
    slopes = {"kernel": x.T @ slope, "bias": jnp.sum(slope, axis=0)}
    return slopes, slope @ kernel.T


def _relu_forward(params: None, x: Array) -> tuple[Array, Array]:
    return jnp.maximum(x, 0), x > 0


def _relu_backward(kept: Array, slope: Array) -> tuple[None, Array]:
    # A gate: open where the input was positive.
    return None, jnp.where(kept, slope, 0)


def _sigmoid_forward(params: None, x: Array) -> tuple[Array, Array]:
    y = 1 / (1 + jnp.exp(-x))
    return y, y


def _sigmoid_backward(kept: Array, slope: Array) -> tuple[None, Array]:
    # dy/dx = y (1 - y): at most a quarter, and next to nothing where y is near 0 or 1.
    return None, slope * kept * (1 - kept)


add = Node(_add_forward, _add_backward)
multiply = Node(_multiply_forward, _multiply_backward)
affine = Node(_affine_forward, _affine_backward)
relu = Node(_relu_forward, _relu_backward)
sigmoid = Node(_sigmoid_forward, _sigmoid_backward)


def softmax_with_loss(targets: Int[Array, " batch"]) -> Node:
    """The mean cross-entropy of softmax(x) against integer classes."""

    def forward(params: None, x: Rows) -> tuple[Float[Array, ""], Array]:
        shifted = x - jnp.max(x, axis=1, keepdims=True)
        powers = jnp.exp(shifted)
        y = powers / jnp.sum(powers, axis=1, keepdims=True)
        chosen = y[jnp.arange(len(targets)), targets]
        return -jnp.mean(jnp.log(chosen)), y

    def backward(kept: Array, slope: Float[Array, ""]) -> tuple[None, Rows]:
        # Exponential and logarithm undo each other: what is left is y - t, and the
        # mean shares it out over the batch.
        target = jax.nn.one_hot(targets, kept.shape[1], dtype=kept.dtype)
        return None, slope * (kept - target) / len(targets)

    return Node(forward, backward)


def batch_norm(epsilon: float = 1e-7) -> Node:
    """scale * (x - mean) / deviation + bias over the batch [batch, features]."""

    def forward(params: Params, x: Rows) -> tuple[Rows, Any]:
        centred = x - jnp.mean(x, axis=0)
        deviation = jnp.sqrt(jnp.mean(centred**2, axis=0) + epsilon)
        normal = centred / deviation
        y = params["scale"] * normal + params["bias"]
        return y, (params["scale"], normal, deviation)

    def backward(kept: Any, slope: Rows) -> tuple[Params, Rows]:
        scale, normal, deviation = kept
        slopes = {
            "scale": jnp.sum(slope * normal, axis=0),
            "bias": jnp.sum(slope, axis=0),
        }
        # Every input moves the mean and the deviation of its feature: what the whole
        # batch would gain by a shift or by a stretch is taken off again.
        inner = slope * scale
        shift = jnp.mean(inner, axis=0)
        stretch = normal * jnp.mean(inner * normal, axis=0)
        return slopes, (inner - shift - stretch) / deviation

    return Node(forward, backward)


def dropout(rate: float, key: Key[Array, ""]) -> Node:
    """Drops units at random and scales the others up by 1 / (1 - rate)."""

    def forward(params: None, x: Array) -> tuple[Array, Array]:
        keep = jax.random.bernoulli(key, 1 - rate, x.shape)
        mask = keep.astype(x.dtype) / (1 - rate)
        return x * mask, mask

    def backward(kept: Array, slope: Array) -> tuple[None, Array]:
        # What was dropped did nothing to the loss.
        return None, slope * kept

    return Node(forward, backward)


def value_and_gradients(
    nodes: Sequence[Node], params: Sequence[Params], x: Any
) -> tuple[Any, list[Params], Any]:
    """Through a chain of nodes to a loss, and back.

    Args:
      nodes: in order; the last one gives a scalar.
      params: of each node, None where it has none.
      x: the input of the first.

    Returns:
      The loss, its slopes by the parameters of each node, and by x.
    """
    kept = []
    for node, own in zip(nodes, params, strict=True):
        x, needed = node.forward(own, x)
        kept.append(needed)
    slope: Any = jnp.ones_like(x)
    slopes: list[Params] = []
    for node, needed in zip(reversed(nodes), reversed(kept), strict=True):
        own, slope = node.backward(needed, slope)
        slopes.append(own)
    return x, slopes[::-1], slope
