"""Executing a population: seeds, folds or settings, each a run folder of its own.

All members train as one program, or one after another; each is then tested, drawn
and reported as a run of its own would be, below ``members/``.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxdl import data as data_room
from jaxdl import train
from jaxdl.parallel import hosts
from jaxdl.runs import (
    execution,
    failure,
    members_report,
    outcome,
    screen,
    writers,
)
from jaxdl.runs.execution import Request
from jaxdl.runs.folder import RunFolder, create, default_workdir, lock
from jaxdl.runs.machine import Machine
from jaxdl.runs.members import Member, check_alike, machines_of, together
from jaxdl.runs.recorder import Recorder
from jaxdl.train import population
from jaxdl.train.task import Task

WAYS = ("together", "in_turn")


def execute(
    request: Request, build: Callable[[], Sequence[Member]], way: str = "together"
) -> int:
    """Train, test and report all members; the exit code.

    Args:
      request: the settings of the whole; its workdir holds ``members/``.
      build: gives the members.
      way: "together" as one program, or "in_turn".

    Raises:
      ValueError, OSError: in one line, for input that cannot be used.
    """
    if way not in WAYS:
        raise ValueError(f"the way is {way!r}: give one of {', '.join(WAYS)}.")
    execution.prepare()
    hosts.together(_require_one_process)
    path = Path(request.workdir or default_workdir(request.experiment))
    if request.standing(path) == "finished":
        print(f"{path} holds these runs, finished: give another --workdir.")
        return 0
    members = build()
    check_alike(members)
    folder = create(path)
    with lock(folder):
        execution.describe(request, folder, members[0].task, {})
        train_all = _together if way == "together" else _in_turn
        return train_all(request, folder, members)


def _require_one_process() -> None:
    if hosts.count() > 1:
        raise ValueError(
            f"members (--seeds, --folds) train in one process, and here are "
            f"{hosts.count()}: start it without the others, or leave them out."
        )


def member_folder(folder: RunFolder, member: Member) -> RunFolder:
    """Where a member's run lies."""
    return RunFolder(folder.members / member.name)


def _request(request: Request, folder: RunFolder, member: Member) -> Request:
    """The request of a member alone."""
    identity = {name: member.settings[name] for name in request.identity}
    workdir = str(member_folder(folder, member).path)
    return dataclasses.replace(
        request, settings=member.settings, identity=identity, workdir=workdir
    )


def _in_turn(request: Request, folder: RunFolder, members: Sequence[Member]) -> int:
    for member in members:
        print(f"member {member.name}")
        code = execution.execute(
            dataclasses.replace(
                _request(request, folder, member),
                mode="auto",
                began=time.perf_counter(),
            ),
            lambda member=member: (member.task, member.plan),  # type: ignore[misc]
        )
        if code:
            return code
    _conclude(request, folder, members, machines_of(members))
    return 0


def _together(request: Request, folder: RunFolder, members: Sequence[Member]) -> int:
    members = [
        dataclasses.replace(member, task=_remembering(member.task))
        for member in members
    ]
    machine, measuring = together(members)
    screen.show_start(members[0].task, machine)
    cores = len(machine.devices) if machine.way.name == "none" else 1
    apart = f", shared out to {cores} cores" if cores > 1 else ""
    print(f"{len(members)} members as one program{apart}, in {folder.members}")
    folders = [create(member_folder(folder, member).path) for member in members]
    for member, place in zip(members, folders, strict=True):
        execution.describe(
            _request(request, folder, member), place, member.task, machine.about
        )
    logs = tuple(
        writers.run_log(place.metrics, place.path, screen.warn) for place in folders
    )
    log = writers.MembersLog(logs)
    # The state is all members' at once: there is none to show.
    task = dataclasses.replace(members[0].task, show=None)
    with Recorder(
        folder,
        task,
        machine.plan,
        log=log,
        members=len(members),
        began=request.began,
    ) as recorder:
        return execution.train_to_the_end(
            request,
            folder,
            machine,
            _Settling(recorder, log),
            evaluate=measuring,
            incomplete=lambda fitted: members_report.write_incomplete(
                request.experiment, folder, machine, fitted, recorder
            ),
            complete=partial(_finish, request, folder, members, log, recorder, machine),
        )


@dataclasses.dataclass(frozen=True)
class _Settling:
    """A recorder whose log is settled after each check."""

    recorder: Recorder
    log: writers.MembersLog

    @property
    def watch(self) -> train.Watch:
        """What to hand to ``fit``."""
        watch = self.recorder.watch

        def checked(step: int, judgement: Any, state: Any) -> None:
            self.log.settle((np.asarray(judgement.seen) == step).tolist())
            watch.checked(step, judgement, state)

        return dataclasses.replace(watch, checked=checked)

    def warn(self, line: str) -> None:
        """As the recorder does."""
        self.recorder.warn(line)

    def close_line(self) -> None:
        """As the recorder does."""
        self.recorder.close_line()


