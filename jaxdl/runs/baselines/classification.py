"""Baselines of classifiers of arrays: the majority, and logistic regression."""

from typing import Any

import numpy as np

from jaxdl.train.task import Figures

# Logistic regression on more would take longer than the training it judges.
LOGISTIC_EXAMPLES = 10_000
# Where 100 fit the training part better, these are the harder baseline: 97.5 against
# 97.2% of digits, 90.8 against 90.5% of MNIST, and three times as quick.
ITERATIONS = 40


def classification(data: Any) -> dict[str, Figures]:
    """Accuracy on the test part of the most frequent class, and of scikit-learn's
    logistic regression on standardised pixels of at most 10,000 training examples
    (the first ones of the training part, which is shuffled)."""
    import warnings

    from sklearn.linear_model import LogisticRegression

    few = np.arange(min(data.train.size, LOGISTIC_EXAMPLES))
    train, test = data.train.fetch(few), data.test.fetch(np.arange(data.test.size))
    names, counts = np.unique(train["targets"], return_counts=True)
    majority = names[np.argmax(counts)]
    figures = {"majority": {"accuracy": float(np.mean(test["targets"] == majority))}}
    if len(names) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that these are not the end
            model = LogisticRegression(max_iter=ITERATIONS, C=0.1)
            model.fit(_pixels(data, train), train["targets"])
        score = model.score(_pixels(data, test), test["targets"])
        figures["logistic"] = {"accuracy": float(score)}
    return figures


def _pixels(data: Any, examples: dict[str, np.ndarray]) -> np.ndarray:
    inputs = np.asarray(data.preprocess.apply(examples["inputs"]))
    return inputs.reshape(len(inputs), -1)
