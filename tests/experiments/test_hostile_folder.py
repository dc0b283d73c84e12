"""A run folder made by a stranger runs nothing, reads and writes nothing outside of
itself, and steers no terminal: one line, or it is loaded as data."""

import json
import shutil

import numpy as np
import pytest

from experiments import evaluate, image_classification, predict, saved
from jaxdl import runs
from jaxdl.runs import flagfile, folder
from tests.experiments.shared import digest


@pytest.fixture
def copy(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run", symlinks=True)
    return tmp_path / "run"


def described(copy, **changes):
    """Change ``model.json``; a dotted name goes deeper."""
    path = copy / "model.json"
    found = json.loads(path.read_text())
    for name, value in changes.items():
        *way, last = name.split("__")
        place = found
        for key in way:
            place = place[key]
        place[last] = value
    path.write_text(json.dumps(found))


HOSTILE = {
    "a function": {"model__name": "os.system"},
    "an import": {"model__name": "__import__('os').system('true')"},
    "a path": {"model__name": "../../../etc/passwd"},
    "no name": {"model__name": None},
    "a list": {"model__name": ["mlp"]},
    "huge": {"model__arguments__classes": 10**400},
    "large": {"model__arguments__classes": 2**62},
    "negative": {"model__arguments__classes": -3},
    "text": {"model__arguments__classes": "os.system"},
    "hidden": {"model__arguments__hidden": [2**62, 2**62]},
    "activation": {"model__arguments__activation": "__import__"},
    "parent": {"model__arguments__parent": "x"},
    "dtype": {"input__dtype": "O"},
    "objects": {"input__dtype": "os.system"},
    "shape": {"input__shape": [2**40, 2**20]},
    "infinite": {"input__shape": [float("inf")]},
    "no input": {"input": {}},
    "preprocess": {"preprocess": {"kind": "../../x"}},
    "list": {"preprocess": []},
    "classes": {"classes": 7},
}


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_description_is_one_line(copy, changes):
    described(copy, **changes)
    before = digest(copy.parent)
    with pytest.raises((ValueError, OSError)) as caught:
        runs.load(copy)
    assert "\n" not in str(caught.value)
    assert digest(copy.parent) == before


@pytest.mark.parametrize("content", ["[]", "null", "{", "\x00", "[" * 100_000, "7"])
def test_a_description_that_is_none_is_one_line(copy, content):
    (copy / "model.json").write_text(content)
    with pytest.raises((ValueError, OSError)) as caught:
        runs.load(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "--flagfile=/etc/passwd",
        "--seed=" + "9" * 5_000,
        "--batch_size=1e999",
        "--nosuchflag=1",
        "import os",
        "--dry_run=maybe",
    ],
)
def test_hostile_flags_are_one_line(copy, line):
    with (copy / "flags.txt").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        saved.settings_of(folder.open_folder(copy), image_classification.Settings)
    assert "\n" not in str(caught.value)


def test_a_workdir_in_the_flags_is_nowhere_written_to(copy, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    with (copy / "flags.txt").open("a") as file:
        file.write(f"--workdir={victim}\n")
    before = digest(copy)
    assert evaluate.evaluate(evaluate.Settings(run=str(copy)))["differences"] == {}
    assert digest(copy) == before
    assert list(victim.iterdir()) == []
    with pytest.raises(ValueError, match="holds other files"):
        folder.create("/")
    assert flagfile.read_flagfile(copy / "flags.txt")["workdir"] == str(victim)


@pytest.mark.parametrize("name", ["states", "metrics.jsonl", "model.json", "plots"])
def test_a_link_out_of_the_folder_is_not_followed(copy, tmp_path, settings, name):
    victim = tmp_path / "victim"
    shutil.move(copy / name, victim)
    (copy / name).symlink_to(victim)
    before = digest(tmp_path)
    with pytest.raises(ValueError, match=f"{name} is a link to what lies outside"):
        runs.load(copy)
    with pytest.raises(ValueError, match="is a link to what lies outside"):
        image_classification.main(settings(workdir=str(copy), epochs=3))
    assert digest(tmp_path) == before


def test_classes_that_steer_the_terminal_are_shown_escaped(copy, tmp_path, capsys):
    described(copy, classes=["\x1b]0;owned\x07", "\x9b31m", "<script>"])
    np.save(tmp_path / "a.npy", np.zeros((2, 6, 6, 1), np.uint8))
    asked = predict.Settings(run=str(copy), input=(str(tmp_path / "a.npy"),))
    assert predict.main(asked) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x9b" not in out
    assert "\\x1b]0;owned\\x07" in out
