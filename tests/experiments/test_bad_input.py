"""Input that cannot be used: one clear line, a code, and nothing overwritten."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import image_classification
from tests.experiments.shared import command, digest

ERRORS = (ValueError, OSError, RuntimeError, ImportError)


@pytest.fixture
def pictures(tmp_path):
    """A folder of 12 readable images of two classes."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(6):
            pixels = rng.integers(0, 255, (6, 6), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{i}.png")
    return tmp_path / "pictures"


def refusal(capfd, settings, workdir):
    """The line that main refuses with, when the workdir is untouched by it."""
    before = digest(workdir) if workdir.is_dir() else None
    capfd.readouterr()
    with pytest.raises(ERRORS) as caught:
        image_classification.main(settings(workdir=str(workdir)))
    assert (digest(workdir) if workdir.is_dir() else None) == before
    assert capfd.readouterr().err == ""
    line = str(caught.value)
    assert line
    assert "\n" not in line
    return line


BAD = {
    "dataset": ({"dataset": "nosuchset"}, "nosuchset"),
    "model": ({"model": "nosuchmodel"}, "give one of logistic_regression"),
    "missing folder": (
        {"dataset": "folder:/missing"},
        "folder:/missing does not exist",
    ),
    "missing npz": ({"dataset": "npz:/missing.npz"}, "does not exist"),
    "data_dir": ({"dataset": "mnist", "data_dir": "/missing"}, "--data_dir=/missing"),
    "batch": ({"batch_size": 1000}, "--batch_size is 1000"),
    "no batch": ({"batch_size": 0}, "--batch_size is 0"),
    "rate": ({"learning_rate": -0.1}, "--learning_rate is -0.1"),
    "nan rate": ({"learning_rate": float("nan")}, "--learning_rate is nan"),
    "dropout": ({"dropout": -0.1}, "--dropout is -0.1"),
    "decay": ({"weight_decay": -1.0}, "--weight_decay is -1.0"),
    "ema": ({"ema_decay": 1.0}, "--ema_decay is 1.0"),
    "seed": ({"seed": -1}, "--seed is -1"),
    "huge seed": ({"seed": 2**31}, "--seed is too large"),
    "seeds": ({"seeds": 10**9}, "give at most 10000"),
    "endless": ({"epochs": 2**31 - 1}, "steps: give at most"),
    "length": ({"epochs": 0}, "--epochs and --max_steps are both 0"),
    "optimizer": ({"optimizer": "adamm"}, "adam"),
    "schedule": ({"schedule": "cosin"}, "cosine"),
    "monitor": ({"monitor": "test_accuracy"}, "test_accuracy"),
    "unmeasured": ({"monitor": "precision"}, "accuracy, loss"),
    "activation": ({"activation": "relux"}, "relu"),
    "initializer": ({"initializer": "hee"}, "xavier"),
    "augment": ({"augment": "flop"}, "flip"),
    "freeze": ({"freeze": "Nothing"}, "matches no parameter"),
    "batch_norm": ({"batch_norm": "maybe"}, "true or false"),
    "accumulate": ({"accumulate_steps": 3}, "microbatches"),
    "validation": ({"validation_fraction": 1.5}, "--validation_fraction is 1.5"),
    "image_size": ({"dataset": "digits", "image_size": 9}, "--image_size=9"),
    "parallel": ({"parallel": "both"}, "auto, none, data, fsdp"),
    "steps_per_call": ({"steps_per_call": "many"}, "--steps_per_call is 'many'"),
    "precision": ({"precision": "float8"}, "float32 or bfloat16"),
    "on_nonfinite": ({"on_nonfinite": "cry"}, "stop, skip, ignore"),
    "line break": ({"data_dir": "a\nb"}, "--data_dir holds a line break"),
    "no text": ({"freeze": "\udcff"}, "which is no text: give UTF-8"),
    "image_size too large": (
        {"dataset": "folder:/missing", "image_size": 10**6},
        "give 1 to 8192",
    ),
    "init_from": ({"init_from": "/missing"}, "no run at /missing"),
    "resume": ({"resume": "maybe"}, "auto, never, must"),
    "resume must": ({"resume": "must"}, "holds no run"),
}


@pytest.mark.parametrize(("changes", "words"), BAD.values(), ids=BAD.keys())
def test_a_bad_setting_is_one_line_and_no_folder(
    capfd, settings, tmp_path, changes, words
):
    workdir = tmp_path / "run"
    line = refusal(capfd, lambda **to: settings(**{**changes, **to}), workdir)
    assert words in line
    assert not workdir.exists()


def _empty(path):
    shutil.rmtree(path)
    path.mkdir()


def _corrupt(path):
    file = path / "cat" / "3.png"
    file.write_bytes(file.read_bytes()[:40])


def _two_sizes(path):
    Image.fromarray(np.zeros((9, 6), np.uint8)).save(path / "dog" / "2.png")


def _one_class(path):
    shutil.rmtree(path / "dog")


def _no_images(path):
    for file in (path / "dog").iterdir():
        file.unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_empty, "holds 0 class folders"),
        (_corrupt, "3.png can't be read"),
        (_two_sizes, "images differ in size"),
        (_one_class, "holds 1 class folders"),
        (_no_images, "holds no PNG or JPEG"),
    ],
)
def test_a_bad_image_folder_is_one_line(
    capfd, settings, pictures, tmp_path, spoil, words
):
    spoil(pictures)
    make = lambda **to: settings(dataset=f"folder:{pictures}", batch_size=4, **to)  # noqa: E731
    line = refusal(capfd, make, tmp_path / "run")
    assert words in line
    assert str(pictures) in line


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y": [0, 1, 7, 1], "classes": ["a", "b"]}, "the label 7, allowed are 0 to 1"),
        ({"y": [0, -1, 1, 1]}, "the label -1"),
        ({"y": [0, 1, 1]}, "4 inputs but 3 targets"),
        ({"z": [0, 1, 1, 0]}, "must be named"),
        ({"y": [0, 0, 0, 0]}, "one class only"),
        ({"y": np.array([0, 1, 0, 1], object)}, "no archive of plain NumPy arrays"),
    ],
)
def test_bad_arrays_are_one_line(capfd, settings, tmp_path, arrays, words):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.ones((4, 6, 6, 1), np.uint8), **arrays)
    make = lambda **to: settings(dataset=f"npz:{path}", batch_size=1, **to)  # noqa: E731
    assert words in refusal(capfd, make, tmp_path / "run")


