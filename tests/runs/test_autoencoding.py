"""What an autoencoder is judged by: figures that hold, pictures of the right size."""

from functools import partial

import jax
import numpy as np
import pytest
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

from jaxdl import data, models, optimizers, train
from jaxdl.batch import positions
from jaxdl.data.binarize import binarize
from jaxdl.data.preprocess import unit_scale
from jaxdl.objectives import Autoencoder
from jaxdl.runs import autoencoding, plots
from jaxdl.runs.autoencoding import Plane

SHAPE = (4, 4, 1)
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, 60).astype(np.int32)
IMAGES = np.where(LABELS[:, None, None, None] == 1, 200, 30) + RNG.integers(
    0, 50, (60, *SHAPE)
)
SCALE = unit_scale(1, 255.0)


def prepare(batch, key, training):
    images = SCALE.apply(batch["inputs"])
    return {**batch, "inputs": binarize(images, "stochastic", key, positions(batch))}


@pytest.fixture(scope="module")
def trained():
    """A network, its data and a state of it."""
    model = models.create("vae_mlp", shape=SHAPE, latents=3, hidden=(5,))
    encode, decode = (models.forward(model, name) for name in ("encode", "decode"))
    shapes, _ = jax.eval_shape(
        lambda: models.init(model, jax.random.key(0), IMAGES[:1] / 255.0)
    )
    params = jax.tree.map(lambda s: RNG.normal(size=s.shape).astype("float32"), shapes)
    state = train.create_state(params, optimizers.make("sgd"))
    found = data.from_arrays(IMAGES.astype(np.uint8), LABELS)
    return Autoencoder(encode, decode, prepare), found, state


@pytest.fixture(scope="module")
def found(trained):
    """What evaluation says of the test part."""
    network, parts, state = trained
    run = jax.jit(autoencoding.outputs, static_argnums=(0, 1))
    return train.predict(
        lambda state, batch: {
            **run(network, 5, state.params, {}, batch),
            "targets": batch["targets"],
        },
        state,
        data.evaluation_feed(parts.test, 8),
    )


def test_findings_hold_figures_and_pictures_of_every_size(trained, found, tmp_path):
    network, parts, state = trained
    result = autoencoding.findings(network, parts, state, found, parts.test)
    bound = found["importance_weighted_bound"]
    assert result.metrics["importance_weighted_bound"] == pytest.approx(bound.mean())
    assert result.metrics["active_latents"] == np.sum(found["latents"].var(0) > 0.01)
    run = partial(autoencoding.encoded, network, state)
    rows, labels = autoencoding.first(run, parts.train, 99)
    judge = KNeighborsClassifier(5).fit(rows["latents"], labels)
    expected = judge.score(found["latents"], parts.test.arrays["targets"])
    assert result.metrics["knn_accuracy"] == expected
    for name, draw in result.pictures.items():
        draw(tmp_path / name)
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 100
    assert set(result.pictures) == {
        *("samples.png", "reconstructions.png", "latent_grid.png"),
        *("interpolation.png", "latent_map.png"),
    }


def test_equal_states_show_the_same_bytes(trained, tmp_path):
    network, parts, state = trained
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        shown = autoencoding.show(network, parts, parts.validation, state, 3)
        for name, draw in shown.items():
            draw(tmp_path / folder / name)
    for name in ("samples.png", "reconstructions.png"):
        once, again = (tmp_path / folder / name for folder in ("one", "other"))
        assert once.read_bytes() == again.read_bytes()


def test_images_are_seen_as_they_are_evaluated(trained):
    """Binarised, by the draws of their place, however many are looked at."""
    network, parts, _ = trained
    look = partial(autoencoding.images_seen, network)
    seen, targets = autoencoding.first(look, parts.test, 99)
    few, _ = autoencoding.first(look, parts.test, 5)
    np.testing.assert_array_equal(few, seen[:5])
    np.testing.assert_array_equal(targets, parts.test.arrays["targets"])
    assert set(np.unique(seen)) == {0.0, 1.0}
    bright = parts.test.arrays["inputs"] / 255.0
    assert seen.mean() == pytest.approx(bright.mean(), abs=0.1)


def test_averaged_figures_belong_to_the_image_alone(trained):
    network, _, state = trained
    stored = IMAGES[:20].astype(np.float32)
    whole = autoencoding.averaged(network, state.params, {}, stored)
    turned = autoencoding.averaged(network, state.params, {}, stored[::-1])
    assert whole["latents"].shape == (20, 3)
    for name, values in whole.items():
        np.testing.assert_allclose(values, turned[name][::-1], rtol=1e-4, atol=1e-5)


def test_decoded_rows_are_those_of_one_batch(trained):
    network, _, state = trained
    z = RNG.normal(size=(150, 3))
    images = autoencoding.decoded(network, state, z)
    assert images.shape == (150, *SHAPE)
    np.testing.assert_allclose(
        images[140:], autoencoding.decoded(network, state, z[140:]), atol=1e-6
    )
    assert 0 <= images.min() <= images.max() <= 1


def test_a_plane_holds_the_first_two_principal_components():
    from sklearn.decomposition import PCA

    latents = RNG.normal(size=(50, 4)) * [3, 0.1, 2, 0.2] + 5
    plane, known = Plane.of(latents), PCA(2).fit(latents)
    np.testing.assert_allclose(plane.center, known.mean_)
    np.testing.assert_allclose(np.abs(plane.axes), np.abs(known.components_), atol=1e-7)
    np.testing.assert_allclose(
        plane.deviations, np.sqrt(known.explained_variance_ * 49 / 50)
    )
    np.testing.assert_allclose(
        np.abs(plane.coordinates(latents)), np.abs(known.transform(latents)), atol=1e-7
    )
    two = RNG.normal(size=(9, 2))
    np.testing.assert_array_equal(Plane.of(two).coordinates(two), two)


def test_data_without_classes_are_judged_without_them(trained, found, tmp_path):
    network, parts, state = trained
    nameless = data.from_arrays(IMAGES.astype(np.uint8), RNG.normal(size=60))
    valued = {**found, "targets": RNG.normal(size=(parts.test.size, 2))}
    result = autoencoding.findings(network, nameless, state, valued, parts.test)
    assert "knn_accuracy" not in result.metrics
    result.pictures["latent_map.png"](tmp_path / "map.png")
    result.pictures["interpolation.png"](tmp_path / "interpolation.png")
    assert (tmp_path / "map.png").stat().st_size > 1_000


def test_points_that_are_no_pairs_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"shape \(5, 3\) for \(5,\) targets"):
        plots.latent_map(np.zeros((5, 3)), np.zeros(5), (), tmp_path / "map.png")
