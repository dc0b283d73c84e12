"""How well clusters that were found without labels agree with the classes."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Num


class Agreement(NamedTuple):
    """Clusters against classes; all are 1 where they are the same but for their names.

    Attributes:
      accuracy: share of examples in the cluster that is matched to their class, one
        to one, in the best of all ways (Kuhn 1955).
      purity: share of examples whose class is the commonest of their cluster.
      mutual_information: of cluster and class, over the mean of their entropies (NMI).
      rand_index: pairs treated alike, adjusted for chance: 0 is chance (ARI, Hubert
        and Arabie 1985).
    """

    accuracy: float
    purity: float
    mutual_information: float
    rand_index: float


def agreement(
    labels: Num[Any, " examples"], classes: Num[Any, " examples"]
) -> Agreement:
    """What clusters and classes have in common.

    Args:
      labels: the cluster of each example.
      classes: its class.

    Raises:
      ValueError: lengths that differ.
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn import metrics

    labels, classes = np.asarray(labels), np.asarray(classes)
    if labels.shape != classes.shape:
        raise ValueError(f"{len(labels)} clusters of examples, {len(classes)} classes")
    counts = metrics.cluster.contingency_matrix(classes, labels)
    matched = counts[linear_sum_assignment(counts, maximize=True)].sum()
    return Agreement(
        float(matched / len(labels)),
        purity(labels, classes),
        float(metrics.normalized_mutual_info_score(classes, labels)),
        float(metrics.adjusted_rand_score(classes, labels)),
    )


def purity(labels: Num[Any, " examples"], classes: Num[Any, " examples"]) -> float:
    """The share of examples whose class is the commonest of their cluster."""
    labels, classes = np.asarray(labels), np.asarray(classes)
    commonest = [
        np.unique(classes[labels == cluster], return_counts=True)[1].max()
        for cluster in np.unique(labels)
    ]
    return float(np.sum(commonest) / len(labels))