def _remembering(task: Task) -> Task:
    """The task, computing its baselines once for all members that share it."""
    return dataclasses.replace(task, baselines=cache(task.baselines))


def _finish(
    request: Request,
    folder: RunFolder,
    members: Sequence[Member],
    log: writers.MembersLog,
    recorder: Recorder,
    together: Machine,
    fitted: train.Fitted,
    saved: execution.Saved,
) -> None:
    """Each member's checkpoints, test part and report; then those of the whole."""
    if not saved():
        return
    machines = machines_of(members)
    whole = machines[0].way.whole  # members may lie on devices of their own
    fitted = dataclasses.replace(
        fitted, state=whole(fitted.state), progress=whole(fitted.progress)
    )
    for index, (member, machine) in enumerate(zip(members, machines, strict=True)):
        place = member_folder(folder, member)
        alone = _alone(fitted, index)
        _keep(place, alone)
        own = _MemberRecorder(recorder, log.logs[index], len(members))
        print(f"member {member.name}")
        if alone.status == "failed":
            batch = data_room.feed(
                member.task.data.train, member.plan.batch_size, member.plan.seed
            )(alone.step)
            print(f"  {failure.keep(place, member.task.step, alone.state, batch)}")
            outcome.write(request.experiment, place, machine, alone, own, {}, {})
        else:
            outcome.finish(request.experiment, place, machine, alone, own)
    _conclude(request, folder, members, machines, recorder)
    screen.line(outcome.time_line(together, fitted, recorder))


def _alone(fitted: train.Fitted, index: int) -> train.Fitted:
    """What ``fit`` would have returned of one member."""
    stacked, judgement = fitted.state, fitted.progress
    progress = population.member(judgement.members, index)
    state = population.member(stacked.states, index)
    failed = train.failed_step(state)
    early = bool(progress.stopped)
    alone = train.Fitted(
        state=train.before_failure(state),
        best=population.member(judgement.best, index),
        best_step=int(progress.best_step),
        progress=progress,
        status="early_stopped" if early else "completed",
        step=int(judgement.seen[index]),
    )
    if failed is None:
        return alone
    return dataclasses.replace(alone, status="failed", step=failed)


def _keep(folder: RunFolder, fitted: train.Fitted) -> None:
    """Save the best and the last state, as a run of its own would have them."""
    best = int(fitted.progress.best_step)
    with train.Checkpoints(folder.states) as checkpoints:
        if 0 <= best < fitted.step:
            checkpoints.save(best, fitted.best, fitted.progress, best_step=best)
        checkpoints.save(fitted.step, fitted.state, fitted.progress, best_step=best)
    if checkpoints.failed:
        raise OSError(f"{folder.states} cannot be written; make room and start again.")


@dataclasses.dataclass(frozen=True)
class _MemberRecorder:
    """What a member's outcome asks of a recorder; times are shares of the whole's."""

    whole: Recorder
    log: writers.Tee
    members: int

    def test(self, step: int, values: Mapping[str, float]) -> None:
        """Log the test metrics."""
        self.log.append(step, "test", values)

    def account(self, *_: Any) -> dict[str, float]:
        """None: the time is that of all members together."""
        return {}

    @property
    def wall_seconds(self) -> float:
        """Of all members together."""
        return self.whole.wall_seconds

    @property
    def warnings(self) -> list[str]:
        """Of all members together."""
        return self.whole.warnings

    @property
    def compile_seconds(self) -> float:
        """Of all members together."""
        return self.whole.compile_seconds

    @property
    def examples_per_second(self) -> float | None:
        """A member's share."""
        rate = self.whole.examples_per_second
        return None if rate is None else rate / self.members


def _conclude(
    request: Request,
    folder: RunFolder,
    members: Sequence[Member],
    machines: Sequence[Machine],
    recorder: Recorder | None = None,
) -> None:
    """Mean, spread and best of all members, and what their average predicts."""
    places = [member_folder(folder, member) for member in members]
    found = members_report.gather(request.experiment, places, recorder)
    found["ensemble"] = _ensemble(machines, places)
    members_report.finish(folder, found, machines[0].task.headline)


def _ensemble(
    machines: Sequence[Machine], places: Sequence[RunFolder]
) -> dict[str, float]:
    """Metrics of the members' averaged outputs on a test part that they share; none
    where outputs are no plain array."""
    task = machines[0].task
    tests = [machine.task.data.test for machine in machines]
    if task.outputs is None or not data_room.members.shared(tests):
        return {}
    total: Any = None
    for machine, place in zip(machines, places, strict=True):
        _, state = outcome.best_state(machine, place)
        outputs = machine.outputs(state, machine.passes(tests[0]))
        if not isinstance(outputs, np.ndarray) or outputs.dtype.kind != "f":
            return {}
        total = outputs if total is None else total + outputs
    findings = task.findings(state, total / len(machines), tests[0])
    return dict(findings.metrics)
