"""What a finished model got wrong, and what it goes by."""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import ArrayLike, Float, Int

from jaxdl import metrics


def worst(
    probabilities: Float[ArrayLike, "examples classes"],
    targets: Int[ArrayLike, " examples"],
    count: int,
) -> Int[np.ndarray, " worst"]:
    """Indices of the examples that are classified worst, the worst first.

    Those whose true class got the lowest probability; ties, in example order.
    NaN counts as worst of all. At most ``count`` of them.
    """
    true = np.asarray(probabilities)[np.arange(np.size(targets)), np.asarray(targets)]
    order = np.argsort(np.where(np.isnan(true), -1.0, true), kind="stable")
    return order[:count]


def misclassified(
    probabilities: Float[ArrayLike, "examples classes"],
    targets: Int[ArrayLike, " examples"],
) -> Int[np.ndarray, " wrong"]:
    """Indices of the examples whose likeliest class is not theirs, in order."""
    predictions = np.argmax(np.asarray(probabilities), axis=-1)
    return np.flatnonzero(predictions != np.asarray(targets))


def errors(
    values: Float[ArrayLike, "*shape"], targets: Float[ArrayLike, "*shape"]
) -> dict[str, float]:
    """``mae`` and ``rmse`` of values against targets, in float64."""
    error = np.asarray(values, np.float64) - np.asarray(targets, np.float64)
    return {
        "mae": float(np.mean(np.abs(error))),
        "rmse": float(np.sqrt(np.mean(np.square(error)))),
    }


def confusion(
    probabilities: Float[ArrayLike, "examples classes"],
    targets: Int[ArrayLike, " examples"],
) -> Int[np.ndarray, "classes classes"]:
    """Counts of examples by true class (row) and likeliest class (column)."""
    shares = np.asarray(probabilities)
    matrix = np.zeros((shares.shape[1],) * 2, np.int64)
    np.add.at(matrix, (np.asarray(targets), np.argmax(shares, axis=1)), 1)
    return matrix


def class_figures(
    probabilities: Float[ArrayLike, "examples classes"],
    targets: Int[ArrayLike, " examples"],
) -> dict[str, float]:
    """``accuracy``, ``precision``, ``recall``, ``f1`` and ``roc_auc`` of examples.

    Of two classes, those of the second, the positive one; of more, their means over
    the classes (macro), and the area of each class against the rest.
    """
    shares, true = np.asarray(probabilities), np.asarray(targets)
    matrix = confusion(shares, true)
    accuracy = float(np.trace(matrix) / np.sum(matrix))
    if len(matrix) > 2:
        area = metrics.roc_auc(shares, true)
        return {"accuracy": accuracy, **metrics.macro_scores(matrix), "roc_auc": area}
    scores = metrics.class_scores(matrix)
    return {
        "accuracy": accuracy,
        "precision": float(scores.precision[1]),
        "recall": float(scores.recall[1]),
        "f1": float(scores.f1[1]),
        "roc_auc": metrics.roc_auc(shares[:, 1], true),
    }


def permutation_importance(
    cost: Callable[[np.ndarray], float],
    inputs: Float[np.ndarray, "examples features"],
    groups: Mapping[str, Int[np.ndarray, " features"]],
    repeats: int = 5,
    seed: int = 0,
) -> dict[str, Float[np.ndarray, " repeats"]]:
    """How much a model's cost grows when an input is shuffled among the examples, so
    that it says nothing any more (Breiman 2001, section 10).

    Inputs that say the same stand in for one another: both then look unimportant.

    Args:
      cost: inputs to the mean cost of the model's outputs.
      inputs: of examples that the model was not trained on.
      groups: name of an input to its features, which are shuffled together.
      repeats: shuffles of each.
      seed: of the shuffles.
    """
    rng = np.random.default_rng(seed)
    before = cost(inputs)
    found = {}
    for name, features in groups.items():
        rises = np.zeros(repeats)
        for repeat in range(repeats):
            shuffled = inputs.copy()
            order = rng.permutation(len(inputs))
            shuffled[:, features] = inputs[order][:, features]
            rises[repeat] = cost(shuffled) - before
        found[name] = rises
    return found


def knn_accuracy(
    train: Float[ArrayLike, "examples features"],
    train_targets: Int[ArrayLike, " examples"],
    test: Float[ArrayLike, "tests features"],
    test_targets: Int[ArrayLike, " tests"],
    neighbours: int = 5,
) -> float:
    """How often most of an example's nearest neighbours are of its class."""
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(min(neighbours, len(np.asarray(train))))
    model.fit(np.asarray(train), np.asarray(train_targets))
    return float(model.score(np.asarray(test), np.asarray(test_targets)))
