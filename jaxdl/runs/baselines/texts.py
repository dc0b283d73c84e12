"""Baselines of text classifiers: the majority, and logistic regression on the words."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxdl import metrics
from jaxdl.data.dataset import Dataset
from jaxdl.train.task import Figures

# Inverse strengths of the penalty, of which the best on validation is taken.
STRENGTHS = (0.03, 0.3, 3.0, 30.0)


def texts(data: Dataset) -> dict[str, Figures]:
    """Accuracy and ROC AUC on the test part of what is most frequent, and of
    scikit-learn's logistic regression on which words occur (the tokens that the
    network reads, in no order). Of several labels a text each is told apart, and the
    accuracy is the share that is right."""
    parts = {
        name: source.fetch(np.arange(source.size))
        for name, source in data.parts.items()
    }
    targets = {name: _columns(part["targets"]) for name, part in parts.items()}
    words = {
        name: _bag(part["inputs"], data.preprocess.size) for name, part in parts.items()
    }
    count = 2 if targets["train"].shape[1] > 1 else len(data.classes)
    usual, told = [], []
    for train, validation, test in zip(
        *(targets[name].T for name in ("train", "validation", "test")), strict=True
    ):
        names, counts = np.unique(train, return_counts=True)
        usual.append(np.mean(test == names[np.argmax(counts)]))
        told.append(_logistic(words, train.astype(int), validation, count))
    return {
        "majority": {"accuracy": float(np.mean(usual))},
        "logistic": _figures(told, targets["test"]),
    }


def _columns(targets: np.ndarray) -> np.ndarray:
    """[examples, tasks]: a task a label, or one for classes."""
    return targets if targets.ndim == 2 else targets[:, None]


def _bag(tokens: np.ndarray, size: int) -> Any:
    """Which words occur, as a sparse matrix [texts, size]; padding is none."""
    from scipy.sparse import csr_matrix

    rows = np.repeat(np.arange(len(tokens)), tokens.shape[1])
    there = tokens.ravel() != 0
    cells = np.unique(np.stack([rows[there], tokens.ravel()[there]]), axis=1)
    ones = np.ones(cells.shape[1], np.float32)
    return csr_matrix((ones, tuple(cells)), shape=(len(tokens), size))


def _logistic(
    words: Any, train: np.ndarray, validation: np.ndarray, classes: int
) -> np.ndarray:
    """Probabilities [texts, classes] on the test part, of the regression that is best
    on the validation part."""
    from sklearn.linear_model import LogisticRegression

    shares = np.zeros((words["test"].shape[0], classes))
    if len(np.unique(train)) == 1:  # there is nothing to fit
        shares[:, train[0]] = 1.0
        return shares
    best: tuple[float, Any] = (-1.0, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that 100 iterations are not the end
        for strength in STRENGTHS:
            model = LogisticRegression(C=strength, max_iter=100)
            model.fit(words["train"], train)
            score = model.score(words["validation"], validation)
            if score > best[0]:
                best = (score, model)
    shares[:, best[1].classes_] = best[1].predict_proba(words["test"])
    return shares


def _figures(told: Sequence[np.ndarray], targets: np.ndarray) -> Figures:
    """Of probabilities of each label, or of classes."""
    if len(told) > 1:
        shares = np.stack([found[:, 1] for found in told], axis=1)
        return {
            "accuracy": float(np.mean((shares > 0.5) == (targets > 0.5))),
            "roc_auc": metrics.roc_auc(shares, targets),
            "average_precision": metrics.average_precision(shares, targets),
        }
    (shares,), true = told, targets[:, 0]
    scores = shares[:, 1] if shares.shape[1] == 2 else shares
    return {
        "accuracy": float(np.mean(np.argmax(shares, axis=1) == true)),
        "roc_auc": metrics.roc_auc(scores, true),
    }
