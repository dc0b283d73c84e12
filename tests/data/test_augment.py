"""Augmentation: identities, exact moves, ranges, and draws that ignore the split."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl.data import Augmentation, augment, parse_augmentation

KEY = jax.random.key(0)
EVERYTHING = (
    "shift=2,crop=0.2,flip,vertical_flip,rotation=30,zoom=0.2,shear=10,brightness=0.3,"
    "contrast=0.3,channel_shift=0.2,cutout=3,mixup=0.4"
)
GEOMETRY = "shift=2,crop=0.2,flip,vertical_flip,rotation=30,zoom=0.2,shear=10"


def _images(count=16, height=9, width=7, channels=3, seed=0):
    generator = np.random.default_rng(seed)
    return jnp.asarray(
        generator.normal(size=(count, height, width, channels)), "float32"
    )


def _run(text, images, targets=None, key=KEY, position=None, **options):
    count = len(images)
    targets = jnp.arange(count) % 3 if targets is None else targets
    position = jnp.arange(count) if position is None else position
    run = _jitted(text, options.pop("classes", None))
    return jax.tree.map(np.asarray, run(images, targets, key, position, options))


@functools.cache
def _jitted(text, classes):
    augmentation = parse_augmentation(text)

    def run(images, targets, key, position, options):
        return augment(
            augmentation, images, targets, key, position, classes=classes, **options
        )

    return jax.jit(run)


@pytest.mark.parametrize("name", Augmentation.__dataclass_fields__)
def test_strength_0_is_the_identity(name):
    images = _images()
    out, targets = _run(f"{name}=0", images)
    np.testing.assert_array_equal(out, images)
    np.testing.assert_array_equal(targets, np.arange(16) % 3)


@pytest.mark.parametrize(
    "text", ["crop=1e-9", "rotation=1e-9", "zoom=1e-9", "shear=1e-9", "contrast=1e-9"]
)
def test_a_vanishing_strength_changes_next_to_nothing(text):
    np.testing.assert_allclose(_run(text, _images())[0], _images(), atol=1e-5)


@pytest.mark.parametrize(("name", "axis"), [("flip", 2), ("vertical_flip", 1)])
def test_a_certain_flip_mirrors_and_twice_is_the_identity(name, axis):
    images = _images()
    once, _ = _run(f"{name}=1", images)
    np.testing.assert_array_equal(once, np.flip(images, axis))
    np.testing.assert_array_equal(_run(f"{name}=1", jnp.asarray(once))[0], images)


def test_half_the_images_flip():
    images = _images(400, 2, 3, 1)
    flipped = _run("flip", images)[0] == np.flip(images, 2)
    assert 150 < flipped.all((1, 2, 3)).sum() < 250


def test_shift_moves_by_whole_pixels_exactly():
    images = _images(200, 6, 5, 1)
    out, _ = _run("shift=2", images)
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    moves = set()
    for image, source in zip(out, padded, strict=True):
        found = [
            (dy - 2, dx - 2)
            for dy in range(5)
            for dx in range(5)
            if np.array_equal(image, source[dy : dy + 6, dx : dx + 5])
        ]
        assert found
        moves.add(found[0])
    assert len(moves) == 25  # Every move up to two pixels occurs.


def test_rotation_by_a_quarter_turn_is_a_quarter_turn(monkeypatch):
    image = _images(1, 7, 7, 2)
    # Drawn so that the angle is the largest one.
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape: jnp.ones(shape))
    out, _ = _run("rotation=90", image)
    turned = np.stack([np.rot90(image[0], k) for k in (1, 3)])
    assert np.abs(out - turned).max((1, 2, 3)).min() < 1e-5


def test_zoom_magnifies_around_the_centre(monkeypatch):
    ramp = jnp.broadcast_to(jnp.arange(9.0)[None, None, :, None], (1, 9, 9, 1))
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape: jnp.ones(shape))
    out, _ = _run("zoom=0.25", ramp)
    np.testing.assert_allclose(
        out[0, 4, :, 0], 4 + (np.arange(9) - 4) / 1.25, atol=1e-5
    )


def test_crop_shows_a_window_of_the_image():
    ramp = jnp.broadcast_to(jnp.arange(11.0)[None, None, :, None], (50, 11, 11, 1))
    rows = _run("crop=0.4", ramp)[0][:, 5, :, 0]
    steps = np.diff(rows, axis=1)
    assert (rows >= 0).all()
    assert (rows <= 10).all()
    # One magnification a window, between 1 and 1 / 0.6; edges may repeat by half
    # a pixel, since a pixel's centre lies half a pixel inside the image.
    inner = steps[:, 1:-1]
    np.testing.assert_allclose(
        inner, np.broadcast_to(inner[:, :1], inner.shape), atol=1e-4
    )
    assert inner.min() >= 0.6 - 1e-5
    assert inner.max() <= 1 + 1e-5
    assert inner.max() - inner.min() > 0.2


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_geometry_invents_no_values(seed):
    images = _images(6, seed=seed)
    out, targets = _run(GEOMETRY, images, key=jax.random.key(seed))
    assert out.shape == images.shape
    assert out.dtype == np.float32
    low, high = images.min((1, 2, 3)), images.max((1, 2, 3))
    assert (out.min((1, 2, 3)) >= low - 1e-5).all()
    assert (out.max((1, 2, 3)) <= high + 1e-5).all()
    np.testing.assert_array_equal(targets, np.arange(6) % 3)


def test_brightness_and_channel_shift_add_a_constant():
    images = _images(200)
    for text, axes in (("brightness=0.3", (1, 2, 3)), ("channel_shift=0.3", (1, 2))):
        added = _run(text, images)[0] - images
        assert np.ptp(added, axis=axes).max() < 1e-5
        assert 0.25 < np.abs(added).max() <= 0.3 + 1e-5
        assert added.min() < -0.2
    assert np.ptp(added.mean((1, 2)), axis=1).max() > 0.1  # Channels differ.


def test_contrast_keeps_the_mean_and_scales_the_rest():
    images = _images(100)
    out, _ = _run("contrast=0.5", images)
    np.testing.assert_allclose(out.mean((1, 2, 3)), images.mean((1, 2, 3)), atol=1e-5)
    ratio = out.std((1, 2, 3)) / images.std((1, 2, 3))
    assert 0.5 - 1e-4 <= ratio.min() < 0.6
    assert 1.4 < ratio.max() <= 1.5 + 1e-4


def test_cutout_blanks_one_square():
    images = jnp.ones((300, 9, 7, 2))
    out, _ = _run("cutout=3", images)
    blank = (out == 0).all(-1)
    assert np.array_equal(blank, (out == 0).any(-1))
    sizes = blank.sum((1, 2))
    assert sizes.max() == 9
    assert set(sizes) == {4, 6, 9}  # Clipped at corners and edges.
    for mask in blank:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert mask[np.ix_(rows, columns)].all()
        assert np.ptp(rows) < 3
        assert np.ptp(columns) < 3


def test_mixup_blends_neighbours_and_their_targets():
    images = _images(40)
    out, targets = _run("mixup=0.4", images, classes=3)
    labels = np.eye(3, dtype=np.float32)[np.arange(40) % 3]
    partner = np.arange(40) ^ 1
    assert targets.dtype == np.float32
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
    # Neighbours differ in class here, so the target tells the weight.
    weight = targets[np.arange(40), np.arange(40) % 3]
    w = weight[:, None, None, None]
    np.testing.assert_allclose(out, w * images + (1 - w) * images[partner], atol=1e-5)
    expected = weight[:, None] * labels + (1 - weight[:, None]) * labels[partner]
    np.testing.assert_allclose(targets, expected, atol=1e-6)
    assert weight.min() < 0.1
    assert weight.max() > 0.9
    assert len(np.unique(weight)) > 30


def test_mixup_follows_its_beta_distribution():
    _, targets = _run(
        "mixup=0.5", _images(2_000, 1, 1, 1), jnp.arange(2_000) % 2, classes=2
    )
    weight = targets[np.arange(2_000), np.arange(2_000) % 2]
    assert abs(weight.mean() - 0.5) < 0.04
    assert abs(weight.var() - 0.125) < 0.01  # 1 / (4 (2 a + 1))


def test_padding_is_never_blended():
    images = _images(6).at[3:].set(jnp.nan)
    mask = jnp.array([1.0, 1, 1, 0, 0, 0])
    out, targets = _run("mixup=0.4", images, classes=3, mask=mask)
    assert np.isfinite(out[:3]).all()
    assert np.isfinite(targets[:3]).all()
    np.testing.assert_array_equal(out[2], images[2])  # Its neighbour is padding.
    assert not np.array_equal(out[0], images[0])


def test_an_example_without_a_neighbour_stays_as_it_is():
    images = _images(5)
    out, targets = _run("mixup=0.4", images, classes=3)
    np.testing.assert_allclose(out[4], images[4], atol=1e-6)
    np.testing.assert_allclose(targets[4], np.eye(3)[1], atol=1e-6)


def test_mixup_of_float_targets_blends_them():
    values = jnp.arange(8.0)
    _, targets = _run("mixup=0.4", _images(8), values)
    low = np.arange(8) // 2 * 2
    assert ((targets >= low - 1e-6) & (targets <= low + 1 + 1e-6)).all()


def test_draws_depend_on_position_not_on_the_split():
    images, labels = _images(12), jnp.arange(12) % 3
    whole, whole_targets = _run(EVERYTHING, images, labels, classes=3)
    halves = [
        _run(
            EVERYTHING,
            images[half],
            labels[half],
            position=jnp.arange(12)[half],
            classes=3,
        )
        for half in (slice(0, 6), slice(6, 12))
    ]
    joined = [np.concatenate(arrays) for arrays in zip(*halves, strict=True)]
    np.testing.assert_allclose(joined[0], whole, atol=1e-5)
    np.testing.assert_allclose(joined[1], whole_targets, atol=1e-6)


def test_another_key_draws_otherwise_and_jit_draws_the_same():
    images, labels = _images(), jnp.arange(16) % 3
    text = "rotation=30,contrast=0.2"
    jitted, _ = _run(text, images)
    with jax.disable_jit():
        plain, _ = augment(
            parse_augmentation(text), images, labels, KEY, jnp.arange(16)
        )
    np.testing.assert_allclose(jitted, plain, atol=1e-4)
    assert not np.allclose(_run(text, images, key=jax.random.key(1))[0], jitted)


def test_one_operation_keeps_its_draws_beside_others():
    images = _images()
    flips = _run("flip", images)[0]
    both = _run("flip,brightness=0.1", images)[0]
    assert np.ptp(both - flips, axis=(1, 2, 3)).max() < 1e-5


@pytest.mark.parametrize("text", ["none", "", " none ", "shift=0"])
def test_nothing_is_nothing(text):
    assert parse_augmentation(text) == Augmentation()
    assert str(parse_augmentation(text)) == "none"


def test_text_is_read_and_written():
    read = parse_augmentation("shift=2, flip,rotation=15,mixup=0.2")
    assert read == Augmentation(shift=2, flip=0.5, rotation=15.0, mixup=0.2)
    assert parse_augmentation(str(read)) == read


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blur=2", "augmentation 'blur' is unknown; choose from shift, crop, flip"),
        ("flip,,shift=1", "augmentation '' is unknown"),
        ("shift", "shift= is not allowed; give a whole number from 0 to 1000"),
        ("shift=1.5", "shift=1.5 is not allowed; give a whole number"),
        ("rotation=x", "rotation=x is not allowed; give a number from 0 to 180"),
        ("zoom=-0.1", "zoom=-0.1 is not allowed; give a number from 0 to 0.9"),
        ("zoom=nan", "zoom=nan is not allowed"),
        ("flip=1.5", "flip=1.5 is not allowed; give a number from 0 to 1"),
        ("cutout=inf", "cutout=inf is not allowed"),
        ("flip,flip", "'flip' is given twice"),
    ],
)
def test_text_that_cannot_be_read_is_refused(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse_augmentation(text)
    assert "\n" not in str(caught.value)


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError, match=r"needs float images .* uint8 \[2, 3, 3, 1\]"):
        _run("flip", jnp.zeros((2, 3, 3, 1), jnp.uint8))
    with pytest.raises(ValueError, match=r"needs float images .* float32 \[2, 3\]"):
        _run("flip", jnp.zeros((2, 3)))
    with pytest.raises(ValueError, match="needs the number of classes"):
        _run("mixup=0.1", _images())
