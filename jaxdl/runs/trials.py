"""Training the trials of a search: as one program where they differ in numbers alone.

Trials write no folders of their own and never see the test part; each comes back as
its best validation value.
"""

import dataclasses
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxdl import data as data_room
from jaxdl import parallel, train
from jaxdl.runs.machine import Machine, quick_compiling
from jaxdl.runs.members import Member, together
from jaxdl.search import Asked, Trial
from jaxdl.train.population import JUDGE
from jaxdl.train.task import Plan, Task


class Interrupted(Exception):
    """A signal came; what was trained so far is saved."""


@dataclasses.dataclass(frozen=True)
class Program:
    """Trials that differ in numbers of ``hyper`` alone.

    Attributes:
      asked: the trials.
      members: gives them ready to train, in the same order.
    """

    asked: tuple[Asked, ...]
    members: Callable[[], Sequence[Member]]


def same_program(one: tuple[Task, Plan], other: tuple[Task, Plan]) -> bool:
    """Whether two tasks compute alike but for the numbers in their states: their steps
    and evaluations trace to the same program over states of the same shape."""
    return _traced(*one) == _traced(*other)


def _traced(task: Task, plan: Plan) -> tuple[str, ...]:
    state = jax.eval_shape(task.create, 0)
    batch = data_room.feed(task.data.train, plan.batch_size, plan.seed)(0)
    programs = [
        str(jax.make_jaxpr(function)(state, batch))
        for function in (task.step, task.evaluation)
    ]
    shapes = str(jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), state))
    # Functions are printed with their addresses, which say nothing.
    return tuple(re.sub(r"0x[0-9a-f]+", "", text) for text in (*programs, shapes))


def in_turn(member: Member) -> bool:
    """Whether trials like this one had better train one after another: a program of
    many convolutions takes a CPU longer to compile than to run in turn."""
    if jax.default_backend() != "cpu":
        return False
    task, plan = member.task, member.plan
    batch = data_room.feed(task.data.train, plan.batch_size, plan.seed)(0)
    state = jax.eval_shape(task.create, 0)
    return parallel.convolves(task.step, state, batch)


def train_together(
    program: Program,
    members: Sequence[Member],
    states: Path | None = None,
    watch: train.Watch | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> list[Trial]:
    """Train all trials of a program as one.

    Args:
      program: the trials.
      members: what its ``members()`` gave.
      states: a folder where a run that is killed is saved now and then; removed by
        ``forget`` once its trials are in the table.
      watch: told of what happens.
      interrupted: asked between dispatches.

    Raises:
      Interrupted: it was; what was done is saved in ``states``.
    """
    machine, measuring = together(members)
    kept = machine.checkpoints(states) if states is not None else None
    try:
        with machine.feed:
            fitted = train.fit(
                machine.state(),
                machine.task.step,
                machine.feed,
                evaluate=measuring,
                judge=JUDGE,
                checkpoints=kept,
                watch=watch,
                interrupted=interrupted,
                **_how(machine),
            )
    finally:
        if kept is not None:
            kept.close()
    if fitted.status == "interrupted":
        raise Interrupted
    return _trials(program, fitted, measuring(fitted.best)())


def _how(machine: Machine) -> dict[str, Any]:
    """Length, checks and way, as ``fit`` takes them."""
    return {
        "steps": machine.plan.steps,
        "way": partial(machine.way.step, axis=machine.axis),
        "block_way": partial(machine.way.block, axis=machine.axis),
        "steps_per_call": machine.steps_per_call,
        "evaluate_every": machine.plan.evaluate_every,
        "rule": machine.plan.rule,
    }


def _trials(program: Program, fitted: train.Fitted, metrics: Any) -> list[Trial]:
    """What became of each trial; ``metrics`` hold [trials]."""
    judged = jax.device_get(fitted.progress)
    failed = np.asarray(jax.device_get(fitted.state.failed))
    found = []
    for i, asked in enumerate(program.asked):
        early = bool(judged.members.stopped[i])
        status = "failed" if failed[i] else "early_stopped" if early else "completed"
        best = int(judged.best_step[i])
        found.append(
            Trial(
                asked,
                value=_value(status, best, judged.best_value[i]),
                best_step=best,
                step=int(judged.seen[i]),
                status=status,
                metrics={name: float(v[i]) for name, v in metrics.items()},
            )
        )
    return found


def train_in_turn(
    program: Program,
    members: Sequence[Member],
    interrupted: Callable[[], bool] = lambda: False,
) -> Iterator[Trial]:
    """Train the trials of a program one after another, compiled once.

    Raises:
      Interrupted: it was; the trial under way is lost.
    """
    first = members[0]
    machine = Machine.of(first.task, first.plan)
    how = _how(machine)
    step = how["way"](first.task.step)
    block = how["block_way"](first.task.step)
    how |= {"way": lambda _: step, "block_way": lambda _: block}
    validation = machine.validation
    for asked, member in zip(program.asked, members, strict=True):
        if member.plan.seed != machine.plan.seed:  # another order of examples
            machine = Machine.of(member.task, member.plan)
        with machine.feed:
            fitted = train.fit(
                machine.way.state(_begun(member)),
                first.task.step,
                machine.feed,
                evaluate=partial(machine.measuring, checks=validation),
                interrupted=interrupted,
                **how,
            )
        if fitted.status == "interrupted":
            raise Interrupted
        best = int(fitted.progress.best_step)
        yield Trial(
            asked,
            value=_value(fitted.status, best, fitted.progress.best_value),
            best_step=best,
            step=fitted.step,
            status=fitted.status,
            metrics=machine.measure(fitted.best, validation),
        )


def _begun(member: Member) -> Any:
    return jax.jit(member.create, compiler_options=quick_compiling())()


def _value(status: str, best_step: int, value: Any) -> float:
    return float("nan") if status == "failed" or best_step < 0 else float(value)


def forget(states: Path) -> None:
    """Remove what a program was saved in."""
    shutil.rmtree(states, ignore_errors=True)
