"""The loop against its bare step: what data, metrics and checkpoints cost a run.

The run is a whole one, by ``runs.execute``: recorder, feed, evaluation, checkpoints at
their defaults. Counted is its time to the last check, the saves on the way included;
not what it waits in the end, once, until its best and its last state are on the disk
(0.4 s at most of ResNet-20's). The bare side is the same step, compiled by the same way
and in equal blocks, over batches that lie on the device, and the same evaluation over
batches that lie there too, as often as the run checks. So evaluating counts on both
sides, and what is left between them is the loop's. Both go the same steps in turns,
where the run would show samples as it learns (for the clock that saves go by, that time
does not count): what else the machine does then strikes both alike. The first turn is
warm-up on either side: to compile, and to run the first block, in which XLA's libraries
plan their products (0.2 s for a Transformer).
"""

import dataclasses
import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from experiments import common
from experiments.benchmarks import cases, loops
from experiments.benchmarks.loops import Loop
from jaxdl import __version__, runs
from jaxdl.runs import population, shown, writers
from jaxdl.runs.execution import Request, execute
from jaxdl.runs.folder import RunFolder
from jaxdl.runs.machine import Machine
from jaxdl.runs.members import Member, together
from jaxdl.train.packing import packed_evaluation
from jaxdl.train.task import Findings, Plan, Shown, Task

Bare = Callable[[int], None]
# Seconds of the run, seconds of the bare steps, and how many steps they were.
Times = tuple[float, float, int]

# Of the bare step's batches on the device: those of a pass over the data, up to this
# size. Few that come again and again would stay in a core's cache, as no data set does.
RESIDENT_BYTES = 2**26


def bare_steps(machine: Machine, evaluate: Callable[[Any], Any]) -> Bare:
    """The machine's steps and checks without a loop, compiled: told up to which step,
    it goes on until there.

    Args:
      machine: what it runs on.
      evaluate: measures a state by a check's batches, which lie on the device.
    """
    task, plan = machine.task, machine.plan
    size = machine.steps_per_call
    way = machine.way.block if size > 1 else machine.way.step
    step = way(task.step, axis=machine.axis)
    count = () if size == 1 else (size,)
    batches = [machine.feed(0, *count)]
    bytes_each = sum(leaf.nbytes for leaf in jax.tree.leaves(batches[0]))
    a_pass = task.data.train.size // (plan.batch_size * size)
    blocks = max(min(a_pass, RESIDENT_BYTES // bytes_each), 2)
    batches += [machine.feed(i * size, *count) for i in range(1, blocks)]
    state = machine.state()
    state, metrics = step(state, batches[0])
    jax.block_until_ready(metrics)
    evaluate(state)
    machine.feed.close()
    taken = 0

    def go_on(end: int) -> None:
        nonlocal state, metrics, taken
        while taken + size <= min(end, plan.steps):
            taken += size
            state, metrics = step(state, batches[taken // size % blocks])
            if taken % plan.evaluate_every < size or taken == plan.steps:
                jax.block_until_ready(metrics)
                evaluate(state)
        jax.block_until_ready(state)

    return go_on


def _bare_alone(task: Task, plan: Plan) -> Bare:
    """Of one state."""
    machine = Machine.of(task, plan)
    parts = list(machine.passes(task.data.validation))
    evaluation = machine.way.evaluation(packed_evaluation(task.evaluation))

    def evaluate(state: Any) -> None:
        jax.device_get([evaluation(state, part) for part in parts])

    return bare_steps(machine, evaluate)


def _bare_together(members: Sequence[Member]) -> Bare:
    """Of members that train as one program."""
    machine, measuring = together(members)
    return bare_steps(machine, lambda state: measuring(state)())


def trained_only(task: Task) -> Task:
    """The task, neither compared with baselines nor drawn."""
    return dataclasses.replace(
        task, baselines=dict, findings=lambda *_: Findings({}, {})
    )


def run_speed(
    experiment: Any, settings: Any, run: Callable[[Request], int]
) -> list[writers.Row]:
    """What the whole run told of its speed: at each check, and its account."""
    request = common.request(experiment.NAME, settings)
    with tempfile.TemporaryDirectory() as folder:
        run(dataclasses.replace(request, workdir=folder))
        return writers.read(RunFolder(Path(folder)).speed)


def _one(loop: Loop, settings: Any) -> Times:
    """Of a run with one state: by turns, from show to show."""
    task, plan = loop.experiment.build(settings)
    bare = _bare_alone(task, plan)
    between = shown.every(plan.steps, plan.evaluate_every)
    turns: list[tuple[float, float]] = []  # the bare steps', by the clock

    def take_turns(_: Any) -> Shown:
        began = time.perf_counter()
        bare(len(turns) * between)
        turns.append((began, time.perf_counter()))
        return {}

    task = dataclasses.replace(trained_only(task), show=take_turns)
    run_speed(
        loop.experiment, settings, lambda asked: execute(asked, lambda: (task, plan))
    )
    pairs = itertools.pairwise(turns[1:])
    looped = sum(began - ended for (_, ended), (began, _) in pairs)
    apart = sum(ended - began for began, ended in turns[2:])
    return looped, apart, plan.steps - between


def _several(loop: Loop, settings: Any) -> Times:
    """Of a run with members, which shows nothing on its way: the run, then the bare
    steps, from their first check on."""
    members = [
        dataclasses.replace(member, task=trained_only(member.task))
        for member in loop.experiment.members(settings)
    ]
    speed = run_speed(
        loop.experiment,
        settings,
        lambda asked: population.execute(asked, lambda: members),
    )
    looped = speed[-2]["wall_seconds"] - speed[0]["wall_seconds"]
    bare, plan = _bare_together(members), members[0].plan
    bare(plan.evaluate_every)
    began = time.perf_counter()
    bare(plan.steps)
    return looped, time.perf_counter() - began, plan.steps - plan.evaluate_every


def take(name: str) -> dict[str, Any]:
    """The run of a case, and the bare step beside it.

    Returns:
      ``milliseconds`` a step, checks included on both sides.
    """
    runs.prepare()
    loop = loops.LOOPS[name]
    with tempfile.TemporaryDirectory() as folder:
        settings = loops.settings(name, Path(folder))
        times = _several if cases.CASES[name].folds > 1 else _one
        *seconds, steps = times(loop, settings)
    ours, theirs = (
        {
            "losses": [],
            "milliseconds": 1e3 * spent / steps,
            "versions": {"jaxdl": __version__},
        }
        for spent in seconds
    )
    return {**ours, "beside": {"bare step": theirs}}
