"""Gates: the truth tables learned, and the one that a single layer cannot."""

import dataclasses
import json

import numpy as np
import pytest

from experiments import logic_gates
from jaxdl.analysis import perceptron

SHORT = logic_gates.Settings(steps=600, seeds=4, epochs=30)


def test_command_leaves_a_complete_folder(tmp_path, capsys):
    settings = dataclasses.replace(SHORT, workdir=str(tmp_path / "run"), json=True)
    assert logic_gates.main(settings) == 0
    printed = json.loads(capsys.readouterr().out)
    found = {(row["gate"], row["network"]): row for row in printed["gates"]}
    assert len(found) == 12
    for (gate, network), row in found.items():
        if gate == "XOR" and "two layers" not in network:
            assert max(row["best"]) <= 0.75, row
            assert row["solved"] == 0
        else:
            assert row["solved"] >= 1, row
    for file in ("report.html", "comparison.md", "plots/boundaries.png", "flags.txt"):
        assert (tmp_path / "run" / file).is_file()
    text = (tmp_path / "run" / "comparison.md").read_text()
    assert text.count("impossible") == 2


def test_what_is_drawn_decides_as_the_table_says():
    row = logic_gates.by_descent("XOR", logic_gates.descent(SHORT, 4))
    said = np.asarray(row.decide(perceptron.INPUTS)) > 0.5
    np.testing.assert_array_equal(said, perceptron.TRUTH["XOR"] == 1)
    assert row.shown == row.accuracy.max() == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": 0}, "--hidden is 0: give 1 or more"),
        ({"learning_rate": -1.0}, "--learning_rate"),
        ({"activation": "sin"}, "unknown activation 'sin'"),
    ],
)
def test_wrong_settings_are_told_in_one_line(change, message):
    with pytest.raises(ValueError, match=message) as error:
        logic_gates.main(dataclasses.replace(SHORT, **change))
    assert "\n" not in str(error.value)
