"""Sequence to sequence: a run and what it leaves, and what it refuses."""

import json

import jax
import numpy as np
import pytest

from experiments import evaluate, predict, sequence_to_sequence
from jaxdl import parallel, runs
from jaxdl.runs.folder import RunFolder, read_json
from jaxdl.runs.machine import Machine
from tests.experiments.shared import command, digest


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    """The name of a CSV file of words and the same words backwards."""
    rng = np.random.default_rng(0)
    words = {"".join(rng.choice(list("abc"), n)) for n in rng.integers(1, 5, 300)}
    rows = [f"{word},{word[::-1]}" for word in sorted(words)]
    path = tmp_path_factory.mktemp("data") / "words.csv"
    path.write_text("\n".join(["word,backwards", *rows]))
    return f"csv:{path}"


@pytest.fixture(scope="module")
def settings(csv):
    """Makes settings of a short run on those words."""

    def make(**changes):
        length = {"max_steps": 6, "evaluate_every": 3, "batch_size": 8, "epochs": 0}
        columns = {"dataset": csv, "source": "word", "target": "backwards"}
        size = {"model": "lstm_attention", "width": 4}
        return sequence_to_sequence.Settings(**{**length, **columns, **size, **changes})

    return make


@pytest.fixture(scope="module")
def trained(settings, tmp_path_factory):
    """A finished run that tests read and must not change."""
    folder = tmp_path_factory.mktemp("seq2seq") / "run"
    assert sequence_to_sequence.main(settings(workdir=str(folder))) == 0
    before = digest(folder)
    yield folder
    assert digest(folder) == before


@pytest.fixture(scope="module")
def loaded(trained):
    return runs.load(trained)


def test_a_run_leaves_a_complete_folder(trained):
    place = RunFolder(trained)
    summary = read_json(place.summary)
    assert (summary["status"], summary["monitor"]) == ("completed", "exact_match")
    assert set(summary["metrics"]["test"]) == {"loss", "accuracy", "exact_match"}
    assert set(summary["baselines"]) == {"majority", "copy", "nearest"}
    assert {path.name for path in place.plots.iterdir()} == {
        *("attention.png", "learning_curves.png", "wrong_answers.txt")
    }
    steps = [f"{step:08}_answers.txt" for step in (0, 3, 6)]
    assert sorted(path.name for path in place.samples.iterdir()) == steps
    report = place.report.read_text()
    assert "What was read (left to right)" in report
    assert "answers are wrong" in report


def test_the_test_figures_are_repeated_exactly(trained):
    assert evaluate.evaluate(evaluate.Settings(run=str(trained)))["differences"] == {}


def test_other_pairs_are_measured_by_the_runs_vocabulary(trained, tmp_path, csv):
    own = evaluate.evaluate(evaluate.Settings(run=str(trained)))["metrics"]
    same = evaluate.evaluate(evaluate.Settings(run=str(trained), dataset=csv))
    assert same["metrics"] == own
    path = tmp_path / "long.csv"
    path.write_text("\n".join(["word,backwards", *(f"{i:09},a" for i in range(9))]))
    with pytest.raises(ValueError, match="'00000000.' has 9 characters: at most 4 fit"):
        evaluate.evaluate(evaluate.Settings(run=str(trained), dataset=f"csv:{path}"))


def test_a_loaded_run_gives_logits_of_texts(loaded):
    logits = np.asarray(loaded({"source": ["ab", "c"], "target": ["ba", "c"]}))
    assert logits.shape == (2, 5, len(loaded.classes))
    tokens = loaded.preprocess.apply({"source": ["ab", "c"], "target": ["ba", "c"]})
    np.testing.assert_array_equal(loaded(tokens), logits)


