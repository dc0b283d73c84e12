"""Dense layers, whose products a compiled kernel computes where that is faster.

Measured on two cores of an Intel Xeon with AVX-512, jax 0.10.1, 2026-11-28, each of
the three kinds (value, gradient by the input, by the kernel) six times in a program,
as many times as fast as XLA: 128 x 256 x 256 1.4 to 1.7, 32 x 784 x 256 1.6,
128 x 784 x 500 0.95 to 1.2, 2048 x 128 x 384 1.06 to 1.4, 4096 x 384 x 1536 0.6 to 0.9.
All three one after another: 8 to 32 rows of 8 x 8 to 64 x 64 1.2 to 2.5, of 128 x 512
0.8 to 1.5; of one row 0.3 to 0.5. Whole steps (``experiments.benchmark
--measure=population --measure=training_step``) by products of up to 2^18: 32 MLPs of
64-64-64-10, 32 rows each, 2.2, an MLP 13-64-64-3 in 4 folds 2. On two cores of an AMD
EPYC with AVX2 larger products were as fast by XLA; smaller ones were measured on that
Xeon, kernel and XLA held to AVX2: the same MLPs 1.8, the folds 1.6.
"""

import math
from functools import partial
from typing import Any

import jax
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array

from jaxdl import kernels
from jaxdl.hardware import cpu_instructions

# Rows, and multiplications, of products that the kernel computes; the most by the
# instructions it is compiled for.
FEWEST, SMALLEST = 8, 2**9
LARGEST = {"avx512f": 2**29, "avx2": 2**18}


def is_compiled(rows: int, inputs: int, outputs: int, dtype: Any) -> bool:
    """Whether the compiled kernel is there for a product, and faster."""
    there = cpu_instructions().split()
    largest = next((most for name, most in LARGEST.items() if name in there), 0)
    enough = rows >= FEWEST and SMALLEST <= rows * inputs * outputs <= largest
    return enough and kernels.supports(dtype)


def dot_general(
    x: Array,
    kernel: Array,
    dimension_numbers: Any,
    precision: Any = None,
    preferred_element_type: DTypeLike | None = None,
    out_sharding: Any = None,
) -> Array:
    """``jax.lax.dot_general``, by the kernel where it is a dense layer's product."""
    last = (((x.ndim - 1,), (0,)), ((), ()))
    given = tuple((tuple(a), tuple(b)) for a, b in dimension_numbers)
    plain = precision is None and out_sharding is None and kernel.ndim == 2
    if plain and given == last and x.dtype == kernel.dtype:
        rows, (inputs, outputs) = math.prod(x.shape[:-1]), kernel.shape
        wanted = preferred_element_type in (None, x.dtype)
        if wanted and is_compiled(rows, inputs, outputs, x.dtype):
            flat = kernels.product(x.reshape(rows, inputs), kernel)
            return flat.reshape(*x.shape[:-1], outputs)
    return jax.lax.dot_general(
        x,
        kernel,
        dimension_numbers,
        precision,
        preferred_element_type,
        out_sharding=out_sharding,
    )


Dense = partial(nn.Dense, dot_general=dot_general)
