"""Does it under- or overfit? A run's history read, with advice; and learning curves."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

# Ng's table, "Machine Learning Yearning" 2018, chapters 22 to 27: what helps.
ADVICE: dict[str, tuple[str, ...]] = {
    "underfits": (
        "a larger network: more layers, more units",
        "train longer",
        "another optimizer or learning rate",
        "another architecture, one that suits the data",
        "less regularization: a smaller L2 penalty, less dropout",
    ),
    "overfits": (
        "more data, or augmentation",
        "regularization: L2, dropout, batch normalization",
        "early stopping at the best validation loss",
        "a smaller network, or fewer input features",
    ),
    "fits": ("nothing stands out: compare with another seed before changing more",),
    "unclear": ("log the loss of training and validation at several checks",),
}
ADVICE["underfits and overfits"] = ADVICE["underfits"][:4] + ADVICE["overfits"][:2]


class Diagnosis(NamedTuple):
    """What a history says of the fit.

    Attributes:
      verdict: a key of ``ADVICE``.
      metric: the metric that it rests on.
      train, validation: its values at the last check.
      bias: how much worse than the goal the better of both is: figures of training
        are means since the check before, and early ones lag behind.
      variance: how much worse validation is than training.
      rising_since: the step of the least validation loss, where it has risen since by
        more than half while the training loss fell; else None.
      advice: what helps, in order.
    """

    verdict: str
    metric: str
    train: float
    validation: float
    bias: float
    variance: float
    rising_since: int | None
    advice: tuple[str, ...]

    def __str__(self) -> str:
        said = (
            f"{self.verdict}: {self.metric} {self.train:.4g} on the training part, "
            f"{self.validation:.4g} on the validation part"
        )
        if self.rising_since is not None:
            said += f"; validation loss rises since step {self.rising_since}"
        return said


def diagnose(
    history: Sequence[Mapping[str, Any]],
    metric: str = "accuracy",
    goal: float | None = None,
    tolerance: float = 0.05,
    up: bool = True,
) -> Diagnosis:
    """Whether a run under- or overfits, from how it went.

    High bias is a training figure worse than the goal by more than the tolerance, high
    variance a validation figure worse than training's by more than that, or a
    validation loss that rises while training's falls.

    Args:
      history: rows of ``metrics.jsonl`` (``jaxdl.runs.writers.read``): ``step``,
        ``split`` and figures.
      metric: what to compare; where the history has none, the loss.
      goal: what could be reached: human performance, or the best known; by default 1
        for a metric that goes up, and what training reached for one that goes down.
      tolerance: of differences: in the metric's unit going up, relative going down.
      up: whether more of the metric is better.
    """
    if not _points(history, "train", metric):
        metric, up = "loss", False
    train, validation = (_points(history, s, metric) for s in ("train", "validation"))
    if not train or not validation:
        none = math.nan
        advice = ADVICE["unclear"]
        return Diagnosis("unclear", metric, none, none, none, none, None, advice)
    low, high = train[-1][1], validation[-1][1]
    since = _rising_since(history)
    if up:
        bias = (1.0 if goal is None else goal) - max(low, high)
        variance = low - high
    else:
        best = low if goal is None else goal
        scale = max(abs(low), 1e-12)
        bias, variance = (min(low, high) - best) / scale, (high - low) / scale
    weak, wide = bias > tolerance, variance > tolerance or since is not None
    names = {(1, 0): "underfits", (0, 1): "overfits", (0, 0): "fits"}
    verdict = names.get((int(weak), int(wide)), "underfits and overfits")
    return Diagnosis(verdict, metric, low, high, bias, variance, since, ADVICE[verdict])


def _points(
    history: Sequence[Mapping[str, Any]], split: str, name: str
) -> list[tuple[int, float]]:
    return [
        (int(row["step"]), float(row[name]))
        for row in history
        if row.get("split") == split and isinstance(row.get(name), int | float)
    ]


def _rising_since(history: Sequence[Mapping[str, Any]]) -> int | None:
    """The step of the least validation loss, where it clearly rose after it."""
    train, validation = (_points(history, s, "loss") for s in ("train", "validation"))
    if len(train) < 2 or len(validation) < 3:
        return None
    step, least = min(validation, key=lambda point: point[1])
    at_best = [value for at, value in train if at <= step] or [train[0][1]]
    rose = validation[-1][1] > 1.5 * least
    return step if rose and train[-1][1] < at_best[-1] else None


class LearningCurve(NamedTuple):
    """Scores on what was learned from and on what was not, by size.

    Attributes:
      sizes: [sizes], of the training set or of the model.
      train, validation: [repeats, sizes].
    """

    sizes: Int[np.ndarray, " sizes"]
    train: Float[np.ndarray, "repeats sizes"]
    validation: Float[np.ndarray, "repeats sizes"]


def curve_over_data(
    fit: Callable[[Int[np.ndarray, " examples"]], tuple[float, float]],
    examples: int,
    sizes: Sequence[int],
    repeats: int = 1,
    seed: int = 0,
) -> LearningCurve:
    """How scores change with the number of examples learned from.

    Within a repeat each set holds the smaller ones, so that a curve's steps are what
    the further examples did. Curves that meet below the goal ask for a larger model,
    curves apart for more data.

    Args:
      fit: indices of training examples to scores on (those, validation).
      examples: how many there are to draw from.
      sizes: how many to learn from.
      repeats: orders to draw, by ``seed``.

    Raises:
      ValueError: a size below 1 or above ``examples``.
    """
    for size in sizes:
        if not 1 <= size <= examples:
            raise ValueError(f"a size of {size} of {examples} examples: give 1 to that")
    found = []
    for repeat in range(repeats):
        order = np.random.default_rng([seed, repeat]).permutation(examples)
        found.append([fit(np.sort(order[:size])) for size in sizes])
    return _curve(sizes, found)


def curve_over_models(
    fit: Callable[[int, int], tuple[float, float]],
    sizes: Sequence[int],
    repeats: int = 1,
) -> LearningCurve:
    """How scores change with the size of the model.

    Args:
      fit: (size, seed) to scores on (training part, validation part).
      sizes: hidden units, layers, degrees...
      repeats: seeds 0, 1, ... of each.
    """
    found = [[fit(size, seed) for size in sizes] for seed in range(repeats)]
    return _curve(sizes, found)


def _curve(
    sizes: Sequence[int], found: Sequence[Sequence[tuple[float, float]]]
) -> LearningCurve:
    scores = np.asarray(found, np.float64)
    return LearningCurve(np.asarray(sizes), scores[..., 0], scores[..., 1])
