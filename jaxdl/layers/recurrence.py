"""The scan of a recurrent layer, whose backward pass has one product for the weights.

Differentiating ``jax.lax.scan`` adds a product of all recurrent weights' gradients to
a sum at every step, and keeps every array within a step. Here a step keeps only what
entered its gates, and the gradients of weights are one product over all steps after
the backward scan (as cuDNN does it, Appleyard et al. 2016, section 3).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxdl import kernels

Hidden = Float[Array, "batch hidden"]
# What is handed from step to step: the hidden state first, then LSTM's memory cell.
Carry = tuple[Hidden, ...]


class Cell(NamedTuple):
    """One step of a recurrent layer.

    Attributes:
      gates: how many blocks of hidden size the two products have.
      states: how many arrays the carry holds.
      summed: whether the two products matter by their sum alone.
      step: (projected inputs, projected hidden state, carry) -> carry.
    """

    gates: int
    states: int
    summed: bool
    step: Callable[[Array, Array, Carry], Carry]


class Weights(NamedTuple):
    """What the hidden state meets on entering a step.

    Attributes:
      kernel: [features, gates * features].
      bias: [gates * features], or None.
      kept: a factor of the hidden state (dropout), [batch, features], or None.
    """

    kernel: Float[Array, "features gates"]
    bias: Float[Array, " gates"] | None
    kept: Hidden | None


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def recur(
    cell: Cell,
    reverse: bool,
    projected: Float[Array, "time batch gates"],
    weights: Weights,
    start: Carry,
    real: Bool[Array, "time batch 1"] | None,
) -> tuple[Float[Array, "time batch features"], Carry]:
    """Outputs of every step, and the carry after the last real one.

    Args:
      cell: what a step does.
      reverse: whether time runs from the last step to the first.
      projected: products of the inputs, biases added.
      weights: of the hidden state.
      start: where to begin, in the dtype in which gates are computed.
      real: False at steps that are padding: they leave the carry, and put out 0.
    """
    outputs, last, _ = _forward(cell, reverse, projected, weights, start, real)
    return outputs, last


def _forward(
    cell: Cell,
    reverse: bool,
    projected: Array,
    weights: Weights,
    start: Carry,
    real: Array | None,
) -> tuple[Array, Carry, Any]:
    """Outputs, last carry, and of every step what entered it: products and carry."""

    def step(carry: Carry, now: Any) -> tuple[Carry, Any]:
        x, valid = now
        exact = carry[0].dtype
        recurrent = _entering(carry[0], weights, x.dtype) @ weights.kernel
        if weights.bias is not None:
            recurrent = recurrent + weights.bias
        both = x.astype(exact), recurrent.astype(exact)
        entered = (both[0] + both[1],) if cell.summed else both
        after, output = _gated(cell, valid, entered, carry)
        return after, (output.astype(x.dtype), entered, carry)

    last, (outputs, *kept) = jax.lax.scan(
        step, start, (projected, real), reverse=reverse
    )
    return outputs, last, kept


def _entering(hidden: Hidden, weights: Weights, dtype: Any) -> Hidden:
    """The hidden state as the recurrent product takes it."""
    kept = hidden if weights.kept is None else hidden * weights.kept
    return kept.astype(dtype)


def _gated(
    cell: Cell, valid: Array | None, entered: tuple[Array, ...], carry: Carry
) -> tuple[Carry, Array]:
    """The carry after a step, and what it puts out."""
    # Where both products are summed, the one array holds their sum.
    x, recurrent = (*entered, jnp.zeros((), carry[0].dtype))[:2]
    after = cell.step(x, recurrent, carry)
    if valid is None:
        return after, after[0]
    pairs = zip(after, carry, strict=True)
    held = tuple(jnp.where(valid, new, old) for new, old in pairs)
    return held, jnp.where(valid, after[0], 0.0)


def _saved(
    cell: Cell,
    reverse: bool,
    projected: Array,
    weights: Weights,
    start: Carry,
    real: Array | None,
) -> tuple[tuple[Array, Carry], Any]:
    outputs, last, kept = _forward(cell, reverse, projected, weights, start, real)
    return (outputs, last), (*kept, weights, real)


def _backward(
    cell: Cell, reverse: bool, saved: Any, slopes: tuple[Array, Carry]
) -> tuple[Array, Weights, Carry, None]:
    entered, carries, weights, real = saved
    dtype = weights.kernel.dtype

    def step(later: tuple[Carry, Any], now: Any) -> tuple[Any, tuple[Array, ...]]:
        slope, scaled = later
        slope_output, entered, carry, valid = now
        _, pull = jax.vjp(partial(_gated, cell, valid), entered, carry)
        slope_entered, before = pull((slope, slope_output.astype(carry[0].dtype)))
        back = slope_entered[-1].astype(dtype) @ weights.kernel.T
        back = back.astype(carry[0].dtype)
        if weights.kept is not None:
            scaled, back = scaled + back * carry[0], back * weights.kept
        before = (before[0] + back, *before[1:])
        return (before, scaled), tuple(s.astype(dtype) for s in slope_entered)

    scaled = None if weights.kept is None else jnp.zeros_like(weights.kept)
    (start, scaled), found = jax.lax.scan(
        step,
        (slopes[1], scaled),
        (slopes[0], entered, carries, real),
        reverse=not reverse,
    )
    # Of a cell that takes the sum of both products, both have one gradient.
    hidden, flat = _entering(carries[0], weights, dtype), found[-1]
    kernel = jnp.einsum("tbh,tbg->hg", hidden, flat)
    bias = None if weights.bias is None else jnp.sum(flat, axis=(0, 1))
    return found[0], Weights(kernel, bias, scaled), start, None


recur.defvjp(_saved, _backward)


def recur_compiled(
    reverse: bool,
    projected: Float[Array, "batch time gates"],
    kernel: Float[Array, "features gates"],
    start: Carry,
    valid: Bool[Array, "batch time"] | None,
) -> tuple[Float[Array, "batch time features"], Carry]:
    """``recur`` of an LSTM without dropout, by the compiled kernel; the batch leads."""
    if valid is None:
        real = jnp.ones(projected.shape[:2], projected.dtype)
    else:
        real = valid.astype(projected.dtype)
    outputs, memory = kernels.lstm(reverse, projected, kernel, *start, real)
    last = outputs[:, 0 if reverse else -1]
    if valid is not None:
        outputs = jnp.where(valid[..., None], outputs, 0.0)
    return outputs, (last, memory)
