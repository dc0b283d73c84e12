"""Text classification: a run and what it leaves, kinds of labels, what it refuses."""

import json

import jax
import numpy as np
import pytest

from experiments import evaluate, predict, text_classification
from jaxdl import runs
from jaxdl.runs.folder import RunFolder, read_json
from tests.data.test_text_sets import write
from tests.experiments.shared import command, digest

ANIMALS = ["cat", "dog", "owl"]


def rows(count=120, separator=""):
    """Texts that name an animal, which their label says; with a separator, also
    whether they are even."""
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, 3, count)
    more = [f"{separator}{'even' if i % 2 else 'odd'}" for i in range(count)]
    said = [
        f"{'even' if i % 2 else 'odd'} text of a {ANIMALS[c]}"
        for i, c in enumerate(chosen)
    ]
    return [
        f"{text},{ANIMALS[c]}{extra if separator else ''}"
        for text, c, extra in zip(said, chosen, more, strict=True)
    ]


@pytest.fixture(scope="module")
def animals(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data") / "animals.csv", rows())


@pytest.fixture(scope="module")
def settings(animals):
    """Makes settings of a short run on the tiny data set."""

    def make(**changes):
        length = {"epochs": 6, "batch_size": 16, "learning_rate": 0.02, "dropout": 0.1}
        asked = {"model": "bag_of_words", "length": 8, "vocabulary": 40}
        return text_classification.Settings(
            **{"dataset": animals, **length, **asked, **changes}
        )

    return make


@pytest.fixture(scope="module")
def trained(settings, tmp_path_factory):
    """A finished run that tests read and must not change."""
    folder = tmp_path_factory.mktemp("texts") / "run"
    assert text_classification.main(settings(workdir=str(folder))) == 0
    before = digest(folder)
    yield folder
    assert digest(folder) == before


@pytest.fixture(scope="module")
def loaded(trained):
    return runs.load(trained)


def test_a_run_leaves_a_complete_folder(trained):
    place = RunFolder(trained)
    summary = read_json(place.summary)
    test = summary["metrics"]["test"]
    assert test["accuracy"] > 0.9
    assert set(test) == {"loss", "accuracy", "precision", "recall", "f1", "roc_auc"}
    assert summary["baselines"]["logistic"]["accuracy"] > 0.9
    assert summary["baselines"]["majority"]["accuracy"] < 0.6
    assert {path.name for path in place.plots.iterdir()} == {
        "confusion_matrix.png",
        "learning_curves.png",
        "ranking_curves.png",
        "worst_texts.txt",
    }
    report = place.report.read_text()
    assert "text of a" in report
    assert "Left out" not in report


def test_the_test_figures_are_repeated_exactly(trained):
    assert evaluate.evaluate(evaluate.Settings(run=str(trained)))["differences"] == {}


def test_other_texts_are_measured_with_the_runs_vocabulary(trained, tmp_path):
    table = ["a bat,owl", *rows(20)]
    name = write(tmp_path / "more.csv", table)
    found = evaluate.evaluate(evaluate.Settings(run=str(trained), dataset=name))
    assert found["differences"] is None
    assert 0.9 < found["metrics"]["accuracy"] <= 1
    far = write(tmp_path / "far.csv", [f"x {i},{'ab'[i % 2]}" for i in range(8)])
    with pytest.raises(ValueError, match="but the run was trained on cat, dog, owl"):
        evaluate.evaluate(evaluate.Settings(run=str(trained), dataset=far))


def test_a_loaded_run_takes_texts_or_tokens(loaded):
    texts = ["a CAT!", "nothing known", ""]
    tokens = loaded.preprocess.encode(texts)
    assert loaded.classes[int(np.argmax(loaded("even text of a dog")))] == "dog"
    np.testing.assert_allclose(loaded(texts), loaded(tokens), rtol=1e-6)
    assert loaded(texts).shape == (3, 3)


def test_each_line_of_a_text_file_is_a_text(loaded, tmp_path):
    (tmp_path / "a.txt").write_text("odd text of a owl\n\n  \nText of a CAT!\n???\n")
    told = []
    found = text_classification.predict(loaded, [tmp_path / "a.txt"], told.append)
    assert [row["index"] for row in found] == [0, 3, 4]
    assert [row["class"] for row in found[:2]] == ["owl", "cat"]
    assert told == [f"without a word, 1 in all: {tmp_path}/a.txt[4]"]
    logits = loaded(["odd text of a owl", "text of a cat", ""])
    shares = np.asarray(jax.nn.softmax(logits))
    for row, expected in zip(found, shares, strict=True):
        assert row["probabilities"] == pytest.approx(expected, abs=1e-6)
        assert row["probability"] == pytest.approx(expected.max(), abs=1e-6)


def test_rows_of_a_csv_file_are_texts(trained, tmp_path, capsys):
    write(tmp_path / "a.csv", ["3,text of a dog", "4,text of a owl"], "id,text")
    asked = {"run": str(trained), "input": (str(tmp_path / "a.csv"),)}
    assert predict.main(predict.Settings(**asked)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{tmp_path}/a.csv[0]: dog (dog ")
    assert predict.main(predict.Settings(**asked, json=True)) == 0
    assert json.loads(capsys.readouterr().out)[1]["class"] == "owl"


def test_files_that_cannot_be_used_are_one_line(loaded, tmp_path):
    (tmp_path / "a.csv").write_text("body\nx\n")
    (tmp_path / "b.txt").write_bytes(b"caf\xe9")
    (tmp_path / "empty.txt").write_text(" \n")
    for name, message in {
        "a.csv": "--text=text: the columns are body",
        "b.txt": r"is not UTF-8 \(byte 3\)",
        "missing.txt": "does not exist",
        "empty.txt": "holds no text",
    }.items():
        with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
            text_classification.predict(loaded, [tmp_path / name])
        assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def several(settings, tmp_path_factory):
    """A finished run on texts with several labels."""
    folder = tmp_path_factory.mktemp("several")
    name = write(folder / "several.csv", rows(separator="|"))
    asked = settings(dataset=name, workdir=str(folder / "run"), epochs=12)
    assert text_classification.main(asked) == 0
    return folder / "run"


def test_several_labels_a_text(several, tmp_path):
    place = RunFolder(several)
    test = read_json(place.summary)["metrics"]["test"]
    assert {"exact_match", "average_precision", "roc_auc", "f1"} <= set(test)
    assert test["accuracy"] > 0.9
    assert "average precision" in (place.plots / "label_scores.txt").read_text()
    (tmp_path / "a.txt").write_text("even text of a cat\n")
    loaded = runs.load(several)
    (row,) = text_classification.predict(loaded, [tmp_path / "a.txt"])
    assert row["labels"] == ["cat", "even"]
    assert row["class"] == "cat, even"
    expected = np.asarray(jax.nn.sigmoid(loaded("even text of a cat")))[0]
    assert row["probabilities"] == pytest.approx(expected, abs=1e-6)
    assert evaluate.evaluate(evaluate.Settings(run=str(several)))["differences"] == {}


def test_two_classes_are_a_yes_or_no(settings, tmp_path):
    two = [row for row in rows() if "owl" not in row]
    asked = settings(dataset=write(tmp_path / "two.csv", two), length=5)
    task, _ = text_classification.build(asked)
    assert task.model["head"] == "binary"
    assert task.model["model"]["arguments"]["classes"] == 1
    batch = task.data.test.fetch(np.arange(4))
    shares = task.outputs(task.create(0), batch)
    assert shares.shape == (4, 2)
    np.testing.assert_allclose(shares.sum(1), 1.0, rtol=1e-6)


OPTIONS = {
    "lstm": {"layers": 2, "bidirectional": True, "hidden": "7", "pooling": "mean"},
    "gru": {"recurrent_dropout": 0.2, "width": 9},
    "conv1d": {"kernel_size": 3, "pool": 2, "separable": True, "pooling": "mean"},
    "bag_of_words": {"hidden": "9,5"},
    "transformer": {"heads": 2, "kv_heads": 1, "positions": "learned", "width": 8},
}


@pytest.mark.parametrize("model", OPTIONS)
def test_every_option_reaches_the_model(settings, model):
    options = OPTIONS[model]
    task, _ = text_classification.build(settings(model=model, **options))
    arguments = task.model["model"]["arguments"]
    hidden = {"9,5": [9, 5], "7": 7}.get(options.get("hidden"))
    expected = {**options, **({"hidden": hidden} if hidden else {})}
    assert {name: arguments[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "lstn"}, r"--model is 'lstn' \(did you mean lstm\?\)"),
        ({"heads": 4}, "model bag_of_words has no option 'heads': its options are"),
        ({"model": "lstm", "separable": True}, "lstm has no option 'separable'"),
        ({"model": "lstm", "hidden": "16,16"}, "--model=lstm takes one size"),
        ({"hidden": "x"}, "--hidden is 'x': give sizes of layers"),
        ({"vocabulary": 1}, "--vocabulary is 1"),
        ({"length": 0}, "--length is 0"),
        ({"keep": "middle"}, "--keep is 'middle': give first or last"),
        ({"label": "class"}, "--label=class: the columns are text, label"),
        ({"dataset": "stdlib_docstrings", "text": "x"}, "--text=x names a column"),
        ({"batch_size": 1_000}, "--batch_size is 1000, but there are only 72"),
    ],
)
def test_settings_that_cannot_be_used_are_one_line(settings, changes, message):
    with pytest.raises(ValueError, match=message) as error:
        text_classification.build(settings(**changes))
    assert "\n" not in str(error.value)


def test_the_command_ends_in_one_line(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\nx,a\ny,\n")
    done = command(
        "text_classification",
        f"--dataset=csv:{tmp_path}/a.csv",
        f"--workdir={tmp_path}/r",
    )
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [
        f"text_classification: {tmp_path}/a.csv: label is empty in 1 of 2 rows, the "
        "first is row 2: fill in or remove these rows"
    ]
    assert not (tmp_path / "r").exists()
