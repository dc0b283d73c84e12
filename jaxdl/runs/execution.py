"""Executing a task: the shell around ``fit`` that writes a run folder.

Everything a command does besides parsing its flags, so that a notebook does the
same by calling ``execute``.
"""

import dataclasses
import shlex
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import jax
from absl import flags

from jaxdl import parallel, random_bits, train
from jaxdl.memory import keep_freed_memory
from jaxdl.parallel import hosts
from jaxdl.runs import ahead, environment, failure, outcome, resume, screen, signals
from jaxdl.runs.flagfile import write_flagfile
from jaxdl.runs.folder import (
    RunFolder,
    create,
    default_workdir,
    lock,
    read_json,
    write_json,
)
from jaxdl.runs.follower import Follower
from jaxdl.runs.machine import Machine
from jaxdl.runs.profiler import profiled
from jaxdl.runs.recorder import Recorder
from jaxdl.train.task import Plan, Task


@dataclasses.dataclass(frozen=True)
class Request:
    """Which run is asked for.

    Attributes:
      experiment: its name.
      settings: name to value, all of them.
      identity: those that make it this run; a resumed run must share them.
      workdir: the run folder; empty takes a new one.
      mode: "auto", "never" or "must" resume.
      profile: leave a trace of the first steps.
      verify: restore no checkpoint that is not what its manifest says.
      other_code: go on with a run that other code began.
      began: clock (``time.perf_counter``) from which its time counts, such as the
        start of its process; when it was asked for, if nothing is said.
    """

    experiment: str
    settings: Mapping[str, Any]
    identity: Mapping[str, Any]
    workdir: str = ""
    mode: str = "auto"
    profile: bool = False
    verify: bool = True
    other_code: bool = False
    began: float = dataclasses.field(default_factory=time.perf_counter)

    @property
    def length(self) -> dict[str, Any]:
        """The settings that say how long the run is."""
        return {k: self.settings[k] for k in resume.LENGTH if k in self.settings}

    def standing(self, path: Path) -> str:
        """Whether its run at ``path`` is "new", to "continue" or "finished".

        Raises:
          ValueError: in one line, where another run lies there.
        """
        return resume.decide(
            path,
            self.mode,
            self.experiment,
            self.identity,
            self.length,
            self.other_code,
        )


def execute(request: Request, build: Callable[[], tuple[Task, Plan]]) -> int:
    """Build, train, test, write the run folder; returns the exit code.

    Nothing is written before data and model are known to be sound.

    Args:
      request: which run.
      build: gives the task and its plan.

    Raises:
      ValueError, OSError: in one line, for input that cannot be used.
    """
    prepare()
    # What lies on the disk is asked by one process, and told to all.
    name, standing = hosts.by_first(partial(_standing, request))
    path = Path(name)
    if standing == "finished":
        print(
            f"{path} holds this run, finished: raise --epochs or --max_steps to train "
            "on, or give another --workdir."
        )
        return 0
    task, plan = hosts.together(build)
    if standing == "continue":
        plan = _as_before(hosts.by_first(lambda: _way_before(path)), plan)
    machine = hosts.together(lambda: Machine.of(task, plan))
    with ExitStack() as stack:
        folder = hosts.together(lambda: _open(stack, path, request, machine))
        train_here = _train if hosts.primary() else _follow
        code = train_here(request, folder, machine)
        hosts.gather(None, hosts.LITTLE)  # none leaves before the first has written all
    return code


def _standing(request: Request) -> tuple[str, str]:
    """The run's folder, and what there is to do in it."""
    path = Path(request.workdir or default_workdir(request.experiment))
    return str(path), request.standing(path)


def _open(
    stack: ExitStack, path: Path, request: Request, machine: Machine
) -> RunFolder:
    """The run's folder, made, locked and described by the first process."""
    if not hosts.primary():
        return RunFolder(path.expanduser().resolve())
    folder = create(path)
    stack.enter_context(lock(folder))
    describe(request, folder, machine.task, machine.about)
    screen.show_start(machine.task, machine)
    print(f"run {folder.path}")
    return folder


def prepare() -> None:
    """What a process does before it computes: refuse a bad JAX, keep its memory, find
    the cache, make devices of a CPU's cores, and have random bits without loops."""
    environment.check_jax()
    keep_freed_memory()
    if not flags.FLAGS.is_parsed():
        # Orbax asks a flag for each array it saves; half the time of a save were the
        # errors of that outside a command.
        flags.FLAGS.mark_as_parsed()
    environment.enable_compilation_cache()
    parallel.cores.use_cores()
    random_bits.unroll()


def _way_before(path: Path) -> Any:
    """The way that a run was last computed in, as its environment has it."""
    about = read_json(RunFolder(path).environment)
    return about.get("way") if isinstance(about, dict) else None


