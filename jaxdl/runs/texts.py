"""What a finished classifier of texts is judged by: figures, pictures, mistakes."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxdl import metrics
from jaxdl.data.dataset import Dataset
from jaxdl.runs import analysis, plots
from jaxdl.runs.plots.ranking import ranking_curves
from jaxdl.runs.text import printable
from jaxdl.train.task import Figures, Findings

# Texts that were classified worst, and how much of each is shown.
WORST, CHARACTERS = 25, 400


def findings(
    data: Dataset, probabilities: Float[np.ndarray, "examples classes"], source: Any
) -> Findings:
    """Figures of a part, confusion matrix or scores of the labels, curves, and the
    texts that were classified worst, as the model reads them."""
    stored = source.fetch(np.arange(source.size))
    true, classes = stored["targets"], data.classes
    several = true.ndim == 2
    shown = range(1, 2) if len(classes) == 2 and not several else range(len(classes))
    hits = {c: true[:, c] > 0.5 if several else true == c for c in shown}
    ranked = {classes[c]: (probabilities[:, c], hits[c]) for c in shown}
    pictures: dict[str, Any] = {
        "ranking_curves.png": partial(ranking_curves, ranked),
        "worst_texts.txt": _worst_texts(data, probabilities, stored),
    }
    if several:
        pictures["label_scores.txt"] = _label_scores(probabilities, true, classes)
        return Findings(label_figures(probabilities, true), pictures)
    matrix = analysis.confusion(probabilities, true)
    pictures["confusion_matrix.png"] = partial(plots.confusion_matrix, matrix, classes)
    return Findings(analysis.class_figures(probabilities, true), pictures)


def label_figures(
    probabilities: Float[np.ndarray, "examples labels"],
    targets: Float[np.ndarray, "examples labels"],
) -> Figures:
    """Accuracy, precision, recall, F1, ROC AUC and average precision, means over the
    labels; a probability above one half says yes."""
    scores = _scores(probabilities, targets)
    return {
        "accuracy": float(np.mean((probabilities > 0.5) == (targets > 0.5))),
        **{name: float(np.mean(values)) for name, values in scores.items()},
        "roc_auc": metrics.roc_auc(probabilities, targets),
        "average_precision": metrics.average_precision(probabilities, targets),
    }


def _scores(probabilities: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall and F1 of each label; 0 where undefined."""
    from sklearn.metrics import precision_recall_fscore_support

    found = precision_recall_fscore_support(
        targets > 0.5, probabilities > 0.5, average=None, zero_division=0
    )
    return dict(zip(("precision", "recall", "f1"), found[:3], strict=True))


def _label_scores(
    probabilities: np.ndarray, targets: np.ndarray, classes: Sequence[str]
) -> str:
    """A line a label: its scores on the test part."""
    scores = _scores(probabilities, targets)
    width = max(map(len, classes))
    lines = [f"{'label':<{width}}  share  precision  recall     f1  average precision"]
    for c, name in enumerate(classes):
        mean = metrics.average_precision(probabilities[:, c], targets[:, c])
        lines.append(
            f"{printable(name):<{width}}  {targets[:, c].mean():5.3f}"
            f"  {scores['precision'][c]:9.3f}  {scores['recall'][c]:6.3f}"
            f"  {scores['f1'][c]:5.3f}  {mean:17.3f}"
        )
    return "\n".join(lines) + "\n"


def _worst_texts(data: Dataset, probabilities: np.ndarray, stored: Any) -> str:
    """The texts whose true labels were thought least likely, worst first."""
    true = stored["targets"]
    rows = true if true.ndim == 2 else np.eye(len(data.classes))[true]
    # Of labels that are independent each counts, those that are not there as well.
    right = np.where(rows > 0.5, probabilities, 1.0 - probabilities)
    share = right.mean(axis=1) if true.ndim == 2 else np.sum(rows * right, axis=1)
    blocks = []
    for i in np.argsort(share, kind="stable")[:WORST]:
        names = [data.classes[c] for c in np.flatnonzero(rows[i] > 0.5)]
        told = _told(data.classes, probabilities[i], true.ndim == 2)
        text = printable(data.preprocess.decode(stored["inputs"][i]), CHARACTERS)
        blocks.append(f"is {', '.join(names) or 'none'}; said {told}\n  {text}\n")
    return "\n".join(blocks)


def _told(classes: Sequence[str], shares: np.ndarray, several: bool) -> str:
    """What probabilities say."""
    best = [int(np.argmax(shares))]
    said = np.flatnonzero(shares > 0.5).tolist() if several else best
    named = [f"{classes[c]} ({100 * float(shares[c]):.1f}%)" for c in said]
    return ", ".join(named) or "none"
