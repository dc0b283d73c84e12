"""Runs of two processes, with two virtual devices each, against one process."""

import json
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import image_classification
from jaxdl import launch, train
from jaxdl.parallel import hosts
from jaxdl.runs import outcome, writers
from tests.experiments.shared import ROOT, stripes
from tests.parallel import on_two_processes
from tests.parallel.on_two_processes import FOLDER, first_state
from tests.parallel.test_cluster import plain_environment

# Constant, so that a run may be prolonged: a schedule over the run would be another.
SETTINGS = {
    "model": "mlp",
    "epochs": 0,
    "batch_size": 12,
    "evaluate_every": 4,
    "dropout": 0.3,
    "schedule": "constant",
    "monitor": "loss",
}


def launched(*command, processes=2, **variables):
    """A command as two processes with two virtual devices each."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "jaxdl.launch", f"--processes={processes}"),
            *("--devices_per_process=2", "--", sys.executable, *map(str, command)),
        ],
        cwd=ROOT,
        env={**plain_environment(), "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )


def experiment(folder, cache, **more):
    """``image_classification`` in two processes."""
    flags = [f"--{name}={value}" for name, value in {**SETTINGS, **more}.items()]
    return launched(
        *("-m", "experiments.image_classification", *flags, f"--workdir={folder}"),
        JAX_COMPILATION_CACHE_DIR=str(cache),
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where compiled programs lie, for all runs here."""
    before = jax.config.values["jax_compilation_cache_dir"]
    folder = tmp_path_factory.mktemp("xla")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    yield folder
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The name of a data set of 120 small images."""
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    images, labels = stripes(120)
    np.savez(path, images=images, labels=labels)
    return f"npz:{path}"


@pytest.fixture
def alone(tiny, cache, monkeypatch):
    """Runs the experiment here, without pictures: those are tested elsewhere."""
    figures = outcome.test
    monkeypatch.setattr(outcome, "test", lambda *to: (figures(*to)[0], {}))
    monkeypatch.setattr(outcome.plots, "learning_curves", lambda *_, **__: None)

    def run(folder, steps):
        settings = image_classification.Settings(
            dataset=tiny, max_steps=steps, workdir=str(folder), **SETTINGS
        )
        assert image_classification.main(settings) == 0

    return run


def assert_close(got, expected):
    """Rows of two logs: the same steps and names, values within 1e-5."""
    assert [(row["step"], row["split"]) for row in got] == [
        (row["step"], row["split"]) for row in expected
    ]
    for row, other in zip(got, expected, strict=True):
        numbers = {k: v for k, v in row.items() if k not in ("step", "split")}
        assert numbers == pytest.approx(
            {name: other[name] for name in numbers}, rel=1e-5, abs=1e-6
        )


def test_two_processes_compute_and_save_what_one_does(tmp_path):
    progress = {"checks": jnp.zeros(())}
    with train.Checkpoints(tmp_path / "one") as checkpoints:
        checkpoints.save(3, first_state(seed=3), progress)
    done = launched(on_two_processes.__file__, **{FOLDER: str(tmp_path)})
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    for number in (0, 1):
        assert f'[{number}] {{"process": {number}, "passed": true}}' in done.stdout
    with train.Checkpoints(tmp_path / "two") as checkpoints:
        found = checkpoints.restore(first_state(), progress)
    assert (found.step, found.totals) == (7, {"sums": [1.5]})
    assert found.state.params["Dense_0"]["kernel"].is_fully_addressable
    jax.tree.map(
        np.testing.assert_array_equal, found.state.params, first_state(seed=3).params
    )


def test_a_run_of_two_processes_goes_on_in_one(tmp_path, tiny, cache, alone, capsys):
    folder, whole = tmp_path / "run", tmp_path / "whole"
    done = experiment(folder, cache, dataset=tiny, max_steps=8)
    assert done.returncode == 0, done.stderr[-3000:]
    # The first prints, and nobody else; Gloo's greetings are left out.
    lines = done.stdout.splitlines()
    assert lines
    assert all(line.startswith("[0] ") and "Gloo" not in line for line in lines)
    assert "[0] devices 4 x cpu" in done.stdout
    assert "of 2 processes" in done.stdout
    assert done.stderr == ""
    about = json.loads((folder / "environment.json").read_text())
    assert about["processes"] == 2
    assert about["way"] == {"parallel": "data", "mesh": "", "devices": 4}
    flags = (folder / "flags.txt").read_text()
    assert "coordinator" not in flags
    assert "process_id" not in flags

    first = writers.read(folder / "metrics.jsonl")
    assert [(row["step"], row["split"]) for row in first] == [
        *((4, "train"), (4, "validation"), (8, "train"), (8, "validation")),
        (8, "test"),
    ]
    alone(folder, 16)
    alone(whole, 16)
    capsys.readouterr()
    expected = writers.read(whole / "metrics.jsonl")
    assert_close(first[:4], expected[:4])
    assert_close(writers.read(folder / "metrics.jsonl"), expected)


def test_alone_nothing_is_waited_for():
    assert hosts.count() == 1
    assert hosts.primary()
    assert hosts.gather("x") == ["x"]
    assert hosts.together(lambda: 3) == hosts.by_first(lambda: 3) == 3
    highest = hosts.Highest()
    assert [highest(0), highest(15)] == [0, 15]
    assert hosts.explain(ValueError("two\n lines")) == "two lines"
    assert hosts.explain(ValueError()) == "ValueError"


@pytest.mark.slow
def test_other_flags_are_refused_in_one_line(tmp_path, tiny, cache):
    flags = [f"--{name}={value}" for name, value in SETTINGS.items()]
    script = (
        "import os, runpy, sys\n"
        "sys.argv.append('--seed=' + os.environ['JAXDL_PROCESS_ID'])\n"
        "runpy.run_module('experiments.image_classification', run_name='__main__')"
    )
    done = launched(
        *("-c", script, *flags, f"--dataset={tiny}", "--max_steps=4"),
        f"--workdir={tmp_path / 'run'}",
        JAX_COMPILATION_CACHE_DIR=str(cache),
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "seed is 0 in process 0 and 1 in process 1" in line
    assert not (tmp_path / "run").exists()


LONG = {"max_steps": 80, "save_every": 4}


@pytest.fixture(scope="module")
def unstopped(tmp_path_factory, tiny, cache):
    """The log of the run of two processes that nothing stops."""
    folder = tmp_path_factory.mktemp("unstopped") / "run"
    done = experiment(folder, cache, dataset=tiny, **LONG)
    assert done.returncode == 0, done.stderr[-3000:]
    return (folder / "metrics.jsonl").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "which"), [("KILL", 0), ("TERM", 1), ("STOP", 1)])
def test_stopped_at_any_process_a_run_goes_on_to_the_same_end(
    tmp_path, tiny, cache, unstopped, number, which
):
    """A killed one ends the other at once; one that is asked to stop lets both save;
    one that hangs is missed within the heartbeat."""
    folder = tmp_path / "run"
    script = (
        "import os, runpy, signal, threading, time\n"
        "from pathlib import Path\n"
        f"path = Path({str(folder / 'metrics.jsonl')!r})\n"
        "def strike():\n"
        "    while not path.is_file() or path.stat().st_size < 1000:\n"
        "        time.sleep(0.05)\n"
        f"    os.kill(os.getpid(), signal.SIG{number})\n"
        f"if os.environ['JAXDL_PROCESS_ID'] == '{which}':\n"
        "    threading.Thread(target=strike, daemon=True).start()\n"
        "runpy.run_module('experiments.image_classification', run_name='__main__')"
    )
    settings = {**SETTINGS, **LONG, "dataset": tiny, "heartbeat": 10}
    flags = [f"--{name}={value}" for name, value in settings.items()]
    done = launched(
        *("-c", script, *flags, f"--workdir={folder}"),
        JAX_COMPILATION_CACHE_DIR=str(cache),
    )
    expected = {"KILL": 137, "TERM": 143, "STOP": 134}[number]
    assert done.returncode == expected, done.stderr[-3000:]
    if number == "KILL":
        last = done.stderr.splitlines()[-1]
        assert last.startswith(f"jaxdl.launch: process {which} was killed by SIGKILL")
    elif number == "STOP":
        # Once, on a busy machine, a line that was not kept came before these: where
        # one does, it is to be a process's own, and no part of a stack.
        *before, said, last = done.stderr.splitlines()
        assert len(before) < 3, done.stderr
        assert all(line.startswith(("[0] ", "[1] ")) for line in before), done.stderr
        assert "Traceback" not in done.stderr
        assert "another process of this run is silent or gone" in said
        assert last.startswith(f"jaxdl.launch: process {1 - which} was killed by SIGA")
        assert f"while process {which} did not run (SIGSTOP)" in last
    else:
        assert "and saved; go on with:" in done.stdout
    assert 0 < max(train.Checkpoints(folder / "states").steps()) < LONG["max_steps"]
    ended = experiment(folder, cache, dataset=tiny, **LONG)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert (folder / "metrics.jsonl").read_bytes() == unstopped


def by_hand(folder, cache, number, **settings):
    """One of two processes, started without the launcher."""
    flags = [f"--{name}={value}" for name, value in {**SETTINGS, **settings}.items()]
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "experiments.image_classification", *flags),
            *(f"--workdir={folder}", "--process_count=2", f"--process_id={number}"),
        ],
        cwd=ROOT,
        env={
            **plain_environment(),
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
            "JAX_COMPILATION_CACHE_DIR": str(cache),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_one_that_comes_late_is_waited_for(tmp_path, tiny, cache, unstopped):
    folder = tmp_path / "run"
    where = f"127.0.0.1:{launch.free_port()}"
    more = {**LONG, "dataset": tiny, "coordinator": where}
    first = by_hand(folder, cache, 0, **more)
    line = first.stderr.readline()  # it is said before the other is there
    second = by_hand(folder, cache, 1, **more)
    assert [one.communicate(timeout=120)[1] for one in (first, second)] == ["", ""]
    assert (first.returncode, second.returncode) == (0, 0)
    assert line == f"waiting for all of 2 processes at {where}, up to 300 seconds\n"
    assert (folder / "metrics.jsonl").read_bytes() == unstopped


@pytest.mark.slow
def test_other_code_is_refused_in_one_line_that_names_it(tmp_path, tiny, cache):
    for name in ("jaxdl", "experiments"):
        shutil.copytree(ROOT / name, tmp_path / name)
    with (tmp_path / "jaxdl" / "optimizers.py").open("a") as file:
        file.write("# as of tomorrow\n")
    script = (
        "import os, runpy, sys\n"
        "if os.environ['JAXDL_PROCESS_ID'] == '1':\n"
        f"    sys.path.insert(0, {str(tmp_path)!r})\n"
        "runpy.run_module('experiments.image_classification', run_name='__main__')"
    )
    flags = [f"--{name}={value}" for name, value in SETTINGS.items()]
    done = launched(
        *("-c", script, *flags, f"--dataset={tiny}", "--max_steps=4"),
        f"--workdir={tmp_path / 'run'}",
        JAX_COMPILATION_CACHE_DIR=str(cache),
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    (line,) = done.stderr.splitlines()
    changed = "process 1 has other code than process 0 (changed: jaxdl.optimizers)"
    assert changed in line
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_without_a_launcher_too_a_killed_process_ends_the_other(
    tmp_path, tiny, cache, unstopped
):
    folder, where = tmp_path / "run", f"127.0.0.1:{launch.free_port()}"
    more = {**LONG, "dataset": tiny, "heartbeat": 10, "coordinator": where}
    both = [by_hand(folder, cache, number, **more) for number in range(2)]
    log = folder / "metrics.jsonl"
    while not (log.is_file() and log.stat().st_size > 1000) and both[0].poll() is None:
        time.sleep(0.02)
    both[1].kill()
    _, error = both[0].communicate(timeout=120)
    both[1].communicate()
    # Where it waits for the other's part of a checkpoint, JAX ends it by SIGABRT first.
    if both[0].returncode == -signal.SIGABRT:
        assert "another task died" in error
    else:
        assert both[0].returncode == 1, error
        assert "another process of this run has died or left" in error.splitlines()[-1]
        assert "go on from the newest checkpoint" in error.splitlines()[-1]
    ended = experiment(folder, cache, dataset=tiny, **LONG)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert log.read_bytes() == unstopped


LEFT = """
import threading, time
from jaxdl.parallel import hosts

class Waiting(threading.Thread):
    __module__ = "orbax.checkpoint.futures"

Waiting(target=time.sleep, args=(600,)).start()
print("done")
hosts.leave(3)
"""


def test_nobody_waits_for_what_is_left_of_a_failed_save():
    done = subprocess.run(
        [sys.executable, "-c", LEFT], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (3, "done\n"), done.stderr
