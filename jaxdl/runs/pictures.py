"""What a finished classifier is judged by: scores, and pictures of its mistakes."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxdl import metrics
from jaxdl.runs import analysis, plots
from jaxdl.train.task import Findings


def classification(
    probabilities: Float[np.ndarray, "examples classes"],
    targets: Int[np.ndarray, " examples"],
    images: Any,
    classes: Sequence[str],
    count: int = 25,
) -> Findings:
    """Accuracy, macro precision, recall, F1; a confusion matrix and the worst images.

    Args:
      probabilities: of each class, by example.
      targets: the true classes.
      images: [examples, height, width, channels], as stored.
      classes: their names.
      count: how many of the worst images.
    """
    from sklearn.metrics import confusion_matrix

    predictions = np.argmax(probabilities, axis=-1)
    matrix = confusion_matrix(targets, predictions, labels=np.arange(len(classes)))
    at = analysis.worst(probabilities, targets, count)
    worst_images = partial(
        plots.worst_images,
        images[at],
        targets[at],
        predictions[at],
        probabilities[at],
        classes,
    )
    return Findings(
        metrics={
            "accuracy": float(np.mean(predictions == np.asarray(targets))),
            **metrics.macro_scores(matrix),
        },
        pictures={
            "confusion_matrix.png": partial(plots.confusion_matrix, matrix, classes),
            "worst_images.png": worst_images,
        },
    )
