"""How members that train together are computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

from jaxdl.parallel import members
from jaxdl.train import population


def step(state, batch):
    return {"w": state["w"] - 0.1 * jnp.mean(batch)}, {"loss": jnp.sum(state["w"])}


@pytest.mark.parametrize("each", [members.in_turn, population.side_by_side])
def test_only_members_taken_in_turn_are_put_into_a_branch(each):
    """On a CPU a convolution inside a branch takes twenty times as long."""
    devices = np.array(jax.devices()[:1])
    mesh = Mesh(devices, (members.MEMBERS,), axis_types=(AxisType.Auto,))
    apart = members.Apart(mesh, each)
    stacked = population.stack([{"w": jnp.ones(2)}, {"w": jnp.ones(2)}])
    stacked = stacked.replace(running=jnp.array([True, False]))
    batch = jnp.ones((2, 4))
    run = apart.over(apart.member_step(step))
    branches = "cond[" in str(jax.make_jaxpr(run)(stacked, batch))
    assert branches == (each is members.in_turn)
    states, _ = run(stacked, batch)
    np.testing.assert_allclose(states.states["w"][:, 0], [0.9, 1.0], rtol=1e-6)
