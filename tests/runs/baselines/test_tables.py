"""Baselines of tables equal their formulas and scikit-learn's models."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from jaxdl.data import table_sets
from jaxdl.runs.baselines import tabular


def whole(part):
    stored = part.fetch(np.arange(part.size))
    return stored["inputs"].astype(np.float64), stored["targets"]


def test_of_a_regression():
    data = table_sets.divide(table_sets.read("diabetes"))
    found = tabular(data)
    assert list(found) == ["mean", "linear", "ridge"]
    (x, y), (test, true) = whole(data.train), whole(data.test)
    error = true - y.astype(np.float64).mean()
    assert found["mean"]["mae"] == pytest.approx(np.abs(error).mean())
    assert found["mean"]["rmse"] == pytest.approx(np.sqrt(np.square(error).mean()))
    one = np.ones((len(x), 1))
    weights = np.linalg.lstsq(np.hstack([x, one]), y, rcond=None)[0]
    said = np.hstack([test, one[: len(test)]]) @ weights
    assert found["linear"]["mae"] == pytest.approx(np.abs(true - said).mean())
    assert found["ridge"]["mae"] == pytest.approx(found["linear"]["mae"], rel=0.05)


@pytest.mark.parametrize("name", ["breast_cancer", "wine"])
def test_of_classes(name):
    data = table_sets.divide(table_sets.read(name))
    found = tabular(data)
    (x, y), (test, true) = whole(data.train), whole(data.test)
    share = np.bincount(true)[np.bincount(y).argmax()] / len(true)
    assert found["majority"] == {"accuracy": pytest.approx(share)}
    model = LogisticRegression(max_iter=500).fit(x, y)
    logistic = found["logistic"]
    assert logistic["accuracy"] == pytest.approx(model.score(test, true))
    assert set(logistic) == {"accuracy", "precision", "recall", "f1", "roc_auc"}
    assert logistic["roc_auc"] > 0.98
