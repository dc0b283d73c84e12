"""The variational autoencoder: a run and what it leaves, and what it refuses."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from experiments import evaluate, predict, vae
from jaxdl import runs
from jaxdl.runs.folder import RunFolder, read_json
from tests.experiments.shared import command, stripes

PICTURES = {
    "interpolation.png",
    "latent_grid.png",
    "latent_map.png",
    "learning_curves.png",
    "reconstructions.png",
    "samples.png",
}


@pytest.fixture(scope="module")
def settings(tiny):
    """Makes settings of a short run on the tiny data set."""

    def make(**changes):
        length = {"max_steps": 6, "evaluate_every": 3, "batch_size": 16}
        asked = {"latents": 3, "importance_samples": 4, "kl_warmup_steps": 4}
        return vae.Settings(**{"dataset": tiny, **length, **asked, **changes})

    return make


@pytest.fixture(scope="module")
def trained(settings, tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("vae") / "run"
    assert vae.main(settings(workdir=str(folder))) == 0
    return folder


@pytest.fixture(scope="module")
def loaded(trained):
    return runs.load(trained)


def test_a_run_leaves_a_complete_folder(trained):
    place = RunFolder(trained)
    summary = read_json(place.summary)
    test = summary["metrics"]["test"]
    assert summary["monitor"] == "negative_elbo"
    assert test["negative_elbo"] == pytest.approx(test["reconstruction"] + test["kl"])
    assert {"importance_weighted_bound", "active_latents", "knn_accuracy"} <= set(test)
    assert set(summary["baselines"]) == {"independent_pixels", "pca"}
    assert {path.name for path in place.plots.iterdir()} == PICTURES
    shown = {path.name[9:] for path in place.samples.iterdir()}
    assert shown == {"samples.png", "reconstructions.png"}
    assert "Images made of random latents." in place.report.read_text()


def test_the_test_figures_are_repeated_exactly(trained):
    assert evaluate.evaluate(evaluate.Settings(run=str(trained)))["differences"] == {}


def test_other_data_is_measured_with_the_runs_scale(trained, settings, tmp_path):
    """The run's own test images, as floats in [0, 1], cost what they did."""
    task, _ = vae.build(settings())
    own = task.data.test.arrays
    images, labels = own["inputs"] / 255.0, own["targets"]
    parts = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
    np.savez(tmp_path / "unit.npz", **parts)
    asked = evaluate.Settings(run=str(trained), dataset=f"npz:{tmp_path / 'unit.npz'}")
    there = read_json(RunFolder(trained).summary)["metrics"]["test"]
    found = evaluate.evaluate(asked)["metrics"]["negative_elbo"]
    assert found == pytest.approx(there["negative_elbo"], rel=1e-3)


def test_a_loaded_run_reconstructs_stored_images(loaded):
    images, _ = stripes(3, seed=1)
    found = np.asarray(loaded(images[..., None]))
    assert found.shape == (3, 6, 6, 1)
    assert 0 < found.min() < found.max() < 1


def test_predictions_belong_to_the_image_alone(loaded, tmp_path):
    images, _ = stripes(3, seed=1)
    np.save(tmp_path / "all.npy", images)
    Image.fromarray(images[2]).save(tmp_path / "last.png")
    files = [tmp_path / "last.png", tmp_path / "all.npy"]
    alone, *_, row = vae.predict(loaded, files)
    assert (row["index"], alone["index"]) == (2, None)
    assert row["latents"] == pytest.approx(alone["latents"], abs=1e-5)
    assert len(row["latents"]) == 3
    assert row["negative_elbo"] == pytest.approx(row["reconstruction"] + row["kl"])
    assert row["value"].startswith(f"negative ELBO {row['negative_elbo']:.2f} nats")
    np.save(tmp_path / "shape.npy", np.zeros((2, 7, 7), np.uint8))
    with pytest.raises(ValueError, match=r"has shape \[2, 7, 7\]: give \[n, 6, 6, 1\]"):
        vae.predict(loaded, [tmp_path / "shape.npy"])


