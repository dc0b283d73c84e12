"""A run from the command line and from Python, and the folder it leaves."""

import errno
import json
import os
import signal
from functools import partial

import jax
import numpy as np
import pytest

from experiments import image_classification
from experiments.saved import settings_of
from jaxdl import drill, models, runs
from jaxdl.runs import outcome, writers
from jaxdl.runs.folder import RunFolder, lock
from jaxdl.runs.machine import Machine
from jaxdl.train import manifest
from tests.experiments.shared import command

SUMMARY = [
    "experiment",
    "status",
    "step",
    "best_step",
    "monitor",
    "metrics",
    "baselines",
    "parameters",
    "examples_per_second",
    "compile_seconds",
    "wall_seconds",
]
PICTURES = {"confusion_matrix.png", "learning_curves.png", "worst_images.png"}


def check_folder(folder):
    """Every path of a finished run is there, and says something."""
    place = RunFolder(folder)
    for path in (place.flags, place.model, place.environment, place.metrics):
        assert path.stat().st_size > 0, path
    assert list(folder.glob("events.out.tfevents.*"))
    assert [path for path in place.states.iterdir() if path.name.isdigit()]
    assert {path.name for path in place.plots.iterdir()} >= PICTURES
    assert place.report.read_text().startswith("<!")
    summary = json.loads(place.summary.read_text())
    assert list(summary) == SUMMARY
    assert summary["status"] == "completed"
    assert set(summary["metrics"]) == {"train", "validation", "test"}
    assert {"loss", "accuracy", "precision", "recall", "f1"} <= set(
        summary["metrics"]["test"]
    )
    assert set(summary["baselines"]) == {"majority", "logistic"}
    rows = writers.read(place.metrics)
    assert {row["split"] for row in rows} == {"train", "validation", "test"}
    assert [row["split"] for row in rows].count("test") == 1
    assert writers.read(place.speed)[0]["first_step_seconds"] > 0
    return summary


@pytest.mark.parametrize("model", ["logistic_regression", "mlp", "cnn"])
def test_one_step_of_a_model_leaves_a_complete_folder(train, model):
    folder = train(model=model, max_steps=1)
    assert check_folder(folder)["step"] == 1
    loaded = runs.load(folder)
    assert (loaded.step, loaded.classes) == (1, ("row", "column", "diagonal"))
    assert loaded(np.zeros((2, 6, 6, 1), np.uint8)).shape == (2, 3)


def test_a_command_leaves_what_its_flagfile_repeats_to_the_byte(tmp_path):
    once, again = tmp_path / "once", tmp_path / "again"
    first = command(
        "image_classification",
        *("--model=logistic_regression", "--max_steps=5", "--augment=shift=1"),
        f"--workdir={once}",
    )
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    assert f"run {once}" in first.stdout
    assert "| majority" in first.stdout
    check_folder(once)
    second = command(
        "image_classification", f"--flagfile={once}/flags.txt", f"--workdir={again}"
    )
    assert second.returncode == 0, second.stderr
    assert (again / "metrics.jsonl").read_bytes() == (
        once / "metrics.jsonl"
    ).read_bytes()
    assert (again / "flags.txt").read_bytes() == (once / "flags.txt").read_bytes()


def test_a_task_is_built_and_stepped_from_python(settings):
    task, plan = image_classification.build(settings(model="logistic_regression"))
    machine = Machine.of(task, plan)
    state, metrics = jax.jit(task.step)(machine.state(), machine.feed(0))
    assert int(state.step) == 1
    assert float(metrics["loss"].count) == plan.batch_size
    values = machine.measure(state, machine.checks(task.data.validation))
    assert set(values) == {"loss", "accuracy"}
    outputs = machine.outputs(state, machine.passes(task.data.test))
    assert outputs.shape == (task.data.test.size, 3)
    assert np.allclose(outputs.sum(1), 1, atol=1e-5)


