"""Oriented gradients of images whose edges are known."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import analysis
from jaxdl.analysis.hand_features import DIRECTIONS

RNG = np.random.default_rng(0)


def directions(image):
    """[directions], summed over the cells of one image."""
    found = analysis.oriented_gradients(jnp.asarray(image)[None, ..., None])
    return np.asarray(found).reshape(-1, DIRECTIONS).sum(axis=0)


@pytest.mark.parametrize(
    ("across", "down", "expected"), [(1, 0, 0), (1, 1, 2), (0, 1, 4), (-1, 1, 6)]
)
def test_a_slope_is_seen_in_its_direction(across, down, expected):
    y, x = np.mgrid[:8, :8]
    for sign in (1, -1):
        found = directions(sign * 0.1 * (across * x + down * y))
        assert found.argmax() == expected
        assert np.delete(found, expected).max() < 1e-4


def test_neither_brightness_nor_contrast_matter():
    images = RNG.uniform(size=(3, 12, 8, 1))
    found = analysis.oriented_gradients(images)
    assert found.shape == (3, 2 * 1 * 4 * DIRECTIONS)
    lengths = np.linalg.norm(found.reshape(3, 2, -1), axis=-1)
    np.testing.assert_allclose(lengths, 1, atol=1e-4)
    np.testing.assert_allclose(
        analysis.oriented_gradients(0.5 * images + 0.3), found, atol=1e-4
    )
    assert not analysis.oriented_gradients(jnp.ones((1, 8, 8, 1))).any()


def test_a_quarter_turn_turns_the_directions():
    image = RNG.uniform(size=(8, 8))
    turned = np.roll(directions(image), DIRECTIONS // 2)
    np.testing.assert_allclose(directions(np.rot90(image)), turned, atol=1e-4)


def test_images_of_fewer_cells():
    with pytest.raises(ValueError, match="cells of 5 in images of 8 x 8"):
        analysis.oriented_gradients(jnp.ones((1, 8, 8, 1)), 5)
