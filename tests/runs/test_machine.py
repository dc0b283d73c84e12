"""A machine: what it dispatches at once gives what single batches give."""

import dataclasses

import pytest

from experiments import image_classification
from jaxdl import train
from jaxdl.kernels import loading
from jaxdl.runs import arithmetic
from jaxdl.runs import machine as machines
from jaxdl.runs.machine import Machine


def machine(evaluation_batch, model="mlp"):
    """Of 359 digits in the validation part, and as many in the test part."""
    settings = image_classification.Settings(model=model, batch_size=32, augment="none")
    task, plan = image_classification.build(settings)
    plan = dataclasses.replace(plan, evaluation_batch=evaluation_batch)
    return Machine.of(task, plan)


@pytest.mark.parametrize(
    ("batch", "most", "stack"),
    [(16, 32, 23), (16, 5, 5), (16, 1, None), (90, 32, 4), (360, 32, None)],
)
def test_checks_are_stacked_alike_and_measure_what_batches_do(
    monkeypatch, batch, most, stack
):
    monkeypatch.setattr(machines, "STACK", most)
    here = machine(batch)
    part = here.task.data.validation
    assert here.stack == stack
    assert len(here.checks(part)) == -(-len(here.passes(part)) // (stack or 1))
    monkeypatch.setattr(machines, "STACK", 1)
    apart = machine(batch)
    state = here.state()
    assert here.measure(state, here.validation) == apart.measure(
        state, apart.validation
    )
    begun = here.measuring(state, here.validation)
    assert begun() == train.evaluate(apart.evaluation, state, here.passes(part))


def test_large_batches_are_dispatched_one_by_one(monkeypatch):
    monkeypatch.setattr(machines, "STACK_BYTES", 2 * 16 * (8 * 8 + 4 + 4) - 1)
    assert machine(16).stack is None


def test_batches_that_take_long_are_dispatched_one_by_one(monkeypatch):
    here = machine(16)
    work = arithmetic.operations(here.task.evaluation, here.state(), here.feed(0))
    monkeypatch.setattr(machines, "STACK_OPERATIONS", work / 2)  # of 32 examples
    assert machine(16).stack == 23
    monkeypatch.setattr(machines, "STACK_OPERATIONS", work / 2 - 1)
    assert machine(16).stack is None


def test_a_convolution_runs_in_no_loop(monkeypatch):
    monkeypatch.setattr(loading, "load", lambda: False)
    assert machine(16, "simple_cnn").stack is None
