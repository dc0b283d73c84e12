"""Metrics that were packed come back as they were."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.metrics import Mean, value
from jaxdl.train.packing import Packed, pack, packed, unpack


def metrics(x):
    """Of several shapes and types."""
    return {
        "loss": Mean(x, 2.0 * x),
        "counts": jnp.arange(3) * x.astype(int),
        "rate": value(x + 1),
        "right": x > 0,
    }


def same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for ours, theirs in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == jnp.asarray(theirs).dtype


def test_a_tree_comes_back_from_few_arrays():
    tree = metrics(jnp.float32(3))
    shapes = {(x.shape, x.dtype.name) for x in pack(tree).arrays}
    assert shapes == {((3, 1), "int32"), ((4,), "float32"), ((1,), "bool")}
    same(unpack(pack(tree)), tree)
    same(unpack(jax.device_get(jax.jit(pack)(tree))), tree)


def test_what_is_not_packed_stays():
    tree = metrics(jnp.float32(3))
    assert unpack(tree) is tree


def test_a_step_s_metrics_may_be_stacked_in_between():
    """By a loop, by members, and by both."""

    def step(state, x):
        return state + x, metrics(x)

    given = jnp.asarray([1.0, 0.0, -2.0])
    _, stacked = jax.lax.scan(packed(step), 0.0, given)
    assert isinstance(stacked, Packed)
    _, expected = jax.lax.scan(step, 0.0, given)
    _, behind = packed(lambda state, xs: jax.lax.scan(step, state, xs))(0.0, given)
    same(unpack(behind), expected)
    same(unpack(stacked), expected)
    many = jnp.stack([given, 2 * given], axis=1)
    _, stacked = jax.lax.scan(jax.vmap(packed(step)), jnp.zeros(2), many)
    _, expected = jax.lax.scan(jax.vmap(step), jnp.zeros(2), many)
    same(unpack(stacked), expected)
