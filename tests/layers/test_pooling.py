"""Pooling equals Flax's; its invariances; how ties share the gradient."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from jaxdl.layers import (
    avg_pool,
    global_avg_pool,
    masked_max,
    masked_max_pool,
    masked_mean,
    max_pool,
)

windows = st.tuples(st.integers(1, 3), st.integers(1, 3))


def distinct(shape):
    """Values without ties."""
    count = int(np.prod(shape))
    order = np.random.default_rng(0).permutation(count)
    return jnp.asarray(order.reshape(shape) / count - 0.7, jnp.float32)


@settings(deadline=None, max_examples=4)
@given(
    window=windows,
    strides=windows,
    padding=st.sampled_from(["SAME", "VALID", ((1, 0), (0, 1))]),
)
def test_equal_to_flax_in_value_and_gradient(window, strides, padding):
    @partial(jax.jit, static_argnums=0)
    def value_and_gradient(pools, x):
        def loss(x):
            ys = [pool(x, window, strides, padding) for pool in pools]
            return sum(jnp.sum(jnp.sin(y)) for y in ys), ys

        return jax.grad(loss, has_aux=True)(x)

    x = distinct((2, 5, 6, 3))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
        value_and_gradient((max_pool, avg_pool), x),
        value_and_gradient((nn.max_pool, nn.avg_pool), x),
    )


@pytest.mark.parametrize("shape", [(2, 7, 3), (2, 6, 4, 3), (1, 4, 5, 4, 2)])
def test_one_two_and_three_axes(shape):
    x = distinct(shape)
    window = (2,) * (len(shape) - 2)
    for ours, theirs in [(max_pool, nn.max_pool), (avg_pool, nn.avg_pool)]:
        np.testing.assert_allclose(ours(x, 2), theirs(x, window, window), atol=1e-6)


def test_the_mean_may_leave_padding_out():
    x = distinct((2, 5, 5, 3))
    np.testing.assert_allclose(
        avg_pool(x, 3, 2, "SAME", count_include_pad=False),
        nn.avg_pool(x, (3, 3), (2, 2), "SAME", count_include_pad=False),
        atol=1e-6,
    )


def test_ties_share_the_gradient_and_lose_none():
    x = jnp.array([1.0, 1.0, 0.0, 1.0]).reshape(1, 2, 2, 1)
    gradient = jax.grad(lambda x: max_pool(x, 2).sum())(x).reshape(-1)
    np.testing.assert_array_equal(gradient, [0.25, 0.25, 0.0, 0.5])
    stock = jax.grad(lambda x: nn.max_pool(x, (2, 2), (2, 2)).sum())(x).reshape(-1)
    np.testing.assert_array_equal(stock, [1.0, 0.0, 0.0, 0.0])


def test_gradients_are_the_finite_differences():
    with jax.enable_x64(True):
        x = distinct((1, 4, 5, 2)).astype(jnp.float64)

        @jax.jit
        def both(x):
            return max_pool(x, 3, 2, "SAME"), avg_pool(x, 3, 2, "SAME")

        check_grads(both, (x,), order=1, eps=1e-6)


def test_channels_are_pooled_apart_and_small_shifts_forgiven():
    x = distinct((1, 8, 8, 3))
    np.testing.assert_array_equal(max_pool(x[..., ::-1], 2), max_pool(x, 2)[..., ::-1])
    dot = jnp.zeros((1, 8, 8, 1)).at[0, 2, 4].set(1.0)
    for down, right in [(0, 0), (1, 0), (0, 1), (1, 1)]:
        moved = jnp.roll(dot, (down, right), (1, 2))
        np.testing.assert_array_equal(max_pool(moved, 2), max_pool(dot, 2))


def test_padding_never_wins_not_over_negative_values_either():
    x = -jnp.ones((1, 3, 3, 1))
    np.testing.assert_array_equal(
        max_pool(x, 2, padding="SAME"), -jnp.ones((1, 2, 2, 1))
    )


def test_global_average_is_the_mean_whatever_the_place():
    x = distinct((2, 4, 4, 3))
    np.testing.assert_allclose(global_avg_pool(x), x.mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(
        global_avg_pool(jnp.roll(x, 2, 1)), global_avg_pool(x), atol=1e-6
    )
    half = global_avg_pool(jnp.full((1, 64, 64, 1), 1.001, jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    assert float(half[0, 0]) == 1.0


def test_a_window_too_large_is_one_clear_line():
    with pytest.raises(ValueError, match=r"\(5, 5\) does not fit .*\(4, 4\)"):
        max_pool(jnp.zeros((1, 4, 4, 1)), 5)


class TestMaskedPooling:
    X = np.random.default_rng(1).normal(size=(3, 7, 2)).astype(np.float32) - 3
    VALID = np.arange(7) < np.array([7, 4, 0])[:, None]

    def test_over_the_valid_steps(self):
        mean, largest = masked_mean(self.X, self.VALID), masked_max(self.X, self.VALID)
        for row, length in ((0, 7), (1, 4)):
            kept = self.X[row, :length]
            np.testing.assert_allclose(mean[row], kept.mean(0), rtol=1e-6)
            np.testing.assert_array_equal(largest[row], kept.max(0))
        np.testing.assert_array_equal(mean[2], 0.0)
        np.testing.assert_array_equal(largest[2], 0.0)

    def test_none_means_that_all_are_valid(self):
        every = np.ones((3, 7), bool)
        for pool in (masked_mean, masked_max):
            np.testing.assert_allclose(
                pool(jnp.asarray(self.X), None), pool(self.X, every), rtol=1e-6
            )
        pooled, valid = masked_max_pool(jnp.asarray(self.X), None, 3)
        assert valid is None
        np.testing.assert_array_equal(pooled, masked_max_pool(self.X, every, 3)[0])

    def test_windows_without_a_valid_step_are_padding(self):
        pooled, valid = masked_max_pool(self.X, self.VALID, 2)
        expected = [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]
        np.testing.assert_array_equal(valid, np.array(expected, bool))
        np.testing.assert_array_equal(pooled[0, :3], max_pool(self.X[:1], 2)[0])
        np.testing.assert_array_equal(pooled[1, :2], max_pool(self.X[1:2], 2)[0, :2])
        np.testing.assert_array_equal(np.asarray(pooled)[~np.asarray(valid)], 0.0)

    def test_gradients_are_finite_and_reach_valid_steps_alone(self):
        def total(x):
            pooled, _ = masked_max_pool(x, self.VALID, 2)
            return sum(
                jnp.sum(part)
                for part in (
                    pooled,
                    masked_max(x, self.VALID),
                    masked_mean(x, self.VALID),
                )
            )

        gradient = np.asarray(jax.grad(total)(jnp.asarray(self.X)))
        assert np.all(np.isfinite(gradient))
        np.testing.assert_array_equal(gradient[~self.VALID], 0.0)
        assert np.all(gradient[self.VALID] > 0)
