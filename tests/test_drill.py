"""The drill's command line, and what it counts; the drills are run in
``tests/experiments/test_drill.py``."""

import json
import random

import pytest

from jaxdl.drill import FAULTS, __main__, damage
from jaxdl.drill.running import Drill, Tally


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--faults=kil", "--", "x"], "--faults=kil: give some of kill, term"),
        (["--faults=", "--", "x"], "--faults is empty"),
        (["--count=0", "--", "x"], "--count=0: give 1 or more"),
        (["--faults=kill"], "give the command after --"),
        (["--", "x", "--workdir=y"], "leave it out"),
        (["--", "/no/such/command"], "No such file"),
        (["--", "true"], "ends with exit code 0 undisturbed"),
        (["--", "false"], "ends with exit code 1 undisturbed"),
    ],
)
def test_a_wrong_command_ends_in_a_line(arguments, said, capsys):
    assert __main__.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err.splitlines()[-1]


@pytest.fixture
def counted(monkeypatch):
    """The command line with a fault that loses as often as is asked."""

    def run(lost, *arguments):
        tally = Tally("kill", 3, 3 - lost, lost, ["a note"])
        monkeypatch.setitem(FAULTS, "kill", lambda *_: tally)
        monkeypatch.setattr(__main__, "prepare", lambda *_: None)
        return __main__.main(["--faults=kill", *arguments, "--", "x"])

    return run


def test_the_table_and_the_exit_code_say_what_was_lost(counted, capsys):
    assert counted(0) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["kill", "3", "3", "0"]
    assert counted(1, "--json") == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert row == {
        "fault": "kill",
        "tried": 3,
        "survived": 2,
        "lost": 1,
        "notes": ["a note"],
    }


def test_damage_changes_the_file_and_nothing_else(tmp_path):
    path, other = tmp_path / "a", tmp_path / "b"
    kinds = set()
    for seed in range(40):
        path.write_bytes(bytes(range(100)))
        other.write_bytes(b"other")
        kinds.add(damage.damage(path, random.Random(seed)).split()[-1])
        assert not path.exists() or path.read_bytes() != bytes(range(100))
        assert other.read_bytes() == b"other"
    assert kinds == {"flipped", "bytes", "removed"}


def test_many_saves_leave_memory_and_files_flat(tmp_path):
    drill = Drill(("x",), tmp_path, tmp_path / "whole")
    tally = FAULTS["saves"](drill, random.Random(0), 12)
    assert (tally.tried, tally.lost, tally.notes[:-1]) == (12, 0, [])
    assert "files" in tally.notes[-1]