def _as_before(way: Any, plan: Plan) -> Plan:
    """The plan, with the way that "auto" was resolved to when the run began, where
    there are as many devices as then."""
    if plan.parallel != "auto" or plan.mesh or not isinstance(way, dict):
        return plan
    if way.get("devices") not in (1, jax.device_count()) or hosts.count() > 1:
        return plan
    name, mesh = str(way.get("parallel", "auto")), str(way.get("mesh", ""))
    return dataclasses.replace(plan, parallel=name, mesh=mesh)


def describe(
    request: Request, folder: RunFolder, task: Task, way: Mapping[str, Any]
) -> None:
    """Write what the run is, before its first step; ``way`` is the machine's."""
    for path in (folder.summary, folder.failure):  # of a run that now goes on
        path.unlink(missing_ok=True)
    about = environment.environment()
    which = {"experiment": request.experiment, "way": dict(way)}
    write_json(folder.environment, {**which, **about})
    write_json(
        folder.model,
        {
            "experiment": request.experiment,
            **task.model,
            "data": screen.describe_data(task.data),
            "layers": task.layers(),
        },
    )
    # Settings last: a folder with settings has all the rest.
    flags = {k: v for k, v in request.settings.items() if k not in _NOT_KEPT}
    comment = f"python -m experiments.{request.experiment} --flagfile=THIS_FILE"
    write_flagfile(folder.flags, flags, comment)


# A repeated run is a new one, in a folder of its own.
_NOT_KEPT = (
    *("workdir", "resume", "verify", "other_code", "dry_run", "profile"),
    "traceback",
    *("distributed", "coordinator", "process_count", "process_id", "heartbeat"),
)


def _train(request: Request, folder: RunFolder, machine: Machine) -> int:
    about = (request.experiment, folder, machine)
    show = machine.show if machine.task.show is not None else None
    task = dataclasses.replace(machine.task, show=show)
    with Recorder(folder, task, machine.plan, began=request.began) as recorder:
        return train_to_the_end(
            request,
            folder,
            machine,
            recorder,
            evaluate=lambda state: machine.measuring(state, machine.validation),
            incomplete=lambda fitted: outcome.write_incomplete(
                *about, fitted, recorder
            ),
            complete=lambda fitted, saved: outcome.finish(
                *about, fitted, recorder, saved
            ),
        )


def _follow(request: Request, folder: RunFolder, machine: Machine) -> int:
    """What ``_train`` computes, without what it writes."""
    return train_to_the_end(
        request,
        folder,
        machine,
        Follower(machine),
        evaluate=lambda state: machine.measuring(state, machine.validation),
        incomplete=lambda fitted: None,
        complete=lambda fitted, saved: _measure(machine, fitted),
    )


def _measure(machine: Machine, fitted: train.Fitted) -> None:
    """The part that all processes take in the outcome."""
    outcome.measure(machine, fitted.best)


# Waits for the run's last save, and says whether the last state is on disk.
Saved = Callable[[], bool]


class Witness(Protocol):
    """What is told of a run while it trains; a ``Recorder`` is one."""

    @property
    def watch(self) -> train.Watch:
        """What to hand to ``fit``."""

    def close_line(self) -> None:
        """Called when training is over, before anything is printed."""

    def warn(self, line: str) -> None:
        """Told, in a line, what went wrong and was got over."""


def train_to_the_end(
    request: Request,
    folder: RunFolder,
    machine: Machine,
    recorder: Witness,
    *,
    evaluate: train.Evaluate,
    incomplete: Callable[[train.Fitted], None],
    complete: Callable[[train.Fitted, Saved], None],
) -> int:
    """Fit what the machine holds, under signals and profiler; the exit code.

    Args:
      request, folder, machine, recorder: of the run.
      evaluate: as of ``fit``.
      incomplete: told of a run that was interrupted or failed.
      complete: told of one that came to its end, while its last save goes on: what says
        that the run is finished it writes only if its second argument is true, which
        waits for that save.
    """
    with (
        signals.catch() as caught,
        machine.checkpoints(
            folder.states, verify=request.verify, warn=recorder.warn
        ) as checkpoints,
    ):
        fitted, told = _fit(
            request, folder, machine, checkpoints, recorder, evaluate, _agreed(caught)
        )
        saved = cache(partial(_saved, folder, checkpoints, fitted, recorder))
        if fitted.status not in ("failed", "interrupted"):
            try:
                with caught.raising() if hosts.count() == 1 else nullcontext():
                    complete(fitted, saved)
            except KeyboardInterrupt:
                fitted = dataclasses.replace(fitted, status="interrupted")
        whole = saved()
    if fitted.status == "failed":
        incomplete(fitted)
        print(told)
        return 1
    if fitted.status == "interrupted":
        incomplete(fitted)
        done = "and saved; go on with:" if whole else "but not saved; go on with:"
        print(f"stopped at step {fitted.step} {done}")
        print(f"  {resume_command(request.experiment, folder)}")
        return caught.exit_code
    if not whole:
        # Not finished: the same command then goes on from what there is.
        incomplete(dataclasses.replace(fitted, status="failed"))
        return 1
    return 1 if checkpoints.best_lost else 0