def test_each_line_of_a_file_is_answered(loaded, tmp_path):
    (tmp_path / "words.txt").write_text("ab\n\n cab \nxa\n")
    told = []
    rows = sequence_to_sequence.predict(loaded, [tmp_path / "words.txt"], told.append)
    assert [(row["index"], row["source"]) for row in rows] == [
        *((0, "ab"), (2, "cab"), (3, "xa"))
    ]
    assert all(set(row["value"]) <= set("abc") for row in rows)
    assert told == [f"{tmp_path / 'words.txt'}[3]: training held no 'x'"]
    (tmp_path / "rows.csv").write_text("number,word\n1,ab\n2,cab\n")
    by_row = sequence_to_sequence.predict(loaded, [tmp_path / "rows.csv"])
    assert [row["value"] for row in by_row] == [row["value"] for row in rows[:2]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"abcab\n", r"\[0\] has 5 characters: the run was trained on at most 4"),
        (b" \n\n", "is empty: give a source a line"),
        (b"\xff\xfe", "is not UTF-8"),
        (None, "does not exist"),
    ],
)
def test_a_file_that_cannot_be_answered_is_one_line(loaded, tmp_path, content, words):
    path = tmp_path / "bad.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=words) as caught:
        sequence_to_sequence.predict(loaded, [path])
    assert "bad.txt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_predicts_json_or_lines(trained, tmp_path, capsys):
    (tmp_path / "words.txt").write_text("ab\nc\n")
    asked = {"run": str(trained), "input": (str(tmp_path / "words.txt"),)}
    assert predict.main(predict.Settings(**asked, json=True)) == 0
    values = [row["value"] for row in json.loads(capsys.readouterr().out)]
    assert predict.main(predict.Settings(**asked)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{tmp_path}/words.txt[{i}]: {v}" for i, v in enumerate(values)]


def test_states_step_in_a_stack_as_each_does_alone(settings):
    task, plan = sequence_to_sequence.build(settings(model="lstm"))
    states = jax.jit(jax.vmap(task.create))(np.arange(2))
    batch = Machine.of(task, plan).feed(0)
    stacked, metrics = jax.jit(parallel.vmap(task.step))(states, batch)
    step = jax.jit(task.step)
    for member in range(2):
        state, own = step(jax.tree.map(lambda leaf, i=member: leaf[i], states), batch)
        np.testing.assert_allclose(
            metrics["loss"].read()[member], own["loss"].read(), rtol=1e-5
        )
        for leaf, expected in zip(
            jax.tree.leaves(stacked.params), jax.tree.leaves(state.params), strict=True
        ):
            np.testing.assert_allclose(leaf[member], expected, atol=1e-5)
    assert metrics["loss"].read()[0] != metrics["loss"].read()[1]


BAD = {
    "model": ({"model": "lstn"}, "did you mean lstm.*lstm, lstm_attention, transf"),
    "dataset": ({"dataset": "sums"}, "--dataset=sums is unknown"),
    "column": ({"source": "wort"}, "--source=wort: the columns are word, backwards"),
    "examples": ({"examples": 9}, "--examples=9 is for addition and dates"),
    "layers": ({"layers": 2}, "lstm_attention_seq2seq has no option 'layers'"),
    "data_dir": ({"data_dir": "/tmp"}, "--data_dir=/tmp is for TFDS"),
    "width": ({"width": 0}, "--width is 0: give 1 or more"),
    "heads": ({"model": "transformer", "heads": 3}, "4 does not divide into 3 heads"),
    "batch": ({"batch_size": 999}, "--batch_size is 999, but there are only"),
    "monitor": ({"monitor": "roc_auc"}, "accuracy, exact_match, loss"),
}


@pytest.mark.parametrize(("changes", "words"), BAD.values(), ids=BAD.keys())
def test_a_bad_setting_is_one_line_and_no_folder(settings, tmp_path, changes, words):
    with pytest.raises(ValueError, match=words) as caught:
        sequence_to_sequence.main(settings(workdir=str(tmp_path / "run"), **changes))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_the_command_explains_itself_and_ends_in_one_line(tmp_path):
    done = command("sequence_to_sequence", "--helpshort")
    assert done.returncode == 0
    assert "--target=target" in done.stdout
    bad = command(
        "sequence_to_sequence", "--examples=-3", f"--workdir={tmp_path / 'run'}"
    )
    assert bad.returncode == 2
    assert bad.stderr.startswith("sequence_to_sequence: --examples is -3: give 0")
    assert len(bad.stderr.strip().splitlines()) == 1
