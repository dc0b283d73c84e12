"""``--seeds``: several runs as one program, each with a folder of its own."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from experiments import common, evaluate, image_classification
from jaxdl import runs
from jaxdl.runs import population, writers
from jaxdl.runs.folder import RunFolder
from jaxdl.runs.members import check_alike
from jaxdl.train.checkpoints import Checkpoints

SEEDS = 3
CHANGES = {"patience": 3, "monitor": "loss", "dropout": 0.2, "epochs": 4}


def rows(folder):
    return writers.read(RunFolder(folder).metrics)


@pytest.fixture(scope="module")
def several(train):
    return train(seeds=SEEDS, **CHANGES)


@pytest.fixture
def alone(train):
    return train(seed=1, **CHANGES)


@pytest.mark.usefixtures("without_pictures")
def test_each_member_leaves_the_folder_of_a_run_of_its_own(several, alone):
    place = RunFolder(several)
    assert sorted(p.name for p in place.members.iterdir()) == [
        "seed_0",
        "seed_1",
        "seed_2",
    ]
    mine, theirs = rows(place.members / "seed_1"), rows(alone)
    assert [(r["step"], r["split"]) for r in mine] == [
        (r["step"], r["split"]) for r in theirs
    ]
    for one, other in zip(mine, theirs, strict=True):
        assert one.keys() == other.keys()
        assert one.pop("split") == other.pop("split")
        for name, value in other.items():
            assert one[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name
    loaded, expected = (runs.load(f) for f in (place.members / "seed_1", alone))
    assert loaded.step == expected.step
    last = json.loads((place.members / "seed_1" / "summary.json").read_text())["step"]
    kept = Checkpoints(place.members / "seed_1" / "states").steps()
    assert kept == sorted({loaded.step, last})
    found = evaluate.evaluate(evaluate.Settings(run=str(place.members / "seed_1")))
    assert found["differences"] == {}


def test_the_whole_reports_mean_spread_best_and_average(several, capsys):
    summary = json.loads((several / "summary.json").read_text())
    assert runs.summary.read_summary(several / "summary.json")["status"] == "completed"
    figures = [
        member["metrics"]["test"]["accuracy"] for member in summary["members"].values()
    ]
    assert len(figures) == SEEDS
    assert summary["metrics"]["test"]["accuracy"] == pytest.approx(np.mean(figures))
    assert summary["spread"]["test"]["accuracy"] == pytest.approx(np.std(figures))
    losses = {
        name: member["metrics"]["validation"]["loss"]
        for name, member in summary["members"].items()
    }
    assert summary["best_member"] == min(losses, key=losses.get)
    assert 0 <= summary["ensemble"]["accuracy"] <= 1
    assert "averaged outputs" in (several / "report.html").read_text()


def test_finished_members_are_not_trained_again(several, train, capsys):
    before = (several / "summary.json").read_bytes()
    train(workdir=str(several), seeds=SEEDS, **CHANGES)
    assert "finished" in capsys.readouterr().out
    assert (several / "summary.json").read_bytes() == before


@pytest.mark.usefixtures("without_pictures")
def test_in_turn_gives_the_same_as_together(settings, tmp_path):
    asked = settings(
        seeds=2, bootstrap=True, epochs=1, workdir=str(tmp_path / "together")
    )
    assert image_classification.main(asked) == 0
    request = common.request(
        image_classification.NAME,
        settings(**{**vars(asked), "workdir": str(tmp_path / "turn")}),
    )
    members = common.seed_members(asked, image_classification.build)
    assert population.execute(request, lambda: members, way="in_turn") == 0
    for name in ("seed_0", "seed_1"):
        one, other = (
            rows(tmp_path / way / "members" / name) for way in ("together", "turn")
        )
        assert [r["loss"] for r in one] == pytest.approx(
            [r["loss"] for r in other], rel=1e-5
        )
    ends = [
        json.loads((tmp_path / way / "summary.json").read_text())
        for way in ("together", "turn")
    ]
    assert ends[0]["ensemble"]["accuracy"] == pytest.approx(
        ends[1]["ensemble"]["accuracy"]
    )
    assert ends[0]["metrics"]["test"] == pytest.approx(
        ends[1]["metrics"]["test"], rel=1e-5
    )


@pytest.mark.slow
@pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="one core: members are vmapped"
)
def test_a_first_and_a_last_of_eight_seeds_leave_the_bytes_of_a_run_alone(tmp_path):
    """Members shared out to cores compute what each would alone, to the bit."""

    def run(*given):
        command = [sys.executable, "-m", "experiments.image_classification"]
        flags = ["--model=mlp", "--epochs=3", "--patience=2", *given]
        done = subprocess.run([*command, *flags], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    run("--seeds=8", f"--workdir={tmp_path / 'eight'}")
    for seed in (0, 7):
        run(f"--seed={seed}", f"--workdir={tmp_path / str(seed)}")
        member, alone = (
            (place / "metrics.jsonl").read_bytes()
            for place in (
                tmp_path / "eight" / "members" / f"seed_{seed}",
                tmp_path / str(seed),
            )
        )
        assert member == alone


def test_members_must_be_alike(settings):
    members = common.seed_members(
        settings(seeds=2, epochs=1), image_classification.build
    )
    with pytest.raises(ValueError, match="share a name: seed_0, seed_0"):
        check_alike([members[0], members[0]])
