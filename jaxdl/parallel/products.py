"""Which of XLA's libraries multiplies a step's matrices on a CPU.

XLA gives products and sums to YNNPACK and leaves the rest to Eigen and to its own
loops. A step of dense layers is faster without YNNPACK, which transposes the kernel of
a layer for its input's gradient, and before whose sums squares are written to memory.
Times as fast without it, each of several pairs by turns (``experiments.benchmark
--measure=products``; two cores of an AMD EPYC with AVX2, jax 0.10.1, 2026-11-27): VAE
784-500-500-20 of 128 examples 1.02 to 1.08, MLP 784-256-256-10 of 32 1.06 to 1.12, of
128 0.99 to 1.04; jax 0.12 alike. Steps that convolve were slower without (DCGAN 0.85
and 0.95), attention and an LSTM undecided. On two cores of an Intel Xeon with AVX-512,
where a compiled kernel multiplies (``jaxdl.layers.dense``), the VAE 1.07 and the MLP of
128 1.03, two pairs, 2026-11-28; without the kernel it was not measured there: XLA
chooses.
"""

import dataclasses
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import kernels
from jaxdl.hardware import cpu_instructions
from jaxdl.parallel import ways
from jaxdl.parallel.blocks import largest_product
from jaxdl.parallel.placement import Placement

# Multiplications of the largest product among those measured with gain: 32 x 784 x 256.
# Where all are small, either takes no time.
WORTH_CHOOSING = 6_000_000

_WITHOUT = {"xla_cpu_experimental_ynn_fusion_type": ""}


def tuned(
    way: Placement, step: Callable[..., Any], state: Any, batch: Any
) -> Placement:
    """The placement, which compiles this step as is best for it; a placement over
    several devices as it is."""
    options = compiler_options(step, state, batch) if way.name == "none" else None
    if options is None:
        return way
    compiled = partial(ways.jit, compiler_options=options)
    return dataclasses.replace(
        way,
        step=lambda step, axis=0: compiled(step),
        block=lambda step, axis=0: compiled(ways.scan(step)),
        compiler_options=options,
    )


def compiler_options(
    step: Callable[..., Any], state: Any, batch: Any
) -> dict[str, str] | None:
    """What to tell XLA when it compiles a step; None: nothing.

    Args:
      step, state, batch: as one device computes them; shapes do.
    """
    measured = "avx512" not in cpu_instructions() or kernels.load()
    if jax.default_backend() != "cpu" or not measured:
        return None
    if largest_product(step, state, batch) < WORTH_CHOOSING:
        return None
    return _WITHOUT if _is_known() else None


@cache
def _is_known() -> bool:
    """Whether XLA has the option: it is no promise of its."""
    try:
        jax.jit(jnp.negative, compiler_options=_WITHOUT).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
