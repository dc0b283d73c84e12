"""How many steps a dispatch should hold."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend import core

# Enough to hide what a dispatch costs (some 30 microseconds), and no more:
# metrics and interruptions wait for a block to end.
LARGEST = 16


def automatic_block(
    step: Callable[..., Any], state: Any, batch: Any, boundary: int
) -> int:
    """Steps a dispatch, from the backend and what the step computes.

    The largest divisor of ``boundary`` (steps between checks) up to 16; 1 where a
    convolution would run inside a CPU loop, ten times slower than outside
    (jax-ml/jax#12868).

    Args:
      step: the pure step.
      state: its state, or shapes of it.
      batch: a batch, or shapes of it.
      boundary: steps between checks; blocks never cross them.
    """
    if jax.default_backend() == "cpu" and convolves(step, state, batch):
        return 1
    return max(n for n in range(1, LARGEST + 1) if max(boundary, 1) % n == 0)


def convolves(step: Callable[..., Any], state: Any, batch: Any) -> bool:
    """Whether a convolution is among what a step computes."""
    return largest_convolution(step, state, batch) > 0


def largest_convolution(step: Callable[..., Any], state: Any, batch: Any) -> int:
    """Numbers that the largest of a step's convolutions gives; 0 without any."""
    # Traced by jit, which remembers: compiling the step traces it no second time.
    jaxpr = jax.jit(step).trace(state, batch).jaxpr
    sizes = (
        math.prod(equation.outvars[0].aval.shape)  # type: ignore[attr-defined]
        for equation in equations(jaxpr.jaxpr)
        if equation.primitive.name.startswith("conv_general")
    )
    return max(sizes, default=0)


def equations(jaxpr: core.Jaxpr) -> Iterator[core.JaxprEqn]:
    """The equations of a jaxpr and of those inside it."""
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(
            list(equation.params.values()),
            is_leaf=lambda x: isinstance(x, core.Jaxpr | core.ClosedJaxpr),
        ):
            if isinstance(value, core.ClosedJaxpr):
                yield from equations(value.jaxpr)
            elif isinstance(value, core.Jaxpr):
                yield from equations(value)
