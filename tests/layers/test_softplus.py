"""softplus: exact to the last digits, everywhere and in every derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.layers.softplus import softplus


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_equals_the_definition(dtype):
    with jax.enable_x64(True):
        x = jnp.linspace(-40, 40, 4001).astype(dtype)
        exact = np.logaddexp(np.asarray(x, np.float64), 0)
        found = jax.jit(softplus)(x)
        assert found.dtype == x.dtype
        rtol = 4 * float(jnp.finfo(dtype).eps)
        np.testing.assert_allclose(np.asarray(found, np.float64), exact, rtol=rtol)


def test_derivatives_are_those_of_the_sigmoid():
    def higher(run, times):
        return higher(jax.grad(run), times - 1) if times else jax.vmap(run)

    with jax.enable_x64(True):
        x = jnp.linspace(-20, 20, 101)
        for times in (1, 2, 3):
            found = higher(softplus, times)(x.astype("float32"))
            exact = higher(jax.nn.sigmoid, times - 1)(x)
            np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-7)


def test_at_the_ends():
    x = jnp.asarray([-np.inf, -1e30, 1e30, np.inf, np.nan])
    np.testing.assert_array_equal(
        softplus(x), [0, 0, jnp.float32(1e30), np.inf, np.nan]
    )