def _fit(
    request: Request,
    folder: RunFolder,
    machine: Machine,
    checkpoints: train.Checkpoints,
    recorder: Witness,
    evaluate: train.Evaluate,
    interrupted: Callable[[], bool],
) -> tuple[train.Fitted, str]:
    """What was fitted, and what to say where a step was not finite."""
    plan = machine.plan
    with (
        machine.feed,
        profiled(
            recorder.watch,
            folder.path if request.profile and hosts.primary() else None,
            -(-plan.steps // machine.steps_per_call),
        ) as watch,
    ):
        began = time.perf_counter()
        ahead.compile_ahead(machine, max(checkpoints.steps(), default=0))
        state = machine.state()
        screen.show_layout(parallel.laid_out(state), machine.way)
        watch.timed("compile", time.perf_counter() - began)
        fitted = train.fit(
            state,
            machine.task.step,
            machine.batches,
            steps=plan.steps,
            way=lambda _: machine.single,
            block_way=lambda _: machine.block,
            steps_per_call=machine.steps_per_call,
            evaluate=evaluate,
            evaluate_every=plan.evaluate_every,
            rule=plan.rule,
            judge=machine.judge,
            checkpoints=checkpoints,
            save_every=plan.save_every,
            watch=watch,
            interrupted=interrupted,
            agree=hosts.anyone if machine.way.processes > 1 else None,
        )
        recorder.close_line()
        told = _failure(folder, machine, fitted) if fitted.status == "failed" else ""
    return fitted, told


def _saved(
    folder: RunFolder,
    checkpoints: train.Checkpoints,
    fitted: train.Fitted,
    recorder: Witness,
) -> bool:
    """Whether the last state is on disk, when it has been waited for."""
    began = time.perf_counter()
    checkpoints.wait()
    recorder.watch.timed("saving", time.perf_counter() - began)
    if not folder.path.is_dir() and hosts.primary():
        # Nothing is made anew there: it would not be this run.
        raise FileNotFoundError(f"the run's folder {folder.path} is gone.")
    return _say_unsaved(checkpoints, fitted)


def _say_unsaved(checkpoints: train.Checkpoints, fitted: train.Fitted) -> bool:
    """Sum up what could not be saved; whether the last state is on disk anyway."""
    if hosts.count() > 1 or fitted.status == "failed":
        return True
    failed = ", ".join(map(str, checkpoints.failed[-5:]))
    if checkpoints.holds(fitted.step):
        if failed:
            screen.warn(f"checkpoint {failed} could not be saved; later ones were.")
        return True
    screen.warn(
        f"checkpoint {failed or fitted.step} could not be saved, and so the last state "
        f"is not on disk: see that {checkpoints.folder} can be written to, and repeat "
        "the command; it goes on from the newest checkpoint."
    )
    return False


def _failure(folder: RunFolder, machine: Machine, fitted: train.Fitted) -> str:
    """What to say of a run that came to a step that was not finite."""
    told = f"a loss or gradient was not finite before step {fitted.step}: stopped."
    step = train.failed_step(fitted.state)
    # Of several processes none has the whole state and batch.
    if step is not None and machine.way.processes == 1:
        told = failure.keep(folder, machine.task.step, fitted.state, machine.feed(step))
    steps = sorted(int(p.name) for p in folder.states.glob("*") if p.name.isdigit())
    kept = f"step {steps[-1]} in {folder.states}" if steps else "none yet"
    return f"{told} The last good checkpoint: {kept}. {failure.ADVICE}"


def _agreed(caught: signals.Caught) -> Callable[[], bool]:
    """Whether a signal came, to this process or to one that trains with it; asked once
    a dispatch, all say so at the same one."""
    agree = hosts.Highest()

    def interrupted() -> bool:
        told = agree(caught.number)
        caught.number = caught.number or told
        return told != 0

    return interrupted


def resume_command(experiment: str, folder: RunFolder) -> str:
    """What to type to go on with a run."""
    return (
        f"python -m experiments.{experiment} "
        f"--flagfile={shlex.quote(str(folder.flags))} "
        f"--workdir={shlex.quote(str(folder.path))}"
    )
