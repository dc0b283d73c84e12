"""A trained network made visible: what is drawn is the network's own."""

import dataclasses
import json

import numpy as np
import pytest

from experiments import tabular, visualize
from tests.experiments.shared import digest

SHORT = visualize.Settings(images=3, ascent_steps=5)


@pytest.fixture(scope="module")
def convolutional(train):
    """A finished run of a small CNN."""
    return train(model="simple_cnn", max_steps=12, learning_rate=0.003)


def test_command_looks_at_a_run_and_leaves_it_as_it_is(convolutional, tmp_path, capsys):
    before, folder = digest(convolutional), tmp_path / "seen"
    settings = dataclasses.replace(
        SHORT, run=str(convolutional), workdir=str(folder), json=True
    )
    assert visualize.main(settings) == 0
    assert digest(convolutional) == before
    printed = json.loads(capsys.readouterr().out)
    assert printed["run"] == str(convolutional)
    assert [each["layer"] for each in printed["layers"]] == ["Conv_0", "Dense_0"]
    assert [each["layer"] for each in printed["gradients"]][-1] == "output"
    assert printed["receptive_fields"] == {"Conv_0": "5 x 5"}
    assert len(printed["most_exciting"]) == 3
    assert printed["fit"]["advice"]
    drawn = {path.name for path in (folder / "plots").iterdir()}
    assert drawn == {
        "layers.png",
        "looks_at.png",
        "filters.png",
        "feature_maps_first.png",
        "feature_maps_last.png",
        "most_exciting.png",
    }
    assert (folder / "report.html").read_text().count("data:image/png") == 6


def test_a_network_without_convolutions_is_looked_at_too(trained, tmp_path):
    settings = dataclasses.replace(SHORT, run=str(trained))
    found = visualize.look(settings, visualize.subject(settings), lambda line: None)
    assert (found.layer, found.fields) == ("", {})
    assert list(found.maps) == ["saliency"]
    assert found.maps["saliency"].shape == (3, 6, 6)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-5)
    said = np.argmax(found.probabilities, axis=1)
    logits = found.subject.loaded(found.subject.images)
    np.testing.assert_array_equal(said, np.argmax(logits, axis=1))


def test_wrong_settings_are_told_in_one_line(convolutional, tmp_path):
    other = tmp_path / "table"
    asked = tabular.Settings(
        dataset="wine", model="linear", max_steps=1, workdir=str(other)
    )
    assert tabular.main(asked) == 0
    for change, message in (
        ({"run": str(other)}, "is a run of tabular: give one of image_classification"),
        ({"layer": "Conv_9"}, "--layer is 'Conv_9': give one of Conv_0"),
        ({"images": 0}, "--images is 0: give 1 or more"),
    ):
        settings = dataclasses.replace(SHORT, run=str(convolutional))
        with pytest.raises(ValueError) as error:
            visualize.main(dataclasses.replace(settings, **change))
        assert message in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(OSError, match="none"):
        visualize.main(dataclasses.replace(SHORT, run=str(tmp_path / "none")))
