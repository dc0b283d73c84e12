"""Placements by name, and how many steps a dispatch holds."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from jaxdl import models, parallel
from jaxdl.parallel.blocks import automatic_block, equations


def test_auto_is_a_fixed_rule_over_the_devices():
    one = jax.local_devices()[:1]
    assert parallel.placement("auto", one).name == "none"
    assert parallel.placement("auto", one * 2).name == "data"


def test_an_unknown_way_lists_those_there_are():
    with pytest.raises(ValueError, match="'fast': give one of auto, none, data, fsdp"):
        parallel.placement("fast")


def mlp_step(state, batch):
    return state + jnp.sum(batch @ jnp.ones((4, 2))), {}


def conv_step(state, batch):
    net = nn.Conv(2, (3, 3))
    variables = net.init(jax.random.key(0), batch)
    return state + jnp.sum(jax.jit(net.apply)(variables, batch)), {}


@pytest.mark.parametrize(("boundary", "size"), [(1, 1), (7, 7), (34, 2), (64, 16)])
def test_blocks_divide_the_steps_between_checks(boundary, size):
    state, batch = jnp.zeros(()), jnp.ones((3, 4))
    assert automatic_block(mlp_step, state, batch, boundary) == size


def test_a_convolution_is_not_put_into_a_cpu_loop():
    """However deep it is nested: here inside a jitted call."""
    state, batch = jnp.zeros(()), jnp.ones((3, 8, 8, 1))
    jaxpr = jax.make_jaxpr(conv_step)(state, batch).jaxpr
    found = {equation.primitive.name for equation in equations(jaxpr)}
    assert "conv_general_dilated" in found
    expected = 1 if jax.default_backend() == "cpu" else 16
    assert automatic_block(conv_step, state, batch, 16) == expected


def test_vmapped_states_may_see_batches_of_their_own():
    def step(state, batch):
        return state + batch["x"].sum(), {"sum": batch["x"].sum()}

    states, batch = jnp.zeros(2), {"x": jnp.arange(6.0).reshape(2, 3)}
    shared, _ = parallel.vmap(step)(states, batch)
    own, metrics = parallel.vmap(step, batch_axis=0)(states, batch)
    assert shared.tolist() == [15.0, 15.0]
    assert own.tolist() == [3.0, 12.0]
    assert metrics["sum"].tolist() == [3.0, 12.0]


def test_models_of_jaxdl_run_by_vmap_over_seeds():
    """The members of a vmapped initialisation differ, and each equals its own."""
    net, example = models.create("mlp", classes=3, hidden=(4,)), jnp.zeros((1, 5))
    stacked, _ = jax.vmap(lambda s: models.init(net, jax.random.key(s), example))(
        jnp.arange(2)
    )
    alone, _ = models.init(net, jax.random.key(1), example)
    jax.tree.map(lambda many, one: _same(many[1], one), stacked, alone)
    kernel = stacked["Dense_0"]["kernel"]
    assert not jnp.allclose(kernel[0], kernel[1])


def _same(got, expected):
    assert jnp.allclose(got, expected, rtol=1e-6, atol=1e-7)
