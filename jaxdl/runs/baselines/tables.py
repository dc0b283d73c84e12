"""Baselines of tables: the mean or the majority, and linear models."""

import warnings
from typing import Any

import numpy as np

from jaxdl.data.dataset import Dataset
from jaxdl.runs.analysis import class_figures, errors
from jaxdl.runs.baselines.classification import LOGISTIC_EXAMPLES
from jaxdl.train.task import Figures


def tabular(data: Dataset) -> dict[str, Figures]:
    """Figures on the test part of what is no network, on the same features.

    Of a regression: ``mean`` of the training targets, ``linear`` (least squares) and
    ``ridge`` (its penalty chosen by leave-one-out on the training part). Of classes:
    ``majority``, and scikit-learn's ``logistic`` regression on at most 10,000 examples.
    """
    train, test = (_whole(part) for part in (data.train, data.test))
    return _regression(train, test) if not data.classes else _classes(data, train, test)


def _whole(part: Any) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets, the inputs in float64."""
    stored = part.fetch(np.arange(part.size))
    return stored["inputs"].astype(np.float64), stored["targets"]


def _regression(train: Any, test: Any) -> dict[str, Figures]:
    from sklearn.linear_model import LinearRegression, RidgeCV

    models = {
        "linear": LinearRegression(),
        "ridge": RidgeCV(alphas=np.logspace(-2, 4, 25)),
    }
    mean = train[1].astype(np.float64).mean()
    figures = {"mean": errors(np.full(len(test[1]), mean), test[1])}
    for name, model in models.items():
        model.fit(train[0], train[1].astype(np.float64))
        figures[name] = errors(model.predict(test[0]), test[1])
    return figures


def _classes(data: Dataset, train: Any, test: Any) -> dict[str, Figures]:
    from sklearn.linear_model import LogisticRegression

    names, counts = np.unique(train[1], return_counts=True)
    majority = names[np.argmax(counts)]
    figures = {"majority": {"accuracy": float(np.mean(test[1] == majority))}}
    if len(names) > 1:
        some = np.random.default_rng(0).permutation(len(train[1]))[:LOGISTIC_EXAMPLES]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the iterations are not the end
            model = LogisticRegression(max_iter=500)
            model.fit(train[0][some], train[1][some])
        probabilities = np.zeros((len(test[1]), len(data.classes)))
        probabilities[:, model.classes_] = model.predict_proba(test[0])
        figures["logistic"] = class_figures(probabilities, test[1])
    return figures
