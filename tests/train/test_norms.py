"""Sums of squares in parts are sums of squares."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl.train.norms import global_norm, sum_of_squares

# Small, long, of many rows, of a number of rows that nothing divides, of one row.
SHAPES = [(), (7,), (2**14,), (784, 256), (131, 130), (3, 3, 64, 64), (1, 20_000)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_is_the_sum_of_all_squares(shape):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    expected = np.sum(np.square(x.astype("float64")))
    np.testing.assert_allclose(jax.jit(sum_of_squares)(x), expected, rtol=1e-5)


def test_what_is_not_finite_is_found_wherever_it_is():
    x = jnp.ones((256, 256)).at[255, 255].set(jnp.nan)
    assert jnp.isnan(sum_of_squares(x))


def test_the_norm_is_that_of_all_leaves():
    tree = {
        "a": jnp.arange(2.0**15).reshape(-1, 8) / 2**15,
        "b": [jnp.ones(3), jnp.asarray(2.0)],
    }
    squares = [sum_of_squares(leaf) for leaf in jax.tree.leaves(tree)]
    np.testing.assert_allclose(global_norm(squares), optax.tree.norm(tree), rtol=1e-5)
    assert global_norm([]) == 0