def test_the_command_predicts_lines_or_json(trained, tmp_path, capsys):
    np.save(tmp_path / "all.npy", stripes(4)[0])
    asked = {"run": str(trained), "input": (str(tmp_path / "all.npy"),)}
    assert predict.main(predict.Settings(**asked)) == 0
    assert "all.npy[1]: negative ELBO " in capsys.readouterr().out
    assert predict.main(predict.Settings(**asked, json=True)) == 0
    assert [row["index"] for row in json.loads(capsys.readouterr().out)] == [0, 1, 2, 3]


def test_colour_images_get_a_gaussian_decoder_and_any_length(settings, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (60, 5, 7, 3), np.uint8)
    np.savez(tmp_path / "colour.npz", images=images, labels=np.arange(60) % 2)
    asked = settings(
        dataset=f"npz:{tmp_path / 'colour.npz'}", model="vae_cnn", max_steps=0
    )
    task, plan = vae.build(asked)
    assert task.model["model"]["arguments"]["decoder"] == "gaussian"
    assert (plan.steps, plan.evaluate_every) == (vae.STEPS, 3)
    state = jax.eval_shape(task.create, 0)
    batch = {"inputs": images[:16], "mask": np.ones(16, np.float32)}
    _, measured = jax.eval_shape(task.step, state, batch)
    assert "negative_elbo" in measured
    figures = task.baselines()
    assert "negative_elbo" in figures["pca"]


@pytest.mark.parametrize(
    ("way", "decoder", "channels", "expected"),
    [
        ("auto", "auto", 1, ("stochastic", "bernoulli")),
        ("auto", "auto", 3, ("none", "gaussian")),
        ("auto", "gaussian", 1, ("none", "gaussian")),
        ("none", "auto", 1, ("none", "bernoulli")),
        ("threshold", "auto", 3, ("threshold", "bernoulli")),
    ],
)
def test_binarisation_and_decoder_fit(way, decoder, channels, expected):
    assert vae.likelihood(way, decoder, channels) == expected


BAD = {
    "model": ({"model": "vea_mlp"}, "did you mean vae_mlp.*vae_mlp, vae_cnn"),
    "latents": ({"latents": 1}, "--latents is 1: give 2 or more"),
    "weight": ({"kl_weight": -0.5}, "--kl_weight is -0.5: give 0 or more"),
    "no weight": ({"kl_weight": float("nan")}, "--kl_weight is nan"),
    "warmup": ({"kl_warmup_steps": 7}, "--kl_warmup_steps is 7: give at most the 6"),
    "samples": ({"importance_samples": -1}, "--importance_samples is -1"),
    "binarize": ({"binarize": "dither"}, "auto, stochastic, threshold, none"),
    "decoder": ({"decoder": "beta"}, "give one of auto, bernoulli, gaussian"),
    "density": (
        {"decoder": "gaussian", "binarize": "threshold"},
        "--binarize=threshold leaves none: give --binarize=none",
    ),
    "monitor": ({"monitor": "accuracy"}, "kl, loss, negative_elbo, reconstruction"),
}


@pytest.mark.parametrize(("changes", "words"), BAD.values(), ids=BAD.keys())
def test_a_bad_setting_is_one_line_and_no_folder(settings, tmp_path, changes, words):
    with pytest.raises(ValueError, match=words) as caught:
        vae.main(settings(workdir=str(tmp_path / "run"), **changes))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_vectors_are_refused(settings, tmp_path):
    np.savez(tmp_path / "vectors.npz", x=np.ones((40, 9)), y=np.arange(40) % 2)
    with pytest.raises(ValueError, match=r"shape \[9\] that are no images: give"):
        vae.build(settings(dataset=f"npz:{tmp_path / 'vectors.npz'}"))


def test_the_command_explains_itself_and_ends_in_one_line(tmp_path):
    done = command("vae", "--helpshort")
    assert done.returncode == 0
    assert "--kl_weight=1.0" in done.stdout
    assert max(map(len, done.stdout.splitlines())) < 130
    bad = command("vae", "--binarize=dither", f"--workdir={tmp_path / 'run'}")
    assert bad.returncode == 2
    assert bad.stderr.startswith("vae: --binarize is 'dither': give one of auto")
    assert len(bad.stderr.strip().splitlines()) == 1