@pytest.mark.usefixtures("without_pictures")
def test_settings_come_back_from_the_flagfile_as_they_went(train, settings):
    changes = {"epochs": 1, "learning_rate": 1e-7, "l2": 0.1, "augment": "flip"}
    folder = train(**changes)
    found = settings_of(RunFolder(folder), image_classification.Settings)
    assert found == settings(**changes)


# A ResNet-20 compiles for half a minute where its small sibling takes a few seconds.
SMALL = partial(models.ResNet, stages=(1, 1), channels=4)


@pytest.mark.parametrize(
    "resnet", [SMALL, pytest.param(models.MODELS["resnet20"], marks=pytest.mark.slow)]
)
def test_a_dry_run_of_resnet20_computes_and_saves_nothing(
    settings, tmp_path, monkeypatch, capsys, resnet
):
    monkeypatch.setitem(models.MODELS, "resnet20", resnet)
    monkeypatch.chdir(tmp_path)
    asked = settings(model="resnet20", dry_run=True, workdir=str(tmp_path / "run"))
    assert image_classification.main(asked) == 0
    shown = capsys.readouterr().out
    assert "one step: loss" in shown
    assert "one check: " in shown
    assert "memory in all" in shown
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_workdir_goes_below_checkpoints(
    settings, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert image_classification.main(settings(max_steps=1)) == 0
    (folder,) = (tmp_path / "checkpoints" / "image_classification").iterdir()
    assert (folder / "summary.json").is_file()


@pytest.mark.usefixtures("without_pictures")
def test_equal_flags_give_equal_bits(train, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
    changes = {"epochs": 1, "dropout": 0.3, "deterministic": True}
    folders = [train(**changes) for _ in range(2)]
    assert drill.differences(*folders) == []
    about = json.loads((folders[0] / "environment.json").read_text())
    assert "--xla_gpu_deterministic_ops=true" in about["variables"]["XLA_FLAGS"]
    other = train(**changes, seed=1)
    assert "metrics.jsonl" in drill.differences(other, folders[0])


def test_a_signal_in_the_test_part_leaves_a_run_that_goes_on(
    train, monkeypatch, tmp_path, capfd
):
    """The last save is on its way then; the part is computed anew, once logged."""
    workdir, test = tmp_path / "run", outcome.test

    def signalled(machine, state):
        os.kill(os.getpid(), signal.SIGTERM)
        return test(machine, state)

    with monkeypatch.context() as patch:
        patch.setattr(outcome, "test", signalled)
        train(workdir, code=143, max_steps=3)
    assert "stopped at step 3 and saved; go on with:" in capfd.readouterr().out
    summary = json.loads((workdir / "summary.json").read_text())
    assert (summary["status"], summary["step"]) == ("interrupted", 3)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    check_folder(train(workdir, max_steps=3))


def test_a_run_whose_last_save_fails_says_so_and_is_not_finished(
    train, monkeypatch, tmp_path, capfd
):
    """Also where that is only known when the test part is computed."""
    workdir = tmp_path / "run"

    def full(place):
        raise OSError(errno.ENOSPC, "no room", str(place))

    with monkeypatch.context() as patch:
        patch.setattr(manifest, "write", full)
        train(workdir, code=1, max_steps=3)
    told = " ".join(capfd.readouterr().err.split())
    assert "checkpoint 3 could not be saved, and so the last state is not on" in told
    summary = json.loads((workdir / "summary.json").read_text())
    assert (summary["status"], summary["metrics"]) == ("failed", {})
    assert not (workdir / "report.html").exists()
    check_folder(train(workdir, max_steps=3))


def test_a_second_run_in_one_folder_is_refused(train, settings):
    folder = train(max_steps=1)
    before = (folder / "summary.json").read_bytes()
    longer = settings(max_steps=2, workdir=str(folder))
    with (
        lock(RunFolder(folder)),
        pytest.raises(ValueError, match=f"in use by another process .{os.getpid()} on"),
    ):
        image_classification.main(longer)
    assert (folder / "summary.json").read_bytes() == before  # nothing was touched
