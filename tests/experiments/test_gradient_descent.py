"""Paths of optimizers: the books' ends, and every optimizer walks."""

import dataclasses
import json

import numpy as np
import pytest

from experiments import gradient_descent
from jaxdl import optimizers

SHORT = gradient_descent.Settings(optimizers="sgd,momentum,adagrad,adam", noisy_runs=50)


def test_command_leaves_a_complete_folder(tmp_path, capsys):
    settings = dataclasses.replace(SHORT, workdir=str(tmp_path / "run"), json=True)
    assert gradient_descent.main(settings) == 0
    printed = json.loads(capsys.readouterr().out)
    paths = {name: np.array(found["path"]) for name, found in printed["valley"].items()}
    assert list(paths) == ["sgd", "momentum", "adagrad", "adam"]
    assert all(path.shape == (31, 2) for path in paths.values())
    # Plain descent changes sides at every step, AdaGrad at none.
    assert np.all(np.diff(np.sign(paths["sgd"][:, 1])) != 0)
    assert np.all(paths["adagrad"][:, 1] >= 0)
    ends = {
        name: path[-1, 0] ** 2 / 20 + path[-1, 1] ** 2 for name, path in paths.items()
    }
    assert ends["adagrad"] < ends["sgd"] < ends["adam"] < 1
    np.testing.assert_allclose(
        printed["bowl"]["0.1"][-1], [-6e-10, 8e-10], rtol=0.05, atol=0
    )
    assert printed["escaped"]["0"] == 0 < printed["escaped"]["8"]
    drawn = {path.name for path in (tmp_path / "run" / "plots").iterdir()}
    assert drawn == set(gradient_descent.CAPTIONS)
    text = (tmp_path / "run" / "comparison.md").read_text()
    assert "diverges" in text
    assert "does not move" in text


def test_every_optimizer_is_asked_for_by_default():
    names = gradient_descent.chosen(gradient_descent.Settings())
    assert names == list(optimizers.OPTIMIZERS)
    rate, path = gradient_descent._in_valley("lion", 5, asked=0.25)
    assert rate == 0.25
    # Lion moves by its rate along every axis (Chen et al. 2023).
    np.testing.assert_allclose(np.abs(np.diff(path[:3], axis=0)), 0.25, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizers": "sgd,sdg"}, "sdg"),
        ({"steps": 0}, "--steps is 0: give 1 or more"),
        ({"learning_rate": float("nan")}, "--learning_rate"),
    ],
)
def test_wrong_settings_are_told_in_one_line(change, message):
    with pytest.raises(ValueError, match=message) as error:
        gradient_descent.main(dataclasses.replace(SHORT, **change))
    assert "\n" not in str(error.value)
