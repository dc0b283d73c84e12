"""Three ways to a gradient agree, and planted mistakes are named."""

import dataclasses
import json
import re

import pytest

from experiments import gradient_check

SHORT = gradient_check.Settings(hidden=8, filters=1, batch_size=2)


def test_command_leaves_a_complete_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gradient_check, "REPEATS", 1)
    settings = dataclasses.replace(SHORT, workdir=str(tmp_path / "run"), json=True)
    assert gradient_check.main(settings) == 0
    printed = json.loads(capsys.readouterr().out)
    assert list(printed["networks"]) == list(gradient_check.BOOKS)
    for found in printed["networks"].values():
        assert found["hand"] < 1e-6
        assert found["automatic"] < 1e-6
        assert max(found["differences"].values()) < 1e-6
        assert list(found["seconds"]) == ["numeric", "by hand", "JAX"]
    said = list(printed["planted"].values())
    assert "error" in said[0]
    assert "in 0/" in said[1]  # ReLU's mistake shows in the layer before it
    assert "in 2/bias" in said[2]
    assert re.search(r"in 2/kernel at index \[\d+, 5\]", said[3])
    assert (tmp_path / "run" / "plots" / "times.png").is_file()
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": 0}, "--hidden is 0: give 1 or more"),
        ({"batch_size": 5000}, "--batch_size is 5000, but there are only"),
        ({"seed": -1}, "--seed is -1"),
    ],
)
def test_wrong_settings_are_told_in_one_line(change, message):
    with pytest.raises(ValueError, match=message) as error:
        gradient_check.main(dataclasses.replace(SHORT, **change))
    assert "\n" not in str(error.value)
