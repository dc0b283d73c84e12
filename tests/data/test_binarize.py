"""Binarisation: draws of an example's own, with its grey values as probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.data.binarize import binarize

KEY = jax.random.key(0)
draw = jax.jit(binarize, static_argnums=1)


COUNT = 20_000
GREY = np.array([0.0, 0.1, 0.5, 0.9, 1.0], np.float32)
IMAGES = np.broadcast_to(GREY, (COUNT, 5))
POSITION = np.arange(COUNT)


def test_each_pixel_is_one_as_often_as_it_is_bright():
    found = np.asarray(draw(IMAGES, "stochastic", KEY, POSITION))
    assert set(np.unique(found)) == {0.0, 1.0}
    np.testing.assert_allclose(found.mean(0), GREY, atol=0.015)
    np.testing.assert_array_equal(found.mean(0)[[0, 4]], [0.0, 1.0])


def test_an_example_draws_by_its_position_alone():
    order = np.random.default_rng(0).permutation(COUNT)
    whole = draw(IMAGES, "stochastic", KEY, POSITION)
    turned = draw(IMAGES[order], "stochastic", KEY, POSITION[order])
    np.testing.assert_array_equal(turned, whole[order])
    other = draw(IMAGES, "stochastic", jax.random.key(1), POSITION)
    assert np.any(whole != other)


def test_threshold_and_none_need_no_key():
    images = jnp.array([[0.0, 0.5, 0.51, 1.0]])
    position = jnp.arange(1)
    np.testing.assert_array_equal(
        binarize(images, "threshold", None, position), [[0, 0, 1, 1]]
    )
    assert binarize(images, "none", None, position) is images
    with pytest.raises(ValueError, match="draws its pixels: give a key"):
        binarize(images, "stochastic", None, position)
    with pytest.raises(ValueError, match="'half': give one of stochastic, threshold"):
        binarize(images, "half", KEY, position)
