"""``evaluate``: a run's own figures again, to the bit, or those of other data."""

import json
import shutil

import numpy as np
import pytest

from experiments import evaluate
from experiments.evaluate import Settings
from jaxdl.runs.folder import RunFolder
from tests.experiments.shared import command, stripes


def summary(folder):
    return json.loads(RunFolder(folder).summary.read_text())


@pytest.fixture
def copy(trained, tmp_path):
    """A run that a test may change."""
    return shutil.copytree(trained, tmp_path / "copy")


@pytest.mark.parametrize("split", ["test", "validation"])
def test_the_figures_of_the_summary_are_repeated_exactly(trained, split):
    result = evaluate.evaluate(Settings(run=str(trained), split=split))
    assert result["metrics"] == summary(trained)["metrics"][split]
    assert result["differences"] == {}
    assert result["step"] == summary(trained)["best_step"]


def test_a_run_with_all_options_is_repeated_exactly(train, without_pictures):
    folder = train(
        ema_decay=0.8,
        schedule="plateau",
        optimizer="momentum",
        weight_decay=0.1,
        clip_norm=1.0,
        l2=0.01,
        freeze="Dense_1",
        batch_norm="true",
        precision="bfloat16",
        max_steps=8,
        evaluate_every=3,
    )
    assert evaluate.evaluate(Settings(run=str(folder)))["differences"] == {}


def test_the_training_part_has_nothing_to_be_compared_with(trained):
    result = evaluate.evaluate(Settings(run=str(trained), split="train"))
    assert result["differences"] is None
    assert 0 <= result["metrics"]["accuracy"] <= 1


def test_a_figure_that_differs_is_shown_and_fails(copy, capsys):
    place = RunFolder(copy)
    about = summary(copy)
    true = about["metrics"]["test"]["accuracy"]
    about["metrics"]["test"]["accuracy"] = 2.0
    place.summary.write_text(json.dumps(about))
    assert evaluate.main(Settings(run=str(copy))) == 1
    shown = capsys.readouterr().out
    assert f"different: accuracy is 2.0 in summary.json and {true!r} here" in shown
    assert "loss is" not in shown


def test_other_data_is_measured_with_the_runs_preprocessing(trained, tmp_path):
    images, labels = stripes(60, seed=3)
    parts = {"x_test": images, "y_test": labels}
    np.savez(tmp_path / "same.npz", x_train=images, y_train=labels, **parts)
    np.savez(
        tmp_path / "unit.npz",
        x_train=images[..., None] / 255.0,
        y_train=labels,
        x_test=images[..., None] / 255.0,
        y_test=labels,
    )
    same, unit = (
        evaluate.evaluate(Settings(run=str(trained), dataset=f"npz:{tmp_path / name}"))
        for name in ("same.npz", "unit.npz")
    )
    from jaxdl import runs

    logits = np.asarray(runs.load(trained)(images[..., None]))
    assert same["metrics"]["accuracy"] == np.mean(logits.argmax(1) == labels)
    assert unit["metrics"]["loss"] == pytest.approx(same["metrics"]["loss"], rel=1e-5)
    assert same["differences"] is None


def test_data_of_another_shape_is_refused(trained):
    with pytest.raises(ValueError, match=r"\[8, 8, 1\] in 10 classes, but the run"):
        evaluate.evaluate(Settings(run=str(trained), dataset="digits"))


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("flags.txt", "--nosuchflag=1\n", "nosuchflag"),
        ("flags.txt", "--epochs=many\n", "epochs=many: int is expected"),
        ("flags.txt", "nonsense\n", "line 1"),
        (
            "model.json",
            '{"experiment": "os"}',
            "'os': known are .*image_classification",
        ),
        ("model.json", "[]", "known are .*image_classification"),
        ("model.json", "{", "broken"),
    ],
)
def test_a_broken_folder_is_one_line(copy, file, text, words):
    (copy / file).write_text(text)
    with pytest.raises(ValueError, match=words) as caught:
        evaluate.evaluate(Settings(run=str(copy)))
    assert "\n" not in str(caught.value)
    assert str(copy) in str(caught.value)


def test_a_folder_without_checkpoints_is_one_line(copy):
    shutil.rmtree(copy / "states")
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        evaluate.evaluate(Settings(run=str(copy)))


def test_the_command_prints_json_alone_and_says_equal(trained):
    done = command("evaluate", f"--run={trained}", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["differences"] == {}
    shown = command("evaluate", f"--run={trained}")
    assert shown.stdout.endswith("equal to the run's own figures\n")
    assert shown.stderr == ""
    bad = command("evaluate", "--run=/missing", "--json")
    assert (bad.returncode, bad.stdout) == (1, "")
    assert len(bad.stderr.strip().splitlines()) == 1
