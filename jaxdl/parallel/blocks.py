"""How many steps a dispatch should hold."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax.extend import core

from jaxdl import kernels

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
    sizes = (
        _size(equation.outvars[0])
        for equation in _traced(step, state, batch)
        if equation.primitive.name.startswith("conv_general")
    )
    return max(sizes, default=0)


class Recurrence(NamedTuple):
    """The matrix products that a recurrent layer makes at each time.

    Attributes:
      weights: numbers of the largest operand among them.
      operations: multiplications, over all times.
    """

    weights: int = 0
    operations: int = 0


def largest_recurrence(
    step: Callable[..., Any], state: Any, batch: Any, times: int = 16
) -> Recurrence:
    """Of a step's loops of at least so many ``times`` the one with most to multiply."""
    found = [Recurrence()]
    for loop in _traced(step, state, batch):
        length = loop.params.get("length", 0)
        if loop.primitive.name != "scan" or length < times:
            continue
        products = [
            equation
            for equation in equations(loop.params["jaxpr"].jaxpr)
            if equation.primitive.name in ("dot_general", "jaxdl_product")
        ]
        if products:
            weights = max(_size(var) for p in products for var in p.invars)
            made = sum(_multiplications(product) for product in products)
            found.append(Recurrence(weights, length * made))
    return max(found, key=lambda recurrence: recurrence.operations)


def largest_product(step: Callable[..., Any], state: Any, batch: Any) -> int:
    """Multiplications of the largest matrix product of a step of dense layers; 0 for a
    step with anything else that multiplies: batches of matrices, convolutions, kernels
    and loops."""
    found = [0]
    for equation in _traced(step, state, batch):
        name = equation.primitive.name
        if name in ("jaxdl_adam", "jaxdl_squares"):
            continue  # they go through all parameters, and multiply no matrices
        if name == "jaxdl_product":
            found.append(_multiplications(equation))
        elif name.startswith(("conv_general", "jaxdl_", "scan", "while", "ffi_call")):
            return 0
        elif name == "dot_general":
            if equation.params["dimension_numbers"][1][0]:
                return 0
            found.append(_multiplications(equation))
    return max(found)


def _multiplications(product: core.JaxprEqn) -> int:
    if product.primitive.name == "jaxdl_product":
        return kernels.multiplications(product)
    (contracted, _), _ = product.params["dimension_numbers"]
    shape = product.invars[0].aval.shape  # type: ignore[attr-defined]
    return _size(product.outvars[0]) * math.prod(shape[axis] for axis in contracted)


def _size(var: Any) -> int:
    return math.prod(var.aval.shape)


def _traced(
    step: Callable[..., Any], state: Any, batch: Any
) -> Iterator[core.JaxprEqn]:
    # Traced by jit, which remembers: compiling the step traces it no second time.
    return equations(jax.jit(step).trace(state, batch).jaxpr.jaxpr)


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
