"""Dropout: its mean, its independence of how batches split, its traced rate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl.batch import Context
from jaxdl.layers import Dropout

KEY = jax.random.key(3)
LAYER = Dropout()


def drop(x, rate, position=None, key=KEY, layer=LAYER):
    context = Context(training=True, dropout=rate, position=position)
    return layer.apply({}, x, context, rngs={"dropout": key})


def test_mean_and_share_are_preserved():
    x = jnp.full((64, 500), 2.0)
    y = drop(x, 0.3)
    kept = np.asarray(y != 0)
    # Three standard errors of 32,000 draws.
    assert abs(kept.mean() - 0.7) < 3 * (0.3 * 0.7 / kept.size) ** 0.5
    np.testing.assert_allclose(np.asarray(y)[kept], 2.0 / 0.7, rtol=1e-6)


def test_each_example_drops_the_same_however_the_batch_is_split():
    x = jax.random.normal(KEY, (6, 40))
    position = jnp.arange(6)
    whole = drop(x, 0.5, position)
    parts = [drop(x[i : i + 2], 0.5, position[i : i + 2]) for i in (0, 2, 4)]
    np.testing.assert_array_equal(whole, jnp.concatenate(parts))
    np.testing.assert_array_equal(whole, drop(x, 0.5))  # positions from 0 by default
    order = jnp.array([4, 0, 5, 2, 1, 3])
    np.testing.assert_array_equal(whole[order], drop(x[order], 0.5, order))


def test_examples_layers_and_steps_have_masks_of_their_own():
    class Two(nn.Module):
        @nn.compact
        def __call__(self, x, context):
            return Dropout()(x, context), Dropout()(x, context)

    ones = jnp.ones((8, 200))
    context = Context(training=True, dropout=0.5)
    first, second = Two().apply({}, ones, context, rngs={"dropout": KEY})
    assert 0.4 < np.mean(first == second) < 0.6
    assert 0.4 < np.mean(first[0] == first[1]) < 0.6
    other = drop(ones, 0.5, key=jax.random.key(4))
    assert 0.4 < np.mean(drop(ones, 0.5) == other) < 0.6


def test_identity_in_evaluation_at_rate_zero_and_when_initialising():
    x = jax.random.normal(KEY, (3, 5))
    layer = Dropout()
    assert layer.apply({}, x, Context(training=False, dropout=0.5)) is x
    assert layer.apply({}, x, Context(training=True, dropout=0.0)) is x
    assert layer.init(KEY, x, Context(training=True, dropout=0.5)) == {}
    np.testing.assert_array_equal(jax.jit(drop)(x, 0.0), x)  # traced


def test_its_own_rate_comes_before_the_contexts():
    x = jnp.ones((4, 10))
    assert drop(x, 0.9, layer=Dropout(rate=0.0)) is x
    np.testing.assert_array_equal(drop(x, 0.0, layer=Dropout(0.5)), drop(x, 0.5))


def test_one_program_serves_every_rate_with_finite_gradients():
    x = jax.random.normal(KEY, (4, 30))
    rates = jnp.array([0.0, 0.2, 0.5, 0.9, 1.0])
    outputs = jax.jit(jax.vmap(lambda rate: drop(x, rate)))(rates)
    for rate, output in zip(rates, outputs, strict=True):
        np.testing.assert_allclose(output, drop(x, rate), rtol=1e-6)
    np.testing.assert_array_equal(outputs[-1], 0.0)
    # What a higher rate keeps, a lower one keeps too.
    assert np.all((np.asarray(outputs[2]) == 0) >= (np.asarray(outputs[1]) == 0))
    gradients = jax.vmap(
        jax.grad(lambda x, rate: drop(x, rate).sum(), argnums=(0, 1)), (None, 0)
    )(x, rates)
    assert all(np.all(np.isfinite(g)) for g in gradients)
    np.testing.assert_array_equal(gradients[0][0], 1.0)


def test_shared_axes_share_one_draw():
    maps = drop(jnp.ones((5, 4, 4, 20)), 0.5, layer=Dropout(broadcast_axes=(1, -2)))
    np.testing.assert_array_equal(maps, jnp.broadcast_to(maps[:, :1, :1], maps.shape))
    assert len(np.unique(np.asarray(maps[:, 0, 0]), axis=0)) == 5
    with pytest.raises(ValueError, match="example axis 0"):
        drop(jnp.ones((5, 4)), 0.5, layer=Dropout(broadcast_axes=(0,)))


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2])
def test_rates_out_of_range_are_refused(rate):
    with pytest.raises(ValueError, match=f"dropout rate {rate} is out of range"):
        drop(jnp.ones((2, 2)), rate)


def test_half_precision_stays_half_precision():
    x = jnp.ones((2, 50), jnp.bfloat16)
    assert jax.jit(drop)(x, 0.5).dtype == jnp.bfloat16
