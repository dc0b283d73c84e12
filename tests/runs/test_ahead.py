"""Compiling ahead: nothing that it compiled is compiled again, nothing else changes."""

import dataclasses

import jax
import pytest

from experiments import image_classification
from jaxdl.runs import ahead
from jaxdl.runs.machine import Machine
from jaxdl.runs.times import COMPILED
from jaxdl.train.task import Plan


@pytest.fixture
def machine():
    settings = image_classification.Settings(
        model="mlp", batch_size=32, max_steps=13, evaluate_every=4, augment="none"
    )
    return Machine.of(*image_classification.build(settings))


@pytest.fixture
def compiled():
    seconds = []

    def heard(event, duration_secs, **_):
        if event == COMPILED:
            seconds.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(heard)
    yield seconds
    jax.monitoring.unregister_event_duration_listener(heard)


def test_what_is_called_later_finds_itself_compiled(machine, compiled):
    with ahead.compiling(machine):
        state = machine.state()
    data, size = machine.task.data, machine.steps_per_call
    batches = machine.feed(0, size), machine.feed(size)
    passes = [list(machine.passes(part)) for part in (data.validation, data.test)]
    assert size > 1
    assert machine.way.name == "none"
    compiled.clear()
    state, _ = machine.block(state, batches[0])
    state, _ = machine.single(state, batches[1])
    for part in passes:
        machine.evaluation(state, part[0])
    machine.answers(state, passes[1][0])
    assert compiled == []


def test_members_and_other_devices_are_left_alone(machine, compiled):
    elsewhere = dataclasses.replace(machine.way, name="data")
    with ahead.compiling(dataclasses.replace(machine, way=elsewhere)):
        assert compiled == []
    assert compiled == []


def test_what_cannot_be_compiled_is_told_as_a_step_would(machine):
    def step(state, batch):
        raise ValueError("no such step")

    task = dataclasses.replace(machine.task, step=step)
    with (
        pytest.raises(ValueError, match="no such step"),
        ahead.compiling(dataclasses.replace(machine, task=task)),
    ):
        pass


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
