"""Importance: how much of what trials reached each hyper-parameter accounts for."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxdl.search.spaces import Choice, Space, places
from jaxdl.search.trials import Trial, ranked

TREES = 200
GRID = 16  # places at which a dimension's own effect is looked at
# With fewer trials a forest has learned nothing.
LEAST_TRIALS = 8


@dataclasses.dataclass(frozen=True)
class Importance:
    """What matters, by hyper-parameter.

    Attributes:
      shares: of the variance of the forest's prediction that each accounts for alone
        (0 to 1); what is missing to 1 is interaction.
      correlations: Spearman's, of value and rank (1 is best): above 0 more is better.
        None for choices, whose order means nothing.
      explained: out-of-bag R^2 of the forest; near 0 the shares say nothing.
    """

    shares: dict[str, float]
    correlations: dict[str, float | None]
    explained: float


def importance(space: Space, trials: Sequence[Trial], mode: str) -> Importance | None:
    """First-order functional ANOVA over a random forest (Hutter et al. 2014), of the
    trials' ranks: failed trials count as worst, and no outlier weighs more than its
    place. None where there are too few trials.

    Args:
      space: that trials were drawn from.
      trials: in the order they were tried.
      mode: "min" or "max" of their values.
    """
    if len(trials) < LEAST_TRIALS:
        return None
    from scipy.stats import rankdata, spearmanr
    from sklearn.ensemble import RandomForestRegressor

    order = ranked(trials, mode)
    inputs = np.array([places(space, trial.asked.values) for trial in order])
    # Equal values share a rank; those that failed are all the worst.
    worth = np.array([trial.value for trial in order]) * (-1 if mode == "min" else 1)
    ranks = rankdata(np.where(np.isfinite(worth), worth, -np.inf)) / len(order)
    forest = RandomForestRegressor(
        TREES, oob_score=True, min_samples_leaf=2, random_state=0
    ).fit(inputs, ranks)
    correlations = {
        name: None
        if isinstance(dimension, Choice) or np.ptp(ranks) == 0
        else float(spearmanr(inputs[:, i], ranks).statistic)
        for i, (name, dimension) in enumerate(space.items())
    }
    shares = dict(zip(space, _first_order(forest, inputs), strict=True))
    explained = float(forest.oob_score_) if np.ptp(ranks) else 0.0
    return Importance(shares, correlations, explained)


def _first_order(forest: object, inputs: np.ndarray) -> list[float]:
    """Variance of the prediction's mean at each place of a dimension, all others drawn
    uniformly, as a share of its variance over the space."""
    drawn = np.random.default_rng(0).random((512, inputs.shape[1]))
    everywhere = np.var(forest.predict(drawn))  # type: ignore[attr-defined]
    if everywhere == 0:
        return [0.0] * inputs.shape[1]
    found = []
    for dimension in range(inputs.shape[1]):
        means = []
        for place in (np.arange(GRID) + 0.5) / GRID:
            there = drawn.copy()
            there[:, dimension] = place
            means.append(forest.predict(there).mean())  # type: ignore[attr-defined]
        found.append(float(min(np.var(means) / everywhere, 1.0)))
    return found
