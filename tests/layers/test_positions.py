"""Positions: the published formula, and rotations that know distances alone."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl.layers.positions import Positions, rotary, sinusoidal
from tests.quick import draw_variables, jit


def test_sinusoids_are_those_of_the_paper():
    place, width = 7, 6
    expected = np.zeros(width)
    for i in range(3):
        angle = place / 10_000 ** (2 * i / width)
        expected[[i, 3 + i]] = np.sin(angle), np.cos(angle)
    found = sinusoidal(jnp.array([0, place]), width)
    np.testing.assert_allclose(found[1], expected, rtol=1e-5)
    np.testing.assert_array_equal(found[0], [0, 0, 0, 1, 1, 1])


QUERY, LOOKED_AT = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)


@jit
def score(a, b):
    """The product of a query at one place and a key at another."""
    turned = [
        rotary(jnp.asarray(x)[None, None, None], jnp.asarray(place)[None])
        for x, place in ((QUERY, a), (LOOKED_AT, b))
    ]
    return jnp.sum(turned[0] * turned[1])


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200))
@settings(max_examples=20, deadline=None)
def test_rotated_products_depend_on_the_distance_alone(first, second, shift):
    there, moved = score(first, second), score(first + shift, second + shift)
    np.testing.assert_allclose(there, moved, atol=2e-4)
    np.testing.assert_allclose(score(0, 0), QUERY @ LOOKED_AT, rtol=1e-5)


def test_rotations_keep_lengths():
    x = np.random.default_rng(0).normal(size=(1, 5, 2, 6)).astype(np.float32)
    turned = jit(rotary)(x, jnp.arange(5) * 100)
    lengths = [np.linalg.norm(a, axis=-1) for a in (turned, x)]
    np.testing.assert_allclose(*lengths, rtol=1e-5)
    assert not np.allclose(turned[:, 1:], x[:, 1:], atol=0.1)


def add(positions, x, place):
    layer = Positions(positions, max_length=4)
    variables = draw_variables(layer, x, place)
    return jit(layer.apply)(variables, x, place) - x


def test_what_is_added_is_the_places_own():
    x, place = jnp.ones((2, 3, 6)), jnp.array([2, 0, 3])
    for positions in ("rotary", "none"):
        np.testing.assert_array_equal(add(positions, x, place), 0)
    for positions in ("learned", "sinusoidal"):
        added = add(positions, x, place)
        np.testing.assert_allclose(added[0], added[1], atol=1e-6)  # for all examples
        again = add(positions, x[:, :1], place[1:2])
        np.testing.assert_allclose(added[:, 1:2], again, atol=1e-6)
        assert np.abs(added[0, 0] - added[0, 1]).max() > 1e-3


def test_wrong_names_lengths_and_sizes_are_one_line():
    x = jnp.zeros((1, 5, 6))
    with pytest.raises(ValueError, match="'ordinal': give one of rotary, learned"):
        add("ordinal", x, jnp.arange(5))
    with pytest.raises(ValueError, match="5 is longer than the 4 positions"):
        add("learned", x, jnp.arange(5))
    with pytest.raises(ValueError, match="7 is odd"):
        sinusoidal(jnp.arange(5), 7)
