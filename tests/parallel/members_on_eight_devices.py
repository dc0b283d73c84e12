"""Members that train together equal each alone; checkpoints move between devices.

Run by ``test_ways.py`` in a process of its own with eight virtual devices.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxdl import optimizers, parallel, train
from jaxdl.train import population
from tests.parallel.small_nets import (
    CLOSE,
    STEPS,
    assert_close,
    at,
    batches,
    learner,
    one_by_one,
    plain,
    state,
    transformer,
)


def test_vmap_over_seeds_equals_separate_runs():
    optimizer, step = learner()
    seeds = jnp.arange(3)
    members = jax.vmap(lambda seed: state(optimizer, seed))(seeds)
    final, losses = one_by_one(parallel.jit(parallel.vmap(step)), members)
    for i in range(3):
        alone, alone_losses = plain(seed=i)
        np.testing.assert_allclose(losses[:, i], alone_losses, **CLOSE)
        assert_close(at(final.params, i), alone.params)
    assert not np.allclose(losses[:, 0], losses[:, 1], rtol=1e-3)


def test_vmap_over_dropout_rates_equals_separate_runs():
    optimizer, step = learner()
    rates = jnp.array([0.0, 0.3, 0.7])
    members = jax.vmap(lambda rate: state(optimizer, dropout=rate))(rates)
    final, losses = one_by_one(parallel.jit(parallel.vmap(step)), members)
    for i, rate in enumerate([0.0, 0.3, 0.7]):
        alone, alone_losses = plain(dropout=rate)
        np.testing.assert_allclose(losses[:, i], alone_losses, **CLOSE)
        assert_close(at(final.params, i), alone.params)
    assert not np.allclose(losses[:, 0], losses[:, 2], rtol=1e-3)


def test_members_apart_equal_each_alone():
    """Four members over two devices, by steps and by blocks; one that does not run
    stays as it is. To rounding: XLA fuses a Transformer otherwise inside a loop
    (an MLP it does not: ``test_seeds.py`` compares bytes)."""
    step, first, batch = transformer()
    count, steps, resting = 4, 6, 2
    states = [first.replace(key=jax.random.key(i)) for i in range(count)]
    draw = np.random.default_rng(2)
    orders = draw.permuted(np.tile(np.arange(16), (steps, count, 1)), axis=2)
    batches = {name: rows[orders] for name, rows in batch.items()}
    devices = np.array(jax.devices()[:2])
    apart = parallel.members.Apart(
        Mesh(devices, (parallel.members.MEMBERS,)), parallel.members.in_turn
    )
    way, run = apart.placement(), apart.member_step(step)

    def begin():
        together = population.stack(states)
        running = np.arange(count) != resting
        return way.state(together.replace(running=running))

    block, told = way.block(run, axis=1)(begin(), way.put(batches, 2))
    now, compiled, losses = begin(), way.step(run, axis=1), []
    for i in range(steps):
        now, metrics = compiled(now, way.put(at(batches, i), 1))
        losses.append(np.asarray(metrics["loss"].total))
    np.testing.assert_allclose(told["loss"].total, losses, rtol=1e-6)
    alone = parallel.jit(step, donate=False)
    for index, mine in enumerate(states):
        for i in range(0 if index == resting else steps):
            mine, metrics = alone(mine, at(at(batches, i), index))
            total = metrics["loss"].total
            np.testing.assert_allclose(losses[i][index], total, rtol=1e-6)
        for got in (now, block):
            member = population.member(jax.device_get(got.states.params), index)
            close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
            jax.tree.map(close, member, mine.params)
            if index == resting:
                jax.tree.map(np.testing.assert_array_equal, member, mine.params)


def test_a_checkpoint_moves_between_ways_and_counts_of_devices(tmp_path):
    """Saved in the middle under one way, ended under another: the same losses."""
    optimizer, step = learner()
    ways = [
        parallel.placement(name, jax.devices()[:count])
        for name, count in (("fsdp", 8), ("none", 1), ("data", 4), ("pmap", 8))
    ]
    now, losses = ways[0].state(state(optimizer)), []
    for i in range(STEPS):
        way = ways[i % len(ways)]
        with train.Checkpoints(tmp_path / "states") as checkpoints:
            if i:
                template = way.state(state(optimizer))
                now = checkpoints.restore(template, {"checks": jnp.zeros(())}).state
            now, metrics = way.step(step)(now, way.put(at(batches(), i), 0))
            checkpoints.save(i + 1, now, {"checks": jnp.zeros(())})
        losses.append(metrics["loss"].total / metrics["loss"].count)
    expected, expected_losses = plain()
    np.testing.assert_allclose(losses, expected_losses, **CLOSE)
    assert_close(now.params, expected.params)


def test_members_apart_go_on_from_a_checkpoint(tmp_path):
    """What is restored lies where it lay: the members' progress beside them."""
    devices = np.array(jax.devices()[:2])
    apart = parallel.members.Apart(
        Mesh(devices, (parallel.members.MEMBERS,)), parallel.members.in_turn
    )
    stacked = population.stack([state(optimizers.make("sgd"), seed=i) for i in (0, 1)])
    begun = apart.placement().state(stacked)
    rule, judge = train.Rule("loss", patience=2), population.JUDGE
    first = judge.observe(rule, judge.start(rule, begun), begun, {"loss": [2, 1]}, 1)
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, first.state, first.progress)
        checkpoints.wait()
        template = judge.start(rule, begun)
        restored = checkpoints.restore(begun, template)
    later = [
        judge.observe(rule, progress, now, {"loss": [1, 2]}, 2).progress.best_step
        for progress, now in (first[:2], (restored.progress, restored.state))
    ]
    assert [steps.tolist() for steps in later] == [[2, 1]] * 2
