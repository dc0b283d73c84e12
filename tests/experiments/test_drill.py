"""Drills: killed at random moments or asked to stop, a run ends with the same bits."""

import os
import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from experiments import saved
from jaxdl.runs.folder import RunFolder, read_json
from jaxdl.runs.machine import Machine
from jaxdl.train.checkpoints import Checkpoints
from jaxdl.train.progress import start
from tests.experiments.drills import CASES
from tests.experiments.shared import ROOT

pytestmark = pytest.mark.slow


def begin(folder, experiment):
    return subprocess.Popen(
        [
            *(sys.executable, "-m", f"experiments.{experiment}"),
            *(*CASES[experiment], f"--workdir={folder}"),
        ],
        cwd=ROOT,
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(folder, experiment):
    """Runs until the end."""
    done = begin(folder, experiment)
    out, err = done.communicate(timeout=300)
    assert done.returncode == 0, err
    assert "Traceback" not in err
    return out


def grown(folder, process, before):
    """Waits until the metrics have grown, and so training is under way."""
    path = folder / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if path.is_file() and path.stat().st_size > before:
            return
        time.sleep(0.01)
    assert process.poll() == 0, "the run ended before it was stopped"


def states(folder):
    """Every array of the newest and the best checkpoint, with the progress."""
    place = RunFolder(folder)
    experiment = saved.experiment_of(place)
    settings = saved.settings_of(place, experiment.Settings)
    machine = Machine.of(*experiment.build(settings))
    state = machine.state()
    progress = start(machine.plan.rule, state)
    with Checkpoints(place.states) as checkpoints:
        newest = checkpoints.restore(state, progress)
        best = checkpoints.read_best()
    trees = (newest.state, newest.progress, best[1])
    leaves = [np.asarray(as_numbers(leaf)) for leaf in jax.tree.leaves(trees)]
    return (newest.step, best[0]), leaves, newest.totals


def as_numbers(leaf):
    if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.key_data(leaf)
    return leaf


def samples(folder):
    """What the states showed as they learned: name to bytes."""
    return {path.name: path.read_bytes() for path in (folder / "samples").glob("*")}


def check_equal(folder, other):
    assert (folder / "metrics.jsonl").read_bytes() == (
        other / "metrics.jsonl"
    ).read_bytes()
    steps, leaves, totals = states(folder)
    other_steps, other_leaves, other_totals = states(other)
    assert (steps, totals) == (other_steps, other_totals)
    assert len(leaves) == len(other_leaves) > 20
    for leaf, expected in zip(leaves, other_leaves, strict=True):
        assert leaf.dtype == expected.dtype
        assert leaf.tobytes() == expected.tobytes()
    ends = [read_json(RunFolder(f).summary) for f in (folder, other)]
    assert samples(folder) == samples(other)
    for name in ("status", "step", "best_step", "monitor", "metrics", "baselines"):
        assert ends[0][name] == ends[1][name]


@pytest.fixture(scope="module")
def whole(request, tmp_path_factory):
    """(experiment, folder): the run that nothing stops."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    finish(folder, request.param)
    return request.param, folder


def kill(folder, experiment, draw, at_any_moment=False):
    """Begins, kills while training (or at any moment); whether it came in time."""
    path = folder / "metrics.jsonl"
    before = path.stat().st_size if path.is_file() else 0
    process = begin(folder, experiment)
    if at_any_moment:  # loading and compiling included
        time.sleep(draw.uniform(0.5, 6.0))
    else:
        grown(folder, process, before)
        time.sleep(draw.uniform(0.0, 0.5))
    process.kill()
    process.communicate()
    return process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("whole", CASES, indirect=True)
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(whole, tmp_path):
    experiment, expected = whole
    draw = random.Random(experiment)
    folder = tmp_path / "run"
    killed = [kill(folder, experiment, draw) for _ in range(2)]
    assert any(killed), "the run was over before it could be killed"
    reached = max(Checkpoints(folder / "states").steps(), default=-1)
    assert reached > 0
    kill(folder, experiment, draw, at_any_moment=True)
    finish(folder, experiment)
    check_equal(folder, expected)


@pytest.mark.parametrize("whole", ["image_classification"], indirect=True)
def test_a_run_asked_to_stop_says_how_to_go_on_and_ends_with_the_same_bits(
    whole, tmp_path
):
    experiment, expected = whole
    folder = tmp_path / "run"
    process = begin(folder, experiment)
    grown(folder, process, 0)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 143, err
    assert "Traceback" not in err
    assert "go on with:" in out
    assert f"--workdir={folder}" in out
    assert read_json(RunFolder(folder).summary)["status"] == "interrupted"
    said = out[out.index("go on with:") :].splitlines()[1].split()
    assert said[:2] == ["python", "-m"]
    resumed = subprocess.run(
        [sys.executable, *said[1:]], cwd=ROOT, capture_output=True, text=True
    )
    assert resumed.returncode == 0, resumed.stderr
    check_equal(folder, expected)
