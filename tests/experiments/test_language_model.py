"""``language_model`` and ``generate``: a run, what is made of it, what is refused."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from experiments import evaluate, generate, language_model
from jaxdl import runs
from jaxdl.runs.folder import RunFolder
from tests.experiments.shared import command, digest
from tests.quick import jit

TEXT = "the cat sat on the mat, and the rat sat on the cat.\n" * 30


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """The name of a short text."""
    file = tmp_path_factory.mktemp("text") / "cats.txt"
    file.write_text(TEXT)
    return f"text:{file}"


def settings(text, **changes):
    base = language_model.Settings(
        dataset=text,
        context=8,
        width=8,
        layers=1,
        max_steps=4,
        evaluate_every=2,
        batch_size=4,
        optimizer="adam",
    )
    return dataclasses.replace(base, **changes)


@pytest.fixture(scope="module")
def trained(text, tmp_path_factory):
    """A finished run that tests must not change."""
    folder = tmp_path_factory.mktemp("run") / "run"
    options = {"heads": 2, "kv_heads": 1, "dropout": 0.1, "prompt": "the"}
    assert language_model.main(settings(text, workdir=str(folder), **options)) == 0
    before = digest(folder)
    yield folder
    assert digest(folder) == before


def test_a_run_leaves_a_complete_folder(trained):
    place = RunFolder(trained)
    summary = json.loads(place.summary.read_text())
    names = {"loss", "perplexity", "bits_per_character"}
    assert set(summary["metrics"]["test"]) == names
    assert set(summary["baselines"]) == {"unigram", "5-gram"}
    assert all(set(figures) == names for figures in summary["baselines"].values())
    assert {path.name for path in place.plots.iterdir()} == {
        *("learning_curves.png", "loss_by_place.png", "gradient_by_lag.png")
    }
    shown = sorted(path.name for path in place.samples.iterdir())
    assert shown == [f"{step:08d}_samples.txt" for step in (0, 2, 4)]
    written = (place.samples / shown[-1]).read_text()
    assert written.count("--- temperature ") == len(language_model.TEMPERATURES)
    assert "\nthe" in written


def test_the_figures_are_repeated_exactly(trained, tmp_path):
    assert evaluate.evaluate(evaluate.Settings(run=str(trained)))["differences"] == {}
    other = tmp_path / "other.txt"
    other.write_text(TEXT * 3)
    result = evaluate.evaluate(
        evaluate.Settings(run=str(trained), dataset=f"text:{other}")
    )
    assert result["differences"] is None
    assert result["metrics"]["loss"] > 0


def test_a_run_is_loaded_and_tells_how_surprising_files_are(trained, text, tmp_path):
    loaded = runs.load(trained)
    logits = loaded(["the cat"])
    assert logits.shape == (1, 7, len(loaded.classes))
    tokens = loaded.preprocess.encode("the cat")
    np.testing.assert_allclose(logits, loaded(tokens[None]), atol=1e-6)

    # The test part, from its file alone: the test figures.
    held_out = round(len(TEXT) * 0.05)
    (tmp_path / "test.txt").write_text(TEXT[-held_out:])
    (tmp_path / "odd.txt").write_text("the dog!")
    notes = []
    files = [tmp_path / "test.txt", tmp_path / "odd.txt"]
    rows = language_model.predict(loaded, files, notes.append)
    summary = json.loads(RunFolder(trained).summary.read_text())
    expected = summary["metrics"]["test"]["bits_per_character"]
    assert rows[0]["bits_per_character"] == pytest.approx(expected, rel=1e-5)
    assert [row["input"] for row in rows] == [str(file) for file in files]
    assert notes == [f"{files[1]}: 2 characters are unknown ('g', '!')"]


def write(trained, **options):
    return generate.generate(generate.Settings(run=str(trained), **options))


def test_it_writes_what_seed_and_options_say_and_nothing_else(trained):
    options = {"prompt": "the ", "length": 30}
    first = write(trained, **options)
    assert first["prompt"] == "the "
    assert len(first["text"]) == 30
    assert set(first["text"]) <= set(TEXT)
    assert write(trained, **options) == first
    assert write(trained, seed=1, **options) != first
    greedy = write(trained, greedy=True, **options)
    assert write(trained, temperature=0.0, seed=1, **options) == greedy
    assert write(trained, top_k=1, **options) == greedy
    assert write(trained, top_p=1e-6, **options) == greedy


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompt": ""}, "--prompt is empty"),
        ({"prompt": "the dög"}, "--prompt holds 'ö', 'g', which the training text"),
        ({"prompt": "a", "length": 0}, "--length is 0: give 1 or more"),
        ({"prompt": "a", "top_k": -1}, "--top_k is -1: give 0 or more"),
        ({"prompt": "a", "top_p": 0.0}, "--top_p is 0.0: give a share above 0"),
        ({"prompt": "a", "temperature": -1.0}, "--temperature is -1.0"),
        ({"prompt": "a", "temperature": float("nan")}, "--temperature is nan"),
        ({"prompt": "a", "run": ""}, "--run is missing"),
        ({"prompt": "a", "run": "/missing"}, "/missing"),
    ],
)
def test_what_cannot_be_written_is_one_line(trained, options, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words) as caught:
        generate.generate(generate.Settings(**{"run": str(trained), **options}))
    assert "\n" not in str(caught.value)


def test_the_command_prints_json_alone(trained):
    arguments = (f"--run={trained}", "--prompt=the ", "--length=5", "--seed=3")
    done = command("generate", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == write(trained, prompt="the ", length=5, seed=3)


@pytest.mark.usefixtures("without_pictures")
def test_words_are_learned_by_a_recurrent_model(text, tmp_path):
    asked = settings(
        text,
        model="gru",
        level="word",
        vocabulary=5,
        tied=False,
        recurrent_dropout=0.1,
        max_steps=1,
        workdir=str(tmp_path / "run"),
    )
    assert language_model.main(asked) == 0
    summary = json.loads(RunFolder(tmp_path / "run").summary.read_text())
    assert set(summary["metrics"]["test"]) == {"loss", "perplexity"}
    assert set(summary["baselines"]) == {"unigram", "3-gram"}
    assert len(runs.load(tmp_path / "run").classes) == 7


def test_a_step_is_the_same_in_microbatches_and_beside_another_member(text):
    options = {"dropout": 0.3, "heads": 2}
    task, _ = language_model.build(settings(text, **options))
    halves, _ = language_model.build(settings(text, **options, accumulate_steps=2))
    batch = task.data.train.fetch(np.array([3, 50, 200, 7]))
    batch["mask"] = np.ones(4, np.float32)
    create = jit(task.create)
    states = [create(seed) for seed in (0, 1)]
    (_, whole), (_, parts) = (jit(t.step)(states[0], batch) for t in (task, halves))
    members = jit(lambda seeds: jax.vmap(task.create)(seeds))(np.arange(2))
    _, beside = jit(jax.vmap(task.step, in_axes=(0, None)))(members, batch)
    for name in ("loss", "gradient_norm"):
        one, cut, two = (found[name].total for found in (whole, parts, beside))
        np.testing.assert_allclose(cut, one, rtol=1e-5)
        np.testing.assert_allclose(two[0], one, rtol=1e-5)
        assert abs(two[1] - one) > 1e-3 * abs(one)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dataset": "text:/missing"}, "/missing does not exist"),
        ({"dataset": "nosuchtext"}, "nosuchtext is unknown"),
        ({"model": "lstmm"}, "did you mean lstm"),
        ({"model": "lstm", "heads": 2}, "lstm_lm has no option 'heads'"),
        ({"recurrent_dropout": 0.1}, "has no option 'recurrent_dropout'"),
        ({"heads": 3}, "a width of 8 does not divide into 3 heads"),
        ({"positions": "ordinal"}, "'ordinal': give one of rotary"),
        ({"level": "line"}, "--level is 'line'"),
        ({"context": 5000}, "train part has 1404 characters, at least 5001"),
        ({"prompt": "the dog"}, "--prompt holds 'g'"),
        ({"split_seed": 1}, "--split_seed=1: a text is cut by position"),
        ({"monitor": "accuracy"}, "accuracy is not measured"),
        ({"batch_size": 5000}, "--batch_size is 5000"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_line(text, tmp_path, changes, words):
    workdir = tmp_path / "run"
    with pytest.raises((ValueError, FileNotFoundError), match=words) as caught:
        language_model.main(settings(text, workdir=str(workdir), **changes))
    assert "\n" not in str(caught.value)
    assert not workdir.exists()
