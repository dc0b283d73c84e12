"""Compiling ahead: nothing that it compiled is compiled again, nothing else changes."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments import image_classification
from jaxdl.data import resident
from jaxdl.runs import ahead
from jaxdl.runs.machine import Machine
from jaxdl.runs.times import COMPILED
from jaxdl.train.packing import unpack
from jaxdl.train.task import Plan


@pytest.fixture(params=[True, False], ids=["gathering", "fed"])
def gathers(request, monkeypatch):
    """Whether steps gather their batches by themselves, where there are kernels."""
    if request.param:
        request.getfixturevalue("compiled")
    else:
        monkeypatch.setattr(resident, "MOST_BYTES", 0)
    return request.param


@pytest.fixture(params=[13, 12])
def machine(request, gathers):
    """Of blocks of four steps, with a step left and without."""
    settings = image_classification.Settings(
        model="mlp",
        batch_size=32,
        max_steps=request.param,
        evaluate_every=4,
        augment="none",
    )
    machine = Machine.of(*image_classification.build(settings))
    assert (machine.resident is not None) == gathers
    return machine


@pytest.fixture
def compilations():
    seconds = []

    def heard(event, duration_secs, **_):
        if event == COMPILED:
            seconds.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(heard)
    yield seconds
    jax.monitoring.unregister_event_duration_listener(heard)


def test_what_is_called_later_finds_itself_compiled(machine, compilations):
    ahead.compile_ahead(machine)
    data, size = machine.task.data, machine.steps_per_call
    batches = machine.batches(0, size), machine.batches(size)
    checks = [list(machine.checks(part)) for part in (data.validation, data.test)]
    assert size > 1
    assert machine.way.name == "none"
    rule, judge = machine.plan.rule, machine.judge
    progress = judge.start(rule, machine.task.create(0))
    compilations.clear()
    state = machine.state()
    state, _ = machine.block(state, batches[0])
    if machine.counted is not None:
        state, _ = machine.single(state, batches[1])
    for part in checks:
        machine.evaluation(state, part[0])
    machine.answers(state, next(iter(machine.passes(data.test))))
    for step in (4, 8):
        values = {rule.monitor: 0.5}
        progress, state = judge.observe(rule, progress, state, values, step)
    assert compilations == []


def test_members_and_other_devices_are_left_alone(machine, compilations):
    elsewhere = dataclasses.replace(machine.way, name="data")
    ahead.compile_ahead(dataclasses.replace(machine, way=elsewhere))
    assert compilations == []


def test_what_cannot_be_compiled_is_told_as_a_step_would(machine):
    def step(state, batch):
        raise ValueError("no such step")

    task = dataclasses.replace(machine.task, step=step)
    with pytest.raises(ValueError, match="no such step"):
        ahead.compile_ahead(dataclasses.replace(machine, task=task))


@pytest.mark.parametrize(
    ("steps", "evaluate_every", "save_every", "size", "found"),
    [
        (64, 32, 0, 16, (True, False)),
        (67, 32, 0, 16, (True, True)),
        (64, 32, 24, 16, (True, True)),
        (8, 32, 0, 16, (False, True)),
        (64, 32, 0, 1, (False, True)),
        (64, 0, 0, 16, (True, False)),
    ],
)
def test_only_the_dispatches_that_will_be_taken_count(
    steps, evaluate_every, save_every, size, found
):
    plan = Plan(
        batch_size=1,
        steps=steps,
        evaluate_every=evaluate_every,
        save_every=save_every,
        rule=None,
    )
    assert ahead._dispatches(plan, size) == found


def test_a_counted_block_gives_the_bits_of_blocks_and_single_steps(machine):
    size, task = machine.steps_per_call, machine.task
    assert (machine.counted is None) == (machine.plan.steps == 12)
    plain = jax.jit(task.step)
    whole, rows = machine.block(machine.state(), machine.batches(0, size))
    alone = machine.state()
    for step in range(size):
        alone, _ = plain(alone, machine.feed(step))
    _require_equal(whole, alone)
    assert jax.tree.leaves(rows)[0].shape[0] == size
    after, row = machine.single(whole, machine.batches(size))
    expected, wanted = plain(alone, machine.feed(size))
    _require_equal((after, unpack(row)), (expected, wanted))


def _require_equal(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(x, y)
