"""How a run ends: the test part, once; pictures, summary, report, last lines."""

from collections.abc import Mapping
from typing import Any

import jax

from jaxdl import train
from jaxdl.metrics import DIRECTIONS
from jaxdl.runs import plots, report, screen, writers
from jaxdl.runs.folder import RunFolder
from jaxdl.runs.machine import Machine
from jaxdl.runs.recorder import Recorder
from jaxdl.runs.summary import summarize, write_summary


def parameter_count(state: Any) -> int:
    """How many numbers are learned."""
    return sum(leaf.size for leaf in jax.tree.leaves(getattr(state, "params", state)))


def test(machine: Machine, state: Any) -> tuple[dict[str, float], Mapping[str, Any]]:
    """Metrics and pictures of a state on the test part."""
    source = machine.task.data.test
    batches = machine.passes(source)
    values = machine.measure(state, batches)
    findings = machine.task.findings(machine.outputs(state, batches), source)
    return {**values, **findings.metrics}, findings.pictures


def validation(machine: Machine, state: Any) -> dict[str, float]:
    """Metrics of a state on the validation part."""
    return machine.measure(state, machine.passes(machine.task.data.validation))


def finish(
    experiment: str,
    folder: RunFolder,
    machine: Machine,
    fitted: train.Fitted,
    recorder: Recorder,
) -> None:
    """Test the best state, write all that a finished run has, print the result."""
    values, pictures = test(machine, fitted.best)
    best_step = int(fitted.progress.best_step)
    recorder.test(best_step if best_step >= 0 else fitted.step, values)
    baselines = machine.task.baselines()
    history = writers.read(folder.metrics)
    plots.learning_curves(
        history, folder.plots / "learning_curves.png", best_step=best_step
    )
    for name, draw in pictures.items():
        draw(folder.plots / name)
    metrics = {"validation": validation(machine, fitted.best), "test": values}
    train_rows = [row for row in history if row["split"] == "train"]
    at_best = [row for row in train_rows if row["step"] == best_step] or train_rows[-1:]
    if at_best:
        metrics["train"] = {k: v for k, v in at_best[0].items() if k in DIRECTIONS}
    write(experiment, folder, machine, fitted, recorder, metrics, baselines)
    report.write_report(folder)
    screen.result_table(values, baselines, machine.task.headline, folder.report)


def write(
    experiment: str,
    folder: RunFolder,
    machine: Machine,
    fitted: train.Fitted,
    recorder: Recorder,
    metrics: Mapping[str, Mapping[str, float]],
    baselines: Mapping[str, Mapping[str, float]],
) -> None:
    """Write ``summary.json``."""
    best_step = int(fitted.progress.best_step)
    summary = summarize(
        experiment=experiment,
        status=fitted.status,
        step=fitted.step,
        best_step=best_step if best_step >= 0 else None,
        monitor=machine.plan.rule.monitor,
        metrics=metrics,
        baselines=baselines,
        parameters=parameter_count(fitted.state),
        examples_per_second=recorder.examples_per_second,
        compile_seconds=recorder.compile_seconds,
        wall_seconds=recorder.wall_seconds,
    )
    write_summary(folder.summary, summary)
