"""Rows of arrays by the compiled kernel: a batch gathered inside its step."""

from collections.abc import Sequence

import jax
from jaxtyping import Array, Int, Shaped


def take_rows(
    arrays: Sequence[Shaped[Array, "_ ..."]], indices: Int[Array, "*batch"]
) -> list[Shaped[Array, "..."]]:
    """Of each array [rows, ...] the rows [*batch, ...] at the indices (int32), for one
    CPU device: it has no derivative, and knows neither ``vmap`` nor shardings.

    Like JAX's own it takes the nearest row for an index beyond the ends. Of 128 MNIST
    images it takes 0.01 ms, XLA's gather 0.7.
    """
    results = [
        jax.ShapeDtypeStruct((*indices.shape, *array.shape[1:]), array.dtype)
        for array in arrays
    ]
    return list(jax.ffi.ffi_call("jaxdl_rows", results)(indices, *arrays))
