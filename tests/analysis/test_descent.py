"""Descent on functions whose paths are known."""

import jax.numpy as jnp
import numpy as np
import optax

from jaxdl import analysis


def test_the_books_descent_on_the_bowl():
    """From (-3, 4), rate 0.1: each step is a factor of 0.8."""
    path = analysis.descend(analysis.bowl, jnp.array([-3.0, 4.0]), optax.sgd(0.1), 100)
    assert path.shape == (101, 2)
    expected = np.array([-3.0, 4.0]) * 0.8 ** np.arange(101)[:, None]
    np.testing.assert_allclose(path, expected, rtol=1e-4)


def test_rates_too_large_diverge_and_too_small_stand_still():
    start = jnp.array([-3.0, 4.0])
    large = analysis.descend(analysis.bowl, start, optax.sgd(10.0), 20)
    small = analysis.descend(analysis.bowl, start, optax.sgd(1e-10), 100)
    assert np.abs(large[-1]).min() > 1e12
    np.testing.assert_allclose(small[-1], start, atol=1e-6)


def test_plain_descent_zigzags_in_the_valley_and_momentum_less():
    """Across, a rate of 0.95 is a factor of -0.9; along, of 0.905."""
    start = jnp.array([-7.0, 2.0])
    path = np.asarray(analysis.descend(analysis.valley, start, optax.sgd(0.95), 30))
    steps = np.arange(31)
    np.testing.assert_allclose(path[:, 0], -7 * 0.905**steps, rtol=1e-4)
    np.testing.assert_allclose(path[:, 1], 2 * (-0.9) ** steps, rtol=1e-4)


def test_the_field_points_down():
    x, y = np.linspace(-10, 10, 5), np.linspace(-5, 5, 3)
    values, down = analysis.gradient_field(analysis.valley, x, y)
    assert values.shape == (3, 5)
    column, row = np.meshgrid(x, y)
    np.testing.assert_allclose(values, column**2 / 20 + row**2, rtol=1e-6)
    expected = -np.stack([column / 10, 2 * row], axis=-1)
    np.testing.assert_allclose(down, expected, rtol=1e-6, atol=1e-6)
