"""Drills: killed, stopped, damaged or out of room, a run ends with the same bits."""

import json
import random
import shutil
import subprocess
import sys

import pytest

from jaxdl import drill
from jaxdl.drill import running
from jaxdl.runs.folder import RunFolder, read_json
from tests.experiments.drills import CASES, SEEDS
from tests.experiments.shared import ROOT

pytestmark = pytest.mark.slow


def command(experiment):
    return (sys.executable, "-m", f"experiments.{experiment}", *CASES[experiment])


@pytest.fixture(scope="module")
def under_drill(request, tmp_path_factory):
    """A drill of an experiment, its undisturbed run made."""
    scratch = tmp_path_factory.mktemp("drill")
    return drill.prepare(command(request.param), scratch, print)


def drilled(under_drill, fault, count):
    tally = drill.FAULTS[fault](under_drill, random.Random(fault), count)
    assert (tally.lost, tally.notes if tally.lost else "") == (0, "")
    assert tally.survived == tally.tried >= 1
    return tally


# Those that keep and draw in ways of their own; each kill takes a minute here. Images
# are killed as two seeds below and in test_hosts.py; the public command drills all.
OFTEN = ["language_model", "gan"]


@pytest.mark.parametrize("under_drill", OFTEN, indirect=True)
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(under_drill):
    # The public command drills as often as it is told; here once a family will do.
    drilled(under_drill, "kill", 1)


def test_seeds_killed_together_end_with_the_same_bits(tmp_path):
    run = (sys.executable, "-m", "experiments.image_classification", *SEEDS)
    drilled(drill.prepare(run, tmp_path, print), "kill", 1)


ONE = pytest.mark.parametrize("under_drill", ["image_classification"], indirect=True)


@ONE
def test_a_run_asked_to_stop_says_how_to_go_on_and_ends_with_the_same_bits(under_drill):
    folder = running.interrupted(under_drill)
    assert read_json(RunFolder(folder).summary)["status"] == "interrupted"
    out = next(folder.parent.parent.glob(f"{folder.parent.name}.*.out")).read_text()
    said = out[out.index("go on with:") :].splitlines()[1].split()
    assert said[:2] == ["python", "-m"]
    assert f"--workdir={folder}" in said
    resumed = subprocess.run(
        [sys.executable, *said[1:]], cwd=ROOT, capture_output=True, text=True
    )
    assert resumed.returncode == 0, resumed.stderr
    assert under_drill.differences(folder) == []
    drilled(under_drill, "term", 1)


@ONE
def test_no_damage_to_a_checkpoint_is_restored_without_a_word(under_drill):
    tally = drilled(under_drill, "flip", 40)
    assert tally.tried == 41  # one of them is put to a whole run


@ONE
def test_what_cannot_be_written_costs_no_more_than_a_line_and_a_repeat(under_drill):
    # Not "limit", which is like "disk": what has no right to mount drills that anyway.
    for fault in ("disk", "readonly", "vanish"):
        drilled(under_drill, fault, 1)


@ONE
def test_the_drill_sees_what_is_lost(under_drill):
    """One bit of the newest state, one line of the metrics, one figure."""
    folder = running.copied(under_drill.whole, under_drill.fresh("other"))
    assert under_drill.differences(folder) == []
    summary = read_json(folder / "summary.json")
    (folder / "summary.json").write_text(json.dumps({**summary, "best_step": 3}))
    assert under_drill.differences(folder) == ["summary best_step"]
    metrics = (folder / "metrics.jsonl").read_bytes()
    (folder / "metrics.jsonl").write_bytes(metrics[:-1])
    assert "metrics.jsonl" in under_drill.differences(folder)
    newest, before = list(running.steps_of(folder))[:2]
    shutil.rmtree(newest)
    before.rename(newest)
    assert any(newest.name in line for line in under_drill.differences(folder))
