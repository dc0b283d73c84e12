"""Attention against JAX's and Flax's own, its groups, masks and cache."""

from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.test_util import check_grads

from jaxdl.layers.attention import (
    Attention,
    KeysValues,
    attend,
    attention_weights,
    cache_mask,
    valid_mask,
    write_cache,
)
from tests.quick import jit


def draw(*shape, seed=0):
    drawn = np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(drawn, jnp.float32)


def test_equal_to_the_librarys_attention_with_groups_masks_and_causality():
    queries = draw(2, 5, 4, 6)
    valid = jnp.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
    masks = (None, valid_mask(valid))
    for kv_heads, mask, causal in product((2, 4), masks, (False, True)):
        memory = KeysValues(draw(2, 5, kv_heads, 6, seed=1), draw(2, 5, kv_heads, 6))

        @jit
        def both(queries, memory, mask=mask, causal=causal):
            theirs = jax.nn.dot_product_attention(
                queries, *memory, mask=mask, is_causal=causal
            )
            return attend(queries, memory, mask, causal), theirs

        np.testing.assert_allclose(*both(queries, memory), atol=1e-6)


def test_the_weights_are_those_it_means_by():
    queries, memory = draw(2, 3, 4, 6), KeysValues(draw(2, 5, 2, 6), draw(2, 5, 2, 6))
    both = jit(lambda q, m: (attention_weights(q, m.keys), attend(q, m)))
    weights, found = both(queries, memory)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)
    values = np.repeat(memory.values, 2, axis=2)  # heads 0, 1 share the first
    means = np.einsum("bhqk,bkhf->bqhf", weights, values)
    np.testing.assert_allclose(means, found, atol=1e-6)


def test_large_scores_and_queries_that_may_look_nowhere_stay_finite():
    memory = KeysValues(draw(1, 3, 1, 4) * 1e4, draw(1, 3, 1, 4))

    def total(queries):
        nowhere = valid_mask(jnp.zeros((1, 3), bool))
        return jnp.sum(attend(queries, memory) + attend(queries, memory, nowhere))

    value, slope = jit(jax.value_and_grad(total))(draw(1, 2, 1, 4) * 1e4)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()


def test_gradients_in_float64():
    with jax.enable_x64(True):
        shape = (1, 3, 2, 2)
        arrays = [draw(*shape, seed=i).astype(jnp.float64) for i in range(3)]
        check_grads(
            jax.jit(lambda q, k, v: attend(q, KeysValues(k, v), causal=True)),
            arrays,
            order=1,
            modes=("rev",),
            atol=1e-6,
            rtol=1e-6,
        )


def test_half_precision_stays_half_precision():
    queries = draw(1, 3, 2, 4).astype(jnp.bfloat16)
    run = jit(lambda x: attend(x, KeysValues(x, x), causal=True))
    found, expected = run(queries), run(queries.astype(jnp.float32))
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(jnp.float32), expected, atol=0.03)


@pytest.mark.parametrize("kv_heads", [0, 4])
def test_the_layer_is_flaxs_multi_head_attention(kv_heads):
    layer = Attention(width=12, heads=4, kv_heads=kv_heads)
    x, memory = draw(2, 3, 12), draw(2, 5, 12, seed=1)

    def both(layer, x, memory):
        return layer(x, layer.look_at(memory))

    names = ("query", "key", "value", "output")
    params = {n: {"kernel": draw(12, 12, seed=i) / 3} for i, n in enumerate(names)}
    flax = nn.MultiHeadDotProductAttention(num_heads=4, use_bias=False)
    theirs = {
        name: {"kernel": kernel["kernel"].reshape(12, 4, 3)}
        for name, kernel in params.items()
    }
    theirs["out"] = {"kernel": theirs.pop("output")["kernel"].reshape(4, 3, 12)}
    np.testing.assert_allclose(
        jit(partial(layer.apply, method=both))({"params": params}, x, memory),
        jit(flax.apply)({"params": theirs}, x, memory),
        atol=1e-5,
    )


def test_a_cache_is_written_where_one_says():
    empty = KeysValues(jnp.zeros((1, 4, 1, 2)), jnp.zeros((1, 4, 1, 2)))
    new = KeysValues(jnp.ones((1, 2, 1, 2)), jnp.full((1, 2, 1, 2), 2.0))
    cache = jit(write_cache)(empty, new, 1)
    np.testing.assert_array_equal(cache.keys[0, :, 0, 0], [0, 1, 1, 0])
    np.testing.assert_array_equal(cache.values[0, :, 0, 0], [0, 2, 2, 0])
    mask = cache_mask(jnp.array([1, 2]), 4)[0, 0]
    np.testing.assert_array_equal(mask, [[1, 1, 0, 0], [1, 1, 1, 0]])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"width": 10, "heads": 4}, "10 does not divide into 4 heads"),
        ({"width": 12, "heads": 4, "kv_heads": 3}, "4 heads do not divide"),
        ({"width": 12, "heads": 0}, "into 0 heads"),
    ],
)
def test_heads_that_do_not_divide_are_refused(fields, words):
    layer = Attention(**fields)
    with pytest.raises(ValueError, match=words):
        layer.init(jax.random.key(0), draw(1, 2, 12), method=Attention.look_at)
