"""All steps of an LSTM by the compiled kernel.

Reverse mode runs by the kernel once, the gradient of its weights as one product over
all steps; what is differentiated again, by JAX.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxdl.kernels.calls import Axes, call

Projected = Float[Array, "batch time gates"]
Kernel = Float[Array, "hidden gates"]
Hidden = Float[Array, "batch hidden"]
Real = Float[Array, "batch time"]
Steps = Float[Array, "batch time hidden"]

_ENTERED, _STEPS, _KERNEL, _CARRY, _REAL = (
    *("m b t g", "m b t h", "m h g"),
    *("m b h", "m b t"),
)
_FORWARD = Axes(
    (_ENTERED, _KERNEL, _CARRY, _CARRY, _REAL), (_STEPS, _STEPS, _ENTERED), "mb"
)
_BACKWARD = Axes(
    (_ENTERED, _KERNEL, _CARRY, _STEPS, _REAL, _STEPS, _CARRY),
    (_ENTERED, _CARRY, _CARRY),
    "mb",
)


def _one(target: str, axes: Axes, *operands: Array, reverse: bool) -> list[Array]:
    """The call of one member."""
    stacked = [operand[None] for operand in operands]
    return [y[0] for y in call(target, axes, *stacked, reverse=reverse)]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def lstm(
    reverse: bool,
    projected: Projected,
    kernel: Kernel,
    hidden: Hidden,
    memory: Hidden,
    real: Real,
) -> tuple[Steps, Hidden]:
    """The hidden state after every step, and the memory after the last.

    Args:
      reverse: whether time runs from the last step to the first.
      projected: products of the inputs, biases added; blocks i, f, g, o.
      kernel: of the hidden state.
      hidden, memory: where to begin.
      real: 0 where a step leaves both as they are, else 1.
    """
    return _saved(reverse, projected, kernel, hidden, memory, real)[0]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _forward(reverse: bool, *operands: Array) -> tuple[Steps, Hidden, Steps, Projected]:
    """The values, and memories and gates of every step."""
    hiddens, memories, gates = _one("jaxdl_lstm", _FORWARD, *operands, reverse=reverse)
    return hiddens, memories[:, 0 if reverse else -1], memories, gates


@_forward.defjvp
def _(reverse: bool, primals: Any, tangents: Any) -> Any:
    """By the formula. Memories and gates are for ``_gradients``, whose own rule needs
    none."""
    *values, memories, gates = _forward(reverse, *primals)
    *operands, real = primals
    run = partial(formula, reverse, real=real)
    _, slopes = jax.jvp(run, operands, list(tangents[:-1]))
    kept = memories, gates
    return (*values, *kept), (*slopes, *map(jnp.zeros_like, kept))


def _saved(reverse: bool, *operands: Array) -> Any:
    hiddens, last, memories, gates = _forward(reverse, *operands)
    return (hiddens, last), (*operands, hiddens, memories, gates)


def _pulled(reverse: bool, saved: Any, slopes: tuple[Steps, Hidden]) -> Any:
    return (*_gradients(reverse, *saved, *slopes), jnp.zeros_like(saved[4]))


lstm.defvjp(_saved, _pulled)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _gradients(
    reverse: bool,
    projected: Projected,
    kernel: Kernel,
    hidden: Hidden,
    memory: Hidden,
    real: Real,
    hiddens: Steps,
    memories: Steps,
    gates: Projected,
    slopes: Steps,
    slope_memory: Hidden,
) -> tuple[Projected, Kernel, Hidden, Hidden]:
    """By all operands but which steps are real."""
    operands = gates, kernel, memory, memories, real, slopes, slope_memory
    entered, by_hidden, by_memory = _one(
        "jaxdl_lstm_gradient", _BACKWARD, *operands, reverse=reverse
    )
    if reverse:
        before = [hiddens[:, 1:], hidden[:, None]]
    else:
        before = [hidden[:, None], hiddens[:, :-1]]
    entering = jnp.concatenate(before, axis=1)
    by_kernel = jnp.einsum("bth,btg->hg", entering, entered)
    return entered, by_kernel, by_hidden, by_memory


@_gradients.defjvp
def _(reverse: bool, primals: Any, tangents: Any) -> Any:
    """By the formula: what was saved are functions of the operands."""
    real = primals[4]

    def plain(*arguments: Array) -> Any:
        *operands, slopes, slope_memory = arguments
        run = partial(formula, reverse, real=real)
        return jax.vjp(run, *operands)[1]((slopes, slope_memory))

    used = (0, 1, 2, 3, 8, 9)
    through = jax.jvp(plain, [primals[i] for i in used], [tangents[i] for i in used])
    return _gradients(reverse, *primals), through[1]


def formula(
    reverse: bool,
    projected: Projected,
    kernel: Kernel,
    hidden: Hidden,
    memory: Hidden,
    real: Real,
) -> tuple[Steps, Hidden]:
    """The same by JAX's own operations."""

    def step(carry: tuple[Hidden, Hidden], now: tuple[Array, Array]) -> Any:
        entered, valid = now[0] + carry[0] @ kernel, now[1][:, None] != 0
        i, f, g, o = jnp.split(entered, 4, axis=-1)
        memory = jax.nn.sigmoid(f) * carry[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
        new = jax.nn.sigmoid(o) * jnp.tanh(memory), memory
        after = jax.tree.map(partial(jnp.where, valid), new, carry)
        return after, after[0]

    start, steps = (hidden, memory), (jnp.swapaxes(projected, 0, 1), real.T)
    (_, last), hiddens = jax.lax.scan(step, start, steps, reverse=reverse)
    return jnp.swapaxes(hiddens, 0, 1), last
