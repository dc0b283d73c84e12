"""Rows by the kernel are those that NumPy takes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import kernels

pytestmark = pytest.mark.usefixtures("compiled")


def draw(*shape, dtype="float32"):
    numbers = np.random.default_rng(0).integers(0, 200, size=shape)
    return numbers.astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "float16", "bool"])
@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 5, 2, 1), (7, 0)], ids=str)
def test_rows_are_those_of_numpy(shape, dtype):
    array, indices = draw(*shape, dtype=dtype), np.int32([[6, 0, 3], [3, 3, 1]])
    (rows,) = jax.jit(kernels.take_rows)([jnp.asarray(array)], indices)
    assert rows.dtype == array.dtype
    np.testing.assert_array_equal(rows, array[indices])


def test_many_rows_of_several_arrays_by_many_threads():
    random = np.random.default_rng(0)
    arrays = [draw(300, 28, 28, dtype="uint8"), draw(300, dtype="int32")]
    indices = random.integers(0, 300, size=4096, dtype=np.int32)
    found = kernels.take_rows([jnp.asarray(array) for array in arrays], indices)
    for rows, array in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(rows, array[indices])


def test_an_index_beyond_the_ends_takes_the_nearest_row():
    indices = np.int32([-1, 7, 2**31 - 1, -(2**31)])
    (rows,) = kernels.take_rows([jnp.arange(7.0)], indices)
    np.testing.assert_array_equal(rows, [0, 6, 6, 0])


def test_no_rows():
    (rows,) = kernels.take_rows([jnp.zeros((4, 2))], jnp.zeros(0, "int32"))
    assert rows.shape == (0, 2)
    with pytest.raises(jax.errors.JaxRuntimeError, match="no rows"):
        jax.block_until_ready(
            kernels.take_rows([jnp.zeros((0, 2))], jnp.zeros(1, "int32"))
        )
