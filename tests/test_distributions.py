"""Distributions against SciPy's, the divergence against its Monte Carlo estimate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from jaxdl.distributions import (
    Bernoulli,
    Gaussian,
    standard_normal_log_probability,
)

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@settings(deadline=None, max_examples=5)
@given(shapes, st.integers(0, 99))
def test_a_bernoullis_log_probability_is_scipys(shape, seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=shape).astype(np.float32) * 3
    x = rng.integers(0, 2, shape).astype(np.float32)
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = stats.bernoulli.logpmf(x, p).reshape(shape[0], -1).sum(1)
    found = Bernoulli(jnp.asarray(logits))
    np.testing.assert_allclose(found.log_probability(x), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.mean, p, rtol=1e-5)


def test_a_bernoulli_of_sure_pixels_is_finite():
    sure = Bernoulli(jnp.array([[200.0, -200.0]]))
    np.testing.assert_allclose(sure.log_probability(jnp.array([[1.0, 0.0]])), 0.0)
    np.testing.assert_allclose(sure.log_probability(jnp.array([[0.0, 0.0]])), -200.0)


def test_of_grey_pixels_a_bernoulli_gives_the_mean_over_their_draws():
    rng = np.random.default_rng(0)
    grey, logits = rng.uniform(size=(1, 5)), rng.normal(size=(1, 5))
    draws = rng.uniform(size=(200_000, 5)) < grey
    found = Bernoulli(jnp.asarray(logits))
    mean = found.log_probability(jnp.asarray(draws, jnp.float32)).mean()
    np.testing.assert_allclose(found.log_probability(grey)[0], mean, atol=0.01)


@settings(deadline=None, max_examples=5)
@given(shapes, st.integers(0, 99))
def test_a_gaussians_log_probability_is_scipys(shape, seed):
    rng = np.random.default_rng(seed)
    mean, log_variance, x = rng.normal(size=(3, *shape)).astype(np.float32)
    # The deviation is exp(log_variance / 2), not exp(log_variance).
    logpdf = stats.norm.logpdf(x, mean, np.sqrt(np.exp(log_variance)))
    expected = logpdf.reshape(shape[0], -1).sum(1)
    found = Gaussian(jnp.asarray(mean), jnp.asarray(log_variance))
    np.testing.assert_allclose(found.log_probability(x), expected, rtol=1e-4, atol=1e-5)
    standard = stats.norm.logpdf(x).reshape(shape[0], -1).sum(1)
    np.testing.assert_allclose(
        standard_normal_log_probability(x), standard, rtol=1e-4, atol=1e-5
    )


def test_samples_have_mean_and_deviation():
    given_ = Gaussian(jnp.array([1.0, -2.0]), jnp.log(jnp.array([9.0, 0.25])))
    noise = np.random.default_rng(0).normal(size=(100_000, 2)).astype(np.float32)
    drawn = np.asarray(given_.sample(noise), np.float64)
    np.testing.assert_allclose(drawn.mean(0), [1.0, -2.0], atol=0.03)
    np.testing.assert_allclose(drawn.std(0), [3.0, 0.5], rtol=0.01)


def test_the_divergence_is_its_monte_carlo_estimate():
    rng = np.random.default_rng(0)
    mean, log_variance = rng.normal(size=(2, 1, 6)).astype(np.float32)
    posterior = Gaussian(jnp.asarray(mean), jnp.asarray(log_variance))
    noise = rng.normal(size=(400_000, 6)).astype(np.float32)

    @jax.jit
    def difference(noise):
        z = posterior.sample(noise)
        return posterior.log_probability(z) - standard_normal_log_probability(z)

    terms = np.asarray(difference(noise), np.float64)
    error = terms.std() / np.sqrt(len(terms))
    exact = float(posterior.divergence()[0])
    assert abs(terms.mean() - exact) < 4 * error
    assert error < 0.005 * exact


@pytest.mark.parametrize("variance", [1.0, 0.1])
def test_the_divergence_of_a_known_pair(variance):
    """KL(N(m, v) || N(0, 1)) = (m^2 + v - 1 - ln v) / 2, nothing for N(0, 1)."""
    posterior = Gaussian(jnp.full((1, 1), 3.0), jnp.full((1, 1), np.log(variance)))
    expected = (9 + variance - 1 - np.log(variance)) / 2
    np.testing.assert_allclose(posterior.divergence(), [expected], rtol=1e-6)
    nothing = Gaussian(jnp.zeros((2, 3)), jnp.zeros((2, 3)))
    np.testing.assert_array_equal(nothing.divergence(), [0.0, 0.0])
