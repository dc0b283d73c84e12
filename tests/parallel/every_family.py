"""Every family, every way: 20 steps equal those of plain jit on one device.

Run by ``test_ways.py`` (slow) in a process of its own with eight virtual devices. By
momentum, not Adam: Adam divides by the size of a gradient, and so scales the rounding
of those near zero up to whole updates.
"""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest

from experiments import (
    gan,
    image_classification,
    language_model,
    text_classification,
    vae,
)
from jaxdl import data, models, parallel
from jaxdl.train import population

STEPS, BATCH = 20, 16
COMMON = {
    "batch_size": BATCH,
    "max_steps": STEPS,
    "optimizer": "momentum",
    "learning_rate": 1e-3,
    "schedule": "constant",
    "weight_decay": 0.0,
    "epochs": 0,
}
FAMILIES = {
    # No bias before batch norm in this model: its gradient is rounding noise alone.
    "cnn": (
        image_classification,
        {"model": "cnn", "batch_norm": "true", "dropout": 0.2, "augment": "shift=1"},
    ),
    "lstm": (
        text_classification,
        {"model": "lstm", "length": 12, "vocabulary": 200, "hidden": "16", "width": 8},
    ),
    "transformer": (
        language_model,
        {"context": 16, "width": 16, "layers": 1, "heads": 2, "dropout": 0.1},
    ),
    "vae": (vae, {"latents": 4}),
    "gan": (gan, {}),
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    """(task, batches [STEPS, BATCH, ...], the final state and losses of plain jit)."""
    module, changes = FAMILIES[request.param]
    settings = dataclasses.replace(module.Settings(), **COMMON, **changes)
    task, plan = module.build(settings)
    with data.feed(task.data.train, BATCH, plan.seed) as feed:
        batches = jax.device_get(feed(0, STEPS))
    return task, batches, by_steps(parallel.placement("none"), task, batches)


def at(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


def first(task):
    return jax.jit(task.create)(0)


def by_steps(way, task, batches):
    now, losses, step = way.state(first(task)), [], way.step(task.step)
    for i in range(STEPS):
        now, metrics = step(now, way.put(at(batches, i), 0))
        losses.append(metrics["loss"].total / metrics["loss"].count)
    return jax.device_get(now.params), np.array(losses)


def check(got, expected, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(got[1], expected[1], rtol=rtol)
    for a, b in zip(jax.tree.leaves(got[0]), jax.tree.leaves(expected[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=atol)


def test_losses_fall_or_move(family):
    assert np.all(np.isfinite(family[2][1]))
    assert np.ptp(family[2][1]) > 0


def test_scanned(family):
    """To the bit where no convolution is in the loop: there XLA has another routine."""
    task, batches, expected = family
    state = first(task)
    final, metrics = parallel.jit(parallel.scan(task.step))(state, batches)
    losses = metrics["loss"].total / metrics["loss"].count
    got = jax.device_get(final.params), np.asarray(losses)
    check(got, expected)
    one = at(batches, 0)
    if not parallel.blocks.convolves(task.step, jax.eval_shape(task.create, 0), one):
        np.testing.assert_array_equal(got[1], expected[1])


@pytest.mark.parametrize(
    "over",
    [parallel.members.vmapped, parallel.members.in_turn, population.side_by_side],
)
def test_members(family, over):
    """Two members on batches of their own: the first is the run alone, to 1e-6."""
    task, batches, expected = family
    stacked = population.stack([first(task), jax.jit(task.create)(1)])
    step = parallel.jit(population.population_step(task.step, over))
    losses = []
    for i in range(STEPS):
        pair = [at(batches, i), at(batches, STEPS - 1 - i)]
        both = jax.tree.map(lambda *x: np.stack(x), *pair)
        stacked, metrics = step(stacked, both)
        losses.append(metrics["loss"].total[0] / metrics["loss"].count[0])
    params = jax.device_get(population.member(stacked.states, 0).params)
    check((params, np.array(losses)), expected)


@pytest.mark.parametrize("name", ["pmap", "data", "fsdp"])
def test_over_eight_devices(family, name):
    task, batches, expected = family
    check(by_steps(parallel.placement(name), task, batches), expected)


def test_over_a_mesh_that_splits_the_model():
    module, changes = FAMILIES["transformer"]
    settings = dataclasses.replace(module.Settings(), **COMMON, **changes)
    task, plan = module.build(settings)
    with data.feed(task.data.train, BATCH, plan.seed) as feed:
        batches = jax.device_get(feed(0, STEPS))
    expected = by_steps(parallel.placement("none"), task, batches)
    mesh = partial(parallel.placement, mesh="data:4,model:2", axes=models.LOGICAL_AXES)
    for name in ("data", "fsdp"):
        check(by_steps(mesh(name), task, batches), expected)