def test_a_workdir_that_cannot_be_written_is_one_line(capfd, settings, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    assert "is a file" in refusal(capfd, settings, file)
    assert "cannot be written" in refusal(capfd, settings, file / "run")
    assert "cannot be written" in refusal(capfd, settings, Path("/proc/run"))
    assert file.read_text() == "mine"


def test_a_workdir_with_other_files_is_refused_as_it_is(capfd, settings, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    assert "thesis.tex" in refusal(capfd, settings, tmp_path)


def test_a_workdir_of_another_run_is_refused_as_it_is(
    capfd, settings, trained, tmp_path
):
    changed = [
        ({"model": "cnn"}, "model: mlp -> cnn"),
        ({"learning_rate": 0.5}, "learning_rate: 0.01 -> 0.5"),
        ({"dataset": "digits"}, "-> digits"),
        ({"resume": "never"}, "--resume=never"),
    ]
    for changes, words in changed:
        make = lambda to=changes, **more: settings(**to, **more)  # noqa: E731
        assert words in refusal(capfd, make, trained)
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    about = json.loads((other / "environment.json").read_text())
    about["code"]["jaxdl"] = "before"
    (other / "environment.json").write_text(json.dumps(about))
    longer = lambda **more: settings(epochs=3, **more)  # noqa: E731
    assert "other code (changed: jaxdl)" in refusal(capfd, longer, other)
    about["experiment"] = "language_model"
    (other / "environment.json").write_text(json.dumps(about))
    assert "a run of language_model" in refusal(capfd, settings, other)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--model=nosuchmodel"], 2, "give one of logistic_regression"),
        (["--learning_rate=fast"], 2, "fast"),
        (["--nosuchflag=1"], 2, "nosuchflag"),
        (["--dataset=folder:/missing"], 1, "does not exist"),
        (["digits"], 2, "'digits'"),
    ],
)
def test_the_command_ends_in_one_line_on_stderr(tmp_path, arguments, code, words):
    workdir = tmp_path / "run"
    done = command("image_classification", *arguments, f"--workdir={workdir}")
    assert done.returncode == code
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("image_classification: ")
    assert words in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not workdir.exists()
