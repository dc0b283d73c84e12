"""Data into the step of a small CNN: how fast they come, and how long it waits."""

import time
from typing import Any

import jax

from experiments import image_classification
from experiments.benchmarks import cases, loop
from experiments.benchmarks.worker import Task
from jaxdl import __version__, runs
from jaxdl.runs.execution import execute
from jaxdl.runs.machine import Machine


def take(task: Task) -> dict[str, Any]:
    """MNIST as a run has it, from memory or from records that are decoded as it trains.

    Returns:
      ``examples_a_second`` of the feed alone; of a run, ``milliseconds`` a step with
      its data and ``wait_percent``, the share of that spent waiting for data.
    """
    runs.prepare()
    settings = image_classification.Settings(
        dataset="mnist",
        data_dir=task.data_dir,
        memory_budget=cases.FED[task.case],
        model="simple_cnn",
        augment="none",
        dropout=0.0,
        batch_size=cases.FED_BATCH,
        max_steps=cases.FED_STEPS,
        evaluate_every=cases.FED_STEPS,
    )
    learning, plan = image_classification.build(settings)
    learning = loop.trained_only(learning)
    rate = _rate(Machine.of(learning, plan), task.seconds)
    speed = loop.run_speed(
        image_classification,
        settings,
        lambda asked: execute(asked, lambda: (learning, plan)),
    )
    account = speed[-1]["account"]
    spent = account["step"] + account["data"]
    return {
        "losses": [],
        "examples_a_second": rate,
        "wait_percent": 100 * account["data"] / spent,
        "milliseconds": 1e3 * spent / plan.steps,
        "versions": {"jaxdl": __version__},
    }


def _rate(machine: Machine, seconds: float) -> float:
    """Examples a second that the feed gives, in the blocks that the run asks for."""
    size, step = machine.steps_per_call, 0
    count = () if size == 1 else (size,)
    with machine.feed as feed:
        jax.block_until_ready(feed(0, *count))
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            step += size
            jax.block_until_ready(feed(step, *count))
        spent = time.perf_counter() - began
    return step * machine.plan.batch_size / spent
