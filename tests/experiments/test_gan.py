"""The adversarial network: a run and what it leaves, samples, tricks, refusals."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from PIL import Image

from experiments import evaluate, gan, gan_samples, gan_tricks, predict
from jaxdl import runs
from jaxdl.runs import feature_classifier
from jaxdl.runs.folder import RunFolder, read_json

PICTURES = {
    "classes.txt",
    "frequencies.png",
    "learning_curves.png",
    "notes.txt",
    "samples_by_class.png",
}


@pytest.fixture(scope="module", autouse=True)
def _short_classifier():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_classifier, "STEPS", 30)
        yield


@pytest.fixture(scope="module")
def settings(tiny):
    """Makes settings of a short run on the tiny data set."""

    def make(**changes):
        length = {"max_steps": 4, "evaluate_every": 2, "batch_size": 16}
        asked = {"dataset": tiny, "channels": 2, "latents": 3, **length}
        return gan.Settings(**{**asked, **changes})

    return make


@pytest.fixture(scope="module")
def trained(settings, tmp_path_factory):
    """A finished run, and what it printed."""
    folder = tmp_path_factory.mktemp("gan") / "run"
    assert gan.main(settings(workdir=str(folder))) == 0
    return folder


@pytest.fixture(scope="module")
def loaded(trained):
    return runs.load(trained)


def test_a_run_leaves_a_complete_folder_and_says_loudly_what_is_missing(trained):
    place = RunFolder(trained)
    summary = read_json(place.summary)
    test = summary["metrics"]["test"]
    assert summary["monitor"] == "frechet_distance"
    assert {"generator_loss", "discriminator_loss", "checkerboard"} <= set(test)
    # Four steps of three classes: the generator has learned next to nothing.
    assert test["class_coverage"] < 1
    note = (place.plots / "notes.txt").read_text()
    assert note.startswith("MODES COLLAPSED: ")
    page = place.report.read_text()
    assert page.index("MODES COLLAPSED") < page.index("<img")
    assert set(summary["baselines"]) == {
        "untrained",
        "independent_pixels",
        "training_images",
    }
    floor = summary["baselines"]["training_images"]["frechet_distance"]
    assert floor < summary["baselines"]["untrained"]["frechet_distance"]
    assert {path.name for path in place.plots.iterdir()} == PICTURES
    shown = sorted(path.name for path in place.samples.iterdir())
    assert shown == [f"{step:08d}_samples.png" for step in (0, 2, 4)]
    about = read_json(place.model)
    assert 0 <= about["classifier"]["validation_accuracy"] <= 1


def test_the_test_figures_are_repeated_exactly_by_the_classifier_of_the_run(
    trained, monkeypatch
):
    """Even where another one would be trained today."""
    monkeypatch.setattr(feature_classifier, "STEPS", 31)
    assert evaluate.evaluate(evaluate.Settings(run=str(trained)))["differences"] == {}


def test_a_run_that_goes_on_ends_as_the_one_that_was_not_stopped(
    trained, settings, tmp_path
):
    folder = tmp_path / "run"
    assert gan.main(settings(workdir=str(folder), max_steps=2)) == 0
    assert gan.main(settings(workdir=str(folder))) == 0
    for name in ("metrics.jsonl", "plots/classes.txt", "samples/00000004_samples.png"):
        assert (folder / name).read_bytes() == (trained / name).read_bytes(), name


def test_the_classifier_is_a_function_of_data_and_seed(settings):
    data = gan.check(settings())
    one, same, other = (
        feature_classifier.train_classifier(data, seed) for seed in (0, 0, 1)
    )
    kernels = [c.variables["params"]["output"]["kernel"] for c in (one, same, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.any(kernels[0] != kernels[2])
    images = data.test.fetch(np.arange(5))["inputs"]
    features, logits = one.seen(images)
    assert (features.shape, logits.shape) == ((5, feature_classifier.FEATURES), (5, 3))
    expected, _ = one.look(one.variables, images.astype(np.float32))
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4)
    again, _ = one.seen(images, other.variables)
    assert np.any(again != features)
    assert feature_classifier.distance(features, features) < 1e-3


@pytest.mark.slow
def test_the_classifier_of_the_digits_knows_them(monkeypatch):
    monkeypatch.setattr(feature_classifier, "STEPS", 1000)
    data = gan.check(gan.Settings())
    assert feature_classifier.train_classifier(data, 0).accuracy > 0.95


def test_files_are_scored_by_the_discriminator(loaded, tmp_path, capsys):
    images = np.random.default_rng(0).integers(0, 255, (3, 6, 6)).astype(np.uint8)
    np.save(tmp_path / "images.npy", images)
    Image.fromarray(images[1]).save(tmp_path / "one.png")
    files = [str(tmp_path / name) for name in ("images.npy", "one.png")]
    asked = predict.Settings(run=str(loaded.folder.path), input=tuple(files), json=True)
    assert predict.main(asked) == 0
    values = [row["value"] for row in json.loads(capsys.readouterr().out)]
    expected = np.asarray(loaded(images[..., None]))
    np.testing.assert_allclose(values, [*expected, expected[1]], rtol=1e-4, atol=1e-6)


def test_samples_are_the_same_however_many_are_drawn(loaded, tmp_path, capsys):
    few = gan_samples.draw(loaded, 3, seed=1)
    assert few.shape == (3, 6, 6, 1)
    assert 0 <= few.min() <= few.max() <= 255
    run, output = str(loaded.folder.path), tmp_path / "many.npy"
    asked = gan_samples.Settings(run=run, output=str(output), count=5, seed=1)
    assert gan_samples.main(asked) == 0
    np.testing.assert_allclose(np.load(output)[:3], few, rtol=1e-5, atol=1e-3)
    picture = tmp_path / "grid.png"
    assert gan_samples.main(dataclasses.replace(asked, output=str(picture))) == 0
    assert Image.open(picture).size[0] > 100
    assert "5 samples in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"run": ""}, "--run is missing"),
        ({"count": 0}, "--count is 0"),
        ({"output": "x.gif"}, "give a .png or .npy file"),
        ({"output": "/no/such/place/x.png"}, "/no/such/place does not exist"),
    ],
)
def test_samples_that_cannot_be_drawn_are_one_line(change, words, tmp_path):
    base = {"run": str(tmp_path), "output": str(tmp_path / "x.png")}
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        gan_samples.main(gan_samples.Settings(**{**base, **change}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "vae"}, "--model is 'vae'.*give one of dcgan"),
        ({"loss": "hinges"}, "did you mean hinge"),
        ({"output": "relu"}, "--output is 'relu'"),
        ({"kernel_size": 5}, "the stride of 2 does not divide.*Give 4"),
        ({"checkerboard": True}, "give 3 or 5, or leave it out"),
        ({"critic_updates": 0}, "--critic_updates is 0: give 1 or more"),
        ({"critic_updates": 3}, "16 examples do not divide into 3"),
        ({"freeze": "generator"}, "--freeze: a player that is frozen"),
        ({"label_noise": "some"}, "--label_noise is 'some': give a number"),
        ({"label_noise": "0.7"}, "beyond 0.5 labels change places"),
        ({"loss": "hinge", "label_noise": "0.1"}, "the loss hinge has no labels"),
        ({"gradient_penalty": "-1"}, "--gradient_penalty is '-1'"),
        ({"beta1": "1"}, "--beta1 is 1"),
        ({"optimizer": "sgd", "beta1": "0.5"}, "'sgd' has no option 'b1'"),
        ({"monitor": "accuracy"}, "give one of class_coverage, discriminator_loss"),
        ({"dropout": 1.0}, r"--dropout is 1.0: give a number in \[0, 1\)"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(settings, changes, words, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(ValueError, match=words) as caught:
        gan.main(settings(workdir=str(folder), **changes))
    assert "\n" not in str(caught.value)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("inputs", "targets", "words"),
    [
        (np.zeros((60, 7)), np.arange(60) % 3, "images .height, width, channels."),
        (np.zeros((60, 6, 6, 1)), np.linspace(0, 1, 60), "in 0 classes"),
        (np.full((60, 6, 6, 1), -1.0), np.arange(60) % 3, "from 0 to 1 or 255"),
        (np.ones((60, 5, 6, 1)), np.arange(60) % 3, "5 x 6 pixels cannot be halved"),
    ],
)
def test_data_that_are_no_images_in_classes_are_refused(
    inputs, targets, words, settings, tmp_path
):
    inputs = inputs + np.arange(60).reshape(-1, *[1] * (inputs.ndim - 1)) * 1e-3
    np.savez(tmp_path / "data.npz", x_train=inputs, y_train=targets)
    with pytest.raises(ValueError, match=words):
        gan.build(settings(dataset=f"npz:{tmp_path / 'data.npz'}"))


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "wasserstein", "critic_updates": 2, "optimizer": "rmsprop"},
        {"loss": "hinge", "spectral_norm": True, "precision": "bfloat16"},
        {"output": "sigmoid", "l2": 1e-3, "accumulate_steps": 2, "ema_decay": 0.0},
    ],
    ids=lambda changes: next(iter(changes.values())),
)
def test_every_option_takes_a_step(settings, changes):
    task, _ = gan.build(settings(**changes))
    shapes = jax.eval_shape(task.create, 0)
    batch = task.data.train.fetch(np.arange(16))
    after, told = jax.eval_shape(task.step, shapes, batch)
    assert jax.tree.structure(after) == jax.tree.structure(shapes)
    assert {"loss", "generator_loss", "discriminator_loss"} <= set(told)


def test_images_of_the_data_lie_in_the_range_of_the_generator(settings):
    for output in ("tanh", "sigmoid"):
        asked = settings(output=output)
        data = gan.check(asked)
        gallery = gan.gallery(asked, data, None)
        ends = gallery.pixels.apply(np.array([0.0, 255.0]).reshape(2, 1, 1, 1))
        np.testing.assert_allclose(ends.ravel(), gallery.model.pixel_range, atol=1e-6)


def test_variants_are_compared_in_one_command(tiny, tmp_path, capsys, monkeypatch):
    def trained(settings, data, classifier, seeds):
        found = np.arange(seeds) + 10.0 * (settings.output == "tanh")
        images = np.full((gan_tricks.SHOWN, *data.input_shape), 0.5)
        return dict.fromkeys(gan_tricks.FIGURES, found), found + 100, images

    monkeypatch.setattr(gan_tricks, "_trained", trained)
    folder = tmp_path / "run"
    asked = gan_tricks.Settings(
        dataset=tiny, batch_size=16, seeds=2, workdir=str(folder), json=True
    )
    assert gan_tricks.main(asked) == 0
    printed = json.loads(capsys.readouterr().out)
    assert list(printed["variants"]) == list(gan_tricks.variants("without"))
    assert printed["variants"]["all tricks"]["frechet_distance"] == [10.0, 11.0]
    assert printed["start"] == [110.0, 111.0]
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in (folder / "comparison.md").read_text().splitlines()
        if line.startswith("| ")
    ]
    assert rows[1][:2] == ["all tricks", "10.5 ± 0.7"]
    assert rows[-1][:2] == ["none", "0.5 ± 0.7"]
    assert len(rows) == 1 + 9
    assert "data:image/png" in (folder / "report.html").read_text()


@pytest.mark.slow
def test_variants_that_are_alike_have_the_same_figures(tiny):
    short = {"steps": 2, "batch_size": 16, "channels": 2, "seeds": 2}
    settings = gan_tricks.Settings(dataset=tiny, **short)
    data, asked = gan_tricks.build(settings)
    same = {"all tricks": asked["all tricks"], "again": asked["all tricks"]}
    found = gan_tricks.compare(settings, (data, same), str).figures
    for name in gan_tricks.FIGURES:
        np.testing.assert_array_equal(found["all tricks"][name], found["again"][name])
    one, other = found["all tricks"]["frechet_distance"]
    assert one != other


@pytest.mark.parametrize("effect", gan_tricks.EFFECTS)
def test_every_variant_of_the_tricks_can_be_made(tiny, effect):
    settings = gan_tricks.Settings(dataset=tiny, channels=2, effect=effect)
    data, asked = gan_tricks.build(settings)
    assert list(asked) == list(gan_tricks.variants(effect))
    for one in asked.values():
        gan.check(one)
    changed = [
        sum(
            getattr(asked["all tricks"], field.name) != getattr(one, field.name)
            for field in dataclasses.fields(one)
        )
        for one in asked.values()
    ]
    each = [1, 1, 1, 1, 1, 1, 2]
    total = sum(each)
    assert changed == [
        *(0, *(n if effect == "without" else total - n for n in each), total)
    ]
    with pytest.raises(ValueError, match="noise on labels, which non_saturating"):
        gan_tricks.build(gan_tricks.Settings(dataset=tiny, loss="hinge"))
    with pytest.raises(ValueError, match="effect is 'with'.*without, alone"):
        gan_tricks.build(gan_tricks.Settings(dataset=tiny, effect="with"))
    assert data.classes == ("row", "column", "diagonal")
