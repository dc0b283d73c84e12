"""Checkpoints that are not what was written: found, set aside, never restored."""

import json
import resource
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import train
from jaxdl.train import manifest
from jaxdl.train.progress import start
from tests.train.problems import bits, state

RULE = train.Rule("loss")
STEPS = (10, 20, 30)


def filled(number):
    return state(ema_decay=0.5).replace(step=jnp.asarray(number, jnp.int32))


def progress(best_step):
    return start(RULE, filled(0)).replace(best_step=jnp.asarray(best_step))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Checkpoints 10 (the best), 20 and 30; for tests to copy."""
    folder = tmp_path_factory.mktemp("states")
    with train.Checkpoints(folder) as checkpoints:
        for number in STEPS:
            checkpoints.save(number, filled(number), progress(10), None, 10)
    return folder


@pytest.fixture
def states(written, tmp_path):
    return shutil.copytree(written, tmp_path / "states")


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def restore(folder, step=None, **options):
    """What is restored, and the lines that were said."""
    said = []
    with train.Checkpoints(folder, warn=said.append, **options) as checkpoints:
        found = checkpoints.restore(filled(0), progress(-1), step)
    return found, said


def test_whole_checkpoints_are_as_their_manifests_say(written):
    assert [manifest.wrong(written / str(step)) for step in STEPS] == [""] * 3
    names = set(json.loads((written / "30" / manifest.NAME).read_text())["sha256"])
    assert len(names) == len(files(written / "30")) - 2  # itself, and "committed"


def test_every_flipped_bit_and_every_cut_of_every_file_is_found(states):
    draw = np.random.default_rng(0)
    place = states / "30"
    for path in files(place):
        content = path.read_bytes()
        at = int(draw.integers(len(content)))
        flipped = bytearray(content)
        flipped[at] ^= 1 << int(draw.integers(8))
        for damaged in (bytes(flipped), content[:at]):
            path.write_bytes(damaged)
            harmless = path == place / "commit_success.txt" or (
                # The time of the commit, which nothing reads.
                path.name == "_CHECKPOINT_METADATA"
                and _without_time(damaged) == _without_time(content)
            )
            assert bool(manifest.wrong(place)) != harmless, path
        path.write_bytes(content)
        assert manifest.wrong(place) == ""


def _without_time(content):
    try:
        return {k: v for k, v in json.loads(content).items() if "commit_time" not in k}
    except ValueError:
        return content


def test_missing_added_and_linked_files_are_found(states):
    place = states / "30"
    path = next(path for path in files(place) if path.parent.name == "d")
    content = path.read_bytes()
    path.unlink()
    assert manifest.wrong(place).endswith(f"{path.name} is missing")
    path.symlink_to(states / "20" / manifest.NAME)
    assert "is a link" in manifest.wrong(place)
    path.unlink()
    path.write_bytes(content)
    (place / "state" / "more").write_text("")
    assert manifest.wrong(place) == "state/more does not belong to it"
    (place / "state" / "more").unlink()
    assert manifest.wrong(place) == ""


def test_a_damaged_newest_step_is_set_aside_and_the_one_before_restored(states):
    path = next(p for p in files(states / "30") if p.parent.name == "d")
    path.write_bytes(path.read_bytes()[:-1])
    found, said = restore(states)
    assert found.step == 20
    assert bits(found.state) == bits(filled(20))
    (line,) = said
    assert "checkpoint 30 is damaged" in line
    assert path.name in line
    aside = states / "set_aside" / "30-1"
    assert str(aside) in line
    assert manifest.wrong(aside)  # it is kept for whoever wants to look at it
    # The run takes step 30 again, and saves it anew.
    with train.Checkpoints(states) as checkpoints:
        checkpoints.save(30, filled(30), progress(10), None, 10)
    assert restore(states)[0].step == 30


def test_reading_alone_moves_nothing(states):
    before = files(states)
    (states / "30" / manifest.NAME).write_text("{}")
    found, said = restore(states, read_only=True)
    assert found.step == 20
    assert "its manifest.json is broken" in said[0]
    assert files(states) == before


def test_where_the_best_is_damaged_the_newest_takes_its_place(states):
    said = []
    with train.Checkpoints(states, read_only=True, warn=said.append) as checkpoints:
        assert checkpoints.read_best()[0] == 10
        (states / "10" / "about" / "metadata").unlink()
        step, best = checkpoints.read_best()
    assert step == 30
    assert bits(best["params"]) == bits(filled(30).params)
    assert "checkpoint 10 is damaged" in said[0]
    assert "the best checkpoint, 10, is lost: 30 takes its place" in said[1]


def test_a_step_that_is_lost_restores_nothing_in_its_place(states):
    shutil.rmtree(states / "20" / "state")
    assert restore(states, step=20)[0] is None
    assert restore(states, step=10)[0].step == 10
    assert restore(states, step=99)[0] is None


def test_a_step_without_manifest_is_not_trusted(states):
    (states / "30" / manifest.NAME).unlink()
    found, said = restore(states)
    assert found.step == 20
    assert "it has no manifest.json" in said[0]


def test_an_orbax_that_does_not_ask_for_it_leaves_none_without(tmp_path, monkeypatch):
    monkeypatch.setattr(train.Checkpoints, "_seal", lambda self: None)
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(10, filled(10), progress(10))
    assert manifest.wrong(tmp_path / "10") == ""


def test_where_no_step_has_a_manifest_that_is_asked_about(states):
    for step in STEPS:
        (states / str(step) / manifest.NAME).unlink()
    with pytest.raises(ValueError, match="--verify=False"):
        restore(states)
    assert restore(states, verify=False)[0].step == 30
    found, said = restore(states, read_only=True)
    assert found.step == 30
    assert "read without a check" in said[0]


def test_all_damaged_is_as_none_there(states):
    for step in STEPS:
        shutil.rmtree(states / str(step) / "progress")
    found, said = restore(states)
    assert found is None
    assert len(said) == 4
    assert "no whole checkpoint is left" in said[-1]


def test_a_save_that_fails_is_told_and_leaves_the_others_alone(states):
    before = files(states)
    said = []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with train.Checkpoints(states, warn=said.append) as checkpoints:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
        try:
            checkpoints.save(40, filled(40), progress(10), None, 10)
            checkpoints.wait()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        (line,) = said
        assert "checkpoint 40 could not be saved (File too large)" in line
        assert "the newest there is 30" in line
        said.clear()
        assert checkpoints.failed == [40]
        assert not checkpoints.holds(40)
        assert set(before) <= set(files(states))
        checkpoints.save(50, filled(50), progress(10), None, 10)
        checkpoints.wait()
        assert said == ["checkpoints can be saved again: 50 is."]
        assert checkpoints.steps() == [10, 30, 50]
    assert sorted(path.name for path in states.iterdir()) == ["10", "30", "50"]
    assert restore(states)[0].step == 50


def test_a_folder_that_is_gone_is_not_made_anew(states):
    said = []
    with train.Checkpoints(states, warn=said.append) as checkpoints:
        assert checkpoints.restore(filled(0), progress(-1)).step == 30
        shutil.rmtree(states)
        checkpoints.save(40, filled(40), progress(10), None, 10)
    assert "is gone" in said[0]
    assert not states.exists()
