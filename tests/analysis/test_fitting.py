"""Verdicts on histories, and curves over sizes of data and model."""

import numpy as np
import pytest

from jaxdl import analysis


def history(train, validation, losses=((2.0, 1.0, 0.5), (2.0, 1.0, 0.6))):
    rows = []
    for number, step in enumerate((10, 20, 30)):
        for split, accuracy, loss in zip(
            ("train", "validation"), (train, validation), losses, strict=True
        ):
            row = {"step": step, "split": split, "loss": loss[number]}
            rows.append({**row, "accuracy": accuracy} if accuracy else row)
    return rows


@pytest.mark.parametrize(
    ("train", "validation", "verdict"),
    [
        (0.99, 0.98, "fits"),
        (0.85, 0.84, "underfits"),
        (1.0, 0.75, "overfits"),
        (0.85, 0.7, "underfits and overfits"),
    ],
)
def test_verdicts_by_accuracy(train, validation, verdict):
    found = analysis.diagnose(history(train, validation))
    assert found.verdict == verdict
    assert found.advice == analysis.ADVICE[verdict]
    assert (found.bias, found.variance) == pytest.approx(
        (1 - train, train - validation)
    )
    assert f"{verdict}: accuracy {train:g}" in str(found)


def test_a_goal_below_one_excuses_the_rest():
    assert analysis.diagnose(history(0.85, 0.84), goal=0.86).verdict == "fits"


def test_training_figures_that_lag_behind_are_no_bias():
    assert analysis.diagnose(history(0.83, 0.96)).verdict == "fits"
    assert analysis.diagnose(history(0.83, 0.90)).verdict == "underfits"


def test_a_validation_loss_that_rises_is_overfitting():
    rising = ((2.0, 1.0, 0.1), (2.0, 1.1, 1.8))
    found = analysis.diagnose(history(0.99, 0.97, rising))
    assert found.verdict == "overfits"
    assert found.rising_since == 20
    assert "rises since step 20" in str(found)
    diverged = ((2.0, 1.0, 3.0), (2.0, 1.1, 3.0))
    assert analysis.diagnose(history(0.99, 0.97, diverged)).rising_since is None


def test_without_an_accuracy_the_loss_decides():
    found = analysis.diagnose(history(None, None, ((3, 2, 1.0), (3, 2, 1.5))))
    assert (found.metric, found.verdict) == ("loss", "overfits")
    assert found.variance == pytest.approx(0.5)
    found = analysis.diagnose(history(None, None, ((3, 2, 1.0), (3, 2, 1.0))), goal=0.5)
    assert found.verdict == "underfits"


def test_an_empty_history_is_unclear():
    assert analysis.diagnose([]).verdict == "unclear"
    only = [{"step": 1, "split": "train", "loss": 1.0}]
    assert analysis.diagnose(only).advice == analysis.ADVICE["unclear"]


def test_larger_sets_hold_the_smaller_ones():
    seen = []

    def fit(rows):
        seen.append(set(rows.tolist()))
        return 1.0, 1 - 1 / len(rows)

    found = analysis.curve_over_data(fit, 100, (5, 20, 100), repeats=2)
    assert seen[0] < seen[1] < seen[2] == set(range(100))
    assert seen[0] != seen[3]
    assert found.train.shape == (2, 3)
    np.testing.assert_allclose(found.validation, [[0.8, 0.95, 0.99]] * 2)
    with pytest.raises(ValueError, match="a size of 101 of 100"):
        analysis.curve_over_data(fit, 100, (101,))


def test_polynomials_underfit_and_overfit_by_their_degree():
    """Training errors only fall with the degree; validation errors rise in the end."""
    rng = np.random.default_rng(0)
    x, new = rng.uniform(-1, 1, (2, 14))

    def truth(x):
        return np.sin(3 * x)

    def fit(degree, seed):
        noise = np.random.default_rng(seed).normal(0, 0.2, 14)
        line = np.polynomial.Polynomial.fit(x, truth(x) + noise, degree)
        return (
            float(np.mean((line(x) - truth(x) - noise) ** 2)),
            float(np.mean((line(new) - truth(new)) ** 2)),
        )

    found = analysis.curve_over_models(fit, (1, 4, 12), repeats=5)
    train, validation = found.train.mean(axis=0), found.validation.mean(axis=0)
    assert train[0] > train[1] > train[2]
    assert validation[1] < validation[0]
    assert validation[1] < validation[2]
