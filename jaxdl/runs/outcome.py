"""How a run ends: the test part, once; pictures, summary, report, last lines."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, Protocol

from threadpoolctl import threadpool_limits

from jaxdl import train
from jaxdl.metrics import DIRECTIONS
from jaxdl.models import count_parameters
from jaxdl.runs import arithmetic, plots, report, screen, shown, times, writers
from jaxdl.runs.folder import RunFolder
from jaxdl.runs.machine import Machine
from jaxdl.runs.summary import summarize, write_summary


class Account(Protocol):
    """What an outcome asks of a recorder: a log for the test part, and times."""

    @property
    def examples_per_second(self) -> float | None:
        """Training speed without compiling."""

    @property
    def compile_seconds(self) -> float:
        """Time to compile."""

    @property
    def wall_seconds(self) -> float:
        """Of the whole run."""

    @property
    def warnings(self) -> list[str]:
        """What went wrong and was got over."""

    def test(self, step: int, values: Mapping[str, float]) -> None:
        """Log the test metrics."""

    def account(
        self,
        step: int,
        operations: Callable[[], int],
        peak: Callable[[float], float | None],
    ) -> dict[str, float]:
        """Where the time went; nothing of a member, whose time is shared."""


class Measured(NamedTuple):
    """What the devices say of a state and the test part.

    Attributes:
      state: the state, where this process can compute with it alone.
      values: the evaluation's metrics.
      outputs: of every example; None for a task without outputs.
    """

    state: Any
    values: dict[str, float]
    outputs: Any


def measure(machine: Machine, state: Any) -> Measured:
    """Measure a state on the test part; of several processes, all must."""
    source = machine.task.data.test
    values = machine.measure(state, machine.checks(source))
    outputs = machine.outputs(state, machine.passes(source))
    return Measured(machine.way.here(state), values, outputs)


def test(machine: Machine, state: Any) -> tuple[dict[str, float], Mapping[str, Any]]:
    """Metrics and pictures of a state on the test part; its notes, as a text among
    the pictures."""
    state, values, outputs = measure(machine, state)
    findings = machine.task.findings(state, outputs, machine.task.data.test)
    pictures = dict(findings.pictures)
    if findings.notes:
        pictures[report.NOTES] = "".join(f"{note}\n" for note in findings.notes)
    return {**values, **findings.metrics}, pictures


def best_state(machine: Machine, folder: RunFolder) -> tuple[int, Any]:
    """Step and state of the best check of a run, on the devices; of the newest where
    that is lost.

    Raises:
      FileNotFoundError: the folder holds no checkpoint.
    """
    state = machine.state()
    progress = machine.judge.start(machine.plan.rule, state)
    with machine.checkpoints(
        folder.states, read_only=True, warn=screen.warn
    ) as checkpoints:
        found = checkpoints.restore(state, progress)
        if found is None:
            raise FileNotFoundError(
                f"{folder.states} holds no checkpoint that is whole."
            )
        best = machine.judge.best_step(found.progress)
        if best not in (-1, found.step):
            better = checkpoints.restore(state, progress, best)
            if better is None:
                checkpoints.tell_best_lost(best, found.step)
            found = better or found
    return found.step, found.state


def logged(history: Sequence[Mapping[str, Any]], step: int) -> dict[str, Any]:
    """What was logged of training and validation at a step; of the last where
    nothing was."""
    metrics = {}
    for split in ("train", "validation"):
        rows = [row for row in history if row["split"] == split]
        for row in [row for row in rows if row["step"] == step] or rows[-1:]:
            metrics[split] = {k: v for k, v in row.items() if k in DIRECTIONS}
    return metrics


def finish(
    experiment: str,
    folder: RunFolder,
    machine: Machine,
    fitted: train.Fitted,
    recorder: Account,
    saved: Callable[[], bool] = lambda: True,
) -> None:
    """Test the best state, write all that a finished run has, print the result.

    Nothing of it is kept unless the last state is ``saved``, which is asked when
    the devices have nothing left to do.
    """
    best_step = fitted.best_step
    with ThreadPoolExecutor(1, thread_name_prefix="jaxdl-baselines") as other:
        # They compute in NumPy, and leave the interpreter to what is drawn.
        coming = other.submit(_on_one_thread, machine.task.baselines)
        values, pictures = test(machine, fitted.best)
        if not saved():
            return
        recorder.test(best_step if best_step >= 0 else fitted.step, values)
        history = writers.read(folder.metrics)
        plots.learning_curves(
            history, folder.plots / "learning_curves.png", best_step=best_step
        )
        (folder.plots / report.NOTES).unlink(missing_ok=True)  # of a run that went on
        shown.write(pictures, folder.plots)
        baselines = coming.result()
    metrics = {**logged(history, best_step), "test": values}
    write(experiment, folder, machine, fitted, recorder, metrics, baselines)
    spent = time_line(machine, fitted, recorder)
    report.write_report(folder)
    screen.result_table(values, baselines, machine.task.headline, folder.report)
    screen.notes(str(pictures.get(report.NOTES, "")))
    screen.line(spent)


def _on_one_thread(compute: Callable[[], Any]) -> Any:
    """What a function gives, its products on one thread: BLAS's others would wait in
    loops beside XLA's and the drawing, and small products gain nothing by them."""
    with threadpool_limits(1):
        return compute()


def time_line(machine: Machine, fitted: train.Fitted, recorder: Account) -> str:
    """Where the run's time went, in a line, which the folder then holds too; empty for
    a member."""
    arguments = machine.task.model.get("model", {}).get("arguments", {})
    dtype = str(arguments.get("dtype", "float32"))
    peak = partial(arithmetic.peak, machine.way.devices, dtype)
    account = recorder.account(fitted.step, machine.operations, peak)
    return times.line(account) if account else ""


def write_incomplete(
    experiment: str,
    folder: RunFolder,
    machine: Machine,
    fitted: train.Fitted,
    recorder: Account,
) -> None:
    """Write the summary of a run that was interrupted or failed; print its times."""
    write(experiment, folder, machine, fitted, recorder, {}, {})
    screen.line(time_line(machine, fitted, recorder))


def write(
    experiment: str,
    folder: RunFolder,
    machine: Machine,
    fitted: train.Fitted,
    recorder: Account,
    metrics: Mapping[str, Mapping[str, float]],
    baselines: Mapping[str, Mapping[str, float]],
) -> None:
    """Write ``summary.json``."""
    best_step = fitted.best_step
    summary = summarize(
        experiment=experiment,
        status=fitted.status,
        step=fitted.step,
        best_step=best_step if best_step >= 0 else None,
        monitor=machine.plan.rule.monitor,
        metrics=metrics,
        baselines=baselines,
        parameters=count_parameters(getattr(fitted.state, "params", fitted.state)),
        examples_per_second=recorder.examples_per_second,
        compile_seconds=recorder.compile_seconds,
        wall_seconds=recorder.wall_seconds,
        warnings=recorder.warnings,
    )
    if "init_from" in machine.task.model:
        summary["init_from"] = machine.task.model["init_from"]
    write_summary(folder.summary, summary)
