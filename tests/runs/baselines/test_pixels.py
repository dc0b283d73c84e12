"""Baselines of autoencoders against SciPy, and against what made the data."""

import numpy as np
import pytest
from scipy import stats

from jaxdl.runs.baselines import autoencoding, pixels

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, 400)


def figures(train, test, binary, labels=LABELS, classes=True):
    half = len(train)
    return autoencoding(
        (train, labels[:half]),
        (test, labels[half : half + len(test)]),
        2,
        binary=binary,
        classes=classes,
    )


def test_independent_binary_pixels_cost_their_entropy():
    chances = RNG.uniform(0.05, 0.95, (3, 2, 1))
    train, test = (RNG.uniform(size=(20_000, 3, 2, 1)) < chances for _ in range(2))
    found = figures(train, test, True, classes=False, labels=np.zeros(40_000))
    entropy = stats.bernoulli(chances).entropy().sum()
    cost = found["independent_pixels"]["negative_elbo"]
    assert cost == pytest.approx(entropy, rel=0.01)
    assert "pca" not in found


def test_a_pixel_that_was_never_one_costs_no_infinity():
    train, test = np.zeros((10, 1, 1, 1)), np.ones((10, 1, 1, 1))
    cost = figures(train, test, True)["independent_pixels"]["negative_elbo"]
    assert cost == pytest.approx(-np.log(0.5 / 11))


def test_independent_grey_pixels_cost_a_normal_density():
    train, test = RNG.normal([0.2, 0.7], 0.1, (2, 200, 1, 2))
    spread = np.sqrt(np.mean((train - train.mean(0)) ** 2))
    expected = -stats.norm.logpdf(test, train.mean(0), spread).sum((1, 2)).mean()
    found = figures(train[..., None], test[..., None], False)
    assert found["independent_pixels"]["negative_elbo"] == pytest.approx(expected)


def test_principal_components_cost_the_density_of_the_linear_model():
    """z normal, x = W z + noise: nothing costs less than that distribution itself."""
    weights = RNG.normal(size=(2, 6))
    covariance = weights.T @ weights + 0.01 * np.eye(6)
    known = stats.multivariate_normal(np.zeros(6), covariance)
    train, test = known.rvs((2, 2_000), random_state=1).reshape(2, 2_000, 2, 3, 1)
    labels = (np.concatenate([train, test])[:, 0, 0, 0] > 0).astype(int)
    found = figures(train, test, False, labels)
    best = -known.logpdf(test.reshape(2_000, 6)).mean()
    assert best < found["pca"]["negative_elbo"] < best + 0.05
    assert found["pca"]["negative_elbo"] < found["independent_pixels"]["negative_elbo"]
    assert found["pca"]["knn_accuracy"] > 0.9


def test_components_of_very_many_pixels_are_left_out(monkeypatch):
    monkeypatch.setattr(pixels, "MOST_PIXELS", 3)
    train, test = RNG.uniform(size=(2, 20, 2, 2, 1))
    assert set(figures(train, test, False)) == {"independent_pixels"}
