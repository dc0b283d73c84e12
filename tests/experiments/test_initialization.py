"""Initial weights: what the layers put out, and a short training from each."""

import dataclasses
import json

import pytest

from experiments import initialization

SHORT = initialization.Settings(
    activations="sigmoid,relu",
    initializers="zeros,he",
    hidden_layers=1,
    units=16,
    steps=3,
    batch_size=32,
    seeds=1,
)


def test_command_leaves_a_complete_folder(tmp_path, capsys):
    settings = dataclasses.replace(SHORT, workdir=str(tmp_path / "run"), json=True)
    assert initialization.main(settings) == 0
    printed = json.loads(capsys.readouterr().out)
    deviations = printed["deviations"]
    assert list(deviations) == ["sigmoid", "relu"]
    he, small = (deviations["relu"][name] for name in ("He", "N(0, 0.01²)"))
    assert 0.5 < he[-1] / he[0] < 2
    assert small[-1] < 1e-3 * small[0]
    assert deviations["sigmoid"]["N(0, 1)"][0] > 0.4
    assert list(printed["families"][0]["networks"]) == ["zeros", "he"]
    text = (tmp_path / "run" / "comparison.md").read_text()
    (he_row,) = [line for line in text.splitlines() if line.startswith("| he ")]
    assert "0.286" in he_row
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count("data:image/png") == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activations": "relu,sin"}, "unknown activation 'sin'"),
        ({"initializers": ""}, "--initializers is empty"),
        ({"initializers": "hee"}, "unknown initializer 'hee'"),
        ({"units": 0}, "--units is 0"),
    ],
)
def test_wrong_settings_are_told_in_one_line(change, message):
    with pytest.raises(ValueError, match=message) as error:
        initialization.main(dataclasses.replace(SHORT, **change))
    assert "\n" not in str(error.value)
