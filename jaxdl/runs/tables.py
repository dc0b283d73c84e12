"""What a finished model of a table is judged by: figures, and pictures."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxdl.data.dataset import Dataset
from jaxdl.runs import analysis, plots
from jaxdl.runs.plots.importance import importance_bars
from jaxdl.runs.plots.ranking import ranking_curves
from jaxdl.runs.plots.regression import predicted_and_true
from jaxdl.train.task import Findings, Shown

# Examples on which the importance of the columns is measured.
IMPORTANCE_EXAMPLES = 2_000

# Inputs [examples, features] to outputs: values [examples], or probabilities.
Predict = Callable[[np.ndarray], np.ndarray]


def regression(
    data: Dataset, predict: Predict, values: Float[np.ndarray, " examples"], source: Any
) -> Findings:
    """MAE and RMSE of the outputs, also where they are an average of several models';
    pictures of predicted against true values, and of what the columns matter."""
    true = source.fetch(np.arange(source.size))["targets"]
    name = data.preprocess.target
    pictures: Shown = {
        "predicted_and_true.png": partial(predicted_and_true, values, true, name),
        "importance.png": _importance(
            data,
            predict,
            source,
            _absolute,
            f"rise of the mean absolute error of {name}",
        ),
    }
    return Findings(analysis.errors(values, true), pictures)


def classes(
    data: Dataset,
    predict: Predict,
    probabilities: Float[np.ndarray, "examples classes"],
    source: Any,
) -> Findings:
    """Precision, recall, F1 and ROC AUC; confusion matrix, curves, importance."""
    true = source.fetch(np.arange(source.size))["targets"]
    matrix = analysis.confusion(probabilities, true)
    shown = range(1, 2) if len(matrix) == 2 else range(len(matrix))
    ranked = {data.classes[c]: (probabilities[:, c], true == c) for c in shown}
    pictures: Shown = {
        "confusion_matrix.png": partial(plots.confusion_matrix, matrix, data.classes),
        "ranking_curves.png": partial(ranking_curves, ranked),
        "importance.png": _importance(
            data, predict, source, _nats, "rise of the cross-entropy in nats"
        ),
    }
    return Findings(analysis.class_figures(probabilities, true), pictures)


def _importance(
    data: Dataset, predict: Predict, source: Any, cost: Any, label: str
) -> Any:
    """What draws the importance of the table's columns on a part."""
    some = np.random.default_rng(0).permutation(source.size)[:IMPORTANCE_EXAMPLES]
    stored = source.fetch(np.sort(some))

    def draw(path: Any) -> None:
        found = analysis.permutation_importance(
            lambda inputs: cost(predict(inputs), stored["targets"]),
            stored["inputs"],
            data.preprocess.groups,
        )
        importance_bars(found, f"{label}, the column shuffled", path)

    return draw


def _absolute(values: np.ndarray, targets: np.ndarray) -> float:
    return float(np.mean(np.abs(values.astype(np.float64) - targets)))


def _nats(probabilities: np.ndarray, targets: np.ndarray) -> float:
    chosen = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    return float(-np.mean(np.log(np.maximum(chosen, 1e-12))))
