"""Computing in bfloat16, and twice to save memory, in every way of running a step.

Run by ``test_ways.py`` (slow) in a process of its own with eight virtual devices.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import models, parallel
from jaxdl.train import population
from tests.parallel.small_nets import transformer


def losses_of(way, step, first, batch):
    """(losses of four steps, last state) by a way; the states given stay whole."""
    now, losses = way.state(jax.tree.map(jnp.copy, first)), []
    compiled = way.step(step)
    for _ in range(4):
        now, metrics = compiled(now, way.put(batch, 0))
        losses.append(float(metrics["loss"].total / metrics["loss"].count))
    return losses, now


def test_computing_in_bfloat16_and_twice_works_in_every_way():
    """Parameters and optimizer stay in float32; rematerialising changes nothing."""
    step, first, batch = transformer(remat=True)
    alone = parallel.placement("none")
    whole, _ = losses_of(alone, *transformer())
    np.testing.assert_allclose(
        losses_of(alone, step, first, batch)[0], whole, rtol=1e-6
    )
    step, first, batch = transformer(remat=True, dtype="bfloat16")
    expected, _ = losses_of(alone, step, first, batch)
    assert expected != whole
    ways = [parallel.placement(name) for name in ("data", "fsdp", "pmap")]
    mesh = {"mesh": "data:4,model:2", "axes": models.LOGICAL_AXES}
    for way in (*ways, parallel.placement("data", **mesh)):
        losses, last = losses_of(way, step, first, batch)
        # A bfloat16 has 8 bits: sums over devices round at 2^-9 = 0.2%.
        np.testing.assert_allclose(losses, expected, rtol=4e-3)
        np.testing.assert_allclose(losses, whole, rtol=2e-2)
        kept = {leaf.dtype for leaf in jax.tree.leaves((last.params, last.opt_state))}
        assert kept <= {jnp.dtype("float32"), jnp.dtype("int32")}
    stack = jax.tree.map(lambda x: np.stack([x] * 4), batch)
    copied = jax.tree.map(jnp.copy, first)
    _, metrics = alone.block(step)(copied, stack)
    scanned = metrics["loss"].total / metrics["loss"].count
    np.testing.assert_allclose(scanned, expected, rtol=1e-6)
    both = population.stack([first, first])
    members = parallel.jit(population.population_step(step, parallel.members.vmapped))
    pair = jax.tree.map(lambda x: np.stack([x] * 2), batch)
    _, metrics = members(both, pair)
    found = metrics["loss"].total / metrics["loss"].count
    np.testing.assert_allclose(found, expected[0], rtol=4e-3)
