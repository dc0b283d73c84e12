"""Baselines of forecasts: what is now, what was yesterday, and ridge regression."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxdl.data.timestamps import DAY, usual_step
from jaxdl.data.windows import Windows
from jaxdl.runs.analysis import errors
from jaxdl.train.task import Figures

# Steps of the past that the ridge regression may see, and its penalties on
# standardised features: the best pair on the validation part is taken.
LAGS = (3, 6, 12, 24, 48)
PENALTIES = (1.0, 100.0, 10_000.0)
# Regressing on more windows takes long and changes little.
RIDGE_WINDOWS = 50_000

Forecasts = Float[np.ndarray, "windows horizons"]


@dataclasses.dataclass(frozen=True)
class Naive:
    """Forecasts for the test windows of what is no network, in the target's unit.

    Attributes:
      forecasts: by name: ``persistence``, ``repeat_yesterday`` where it differs from
        it, and ``ridge``.
      lags: how many steps of the past the ridge regression sees.
      penalty: of its weights.
    """

    forecasts: dict[str, Forecasts]
    lags: int
    penalty: float

    def figures(self, targets: Forecasts) -> dict[str, Figures]:
        """Their errors."""
        return {name: errors(f, targets) for name, f in self.forecasts.items()}


def naive(data: Windows) -> Naive:
    """The baselines' forecasts for exactly the windows of the test part.

    The ridge regression is scikit-learn's, on the features of the last steps, of the
    change from the last value; its inputs may begin before the window's, never after.
    """
    ends = data.rows["test"]
    now = _level(data)[ends]
    horizons = data.preprocess.horizons
    forecasts = {"persistence": np.repeat(now[:, None], len(horizons), axis=1)}
    period = _rows_a_day(data)
    if period and any(h % period for h in horizons) and ends[0] >= period:
        # The last known value of the same time of day.
        back = [-h % period for h in horizons]
        forecasts["repeat_yesterday"] = _level(data)[ends[:, None] - back]
    forecasts["ridge"], lags, penalty = _ridge(data)
    return Naive(forecasts, lags, penalty)


def _level(data: Windows) -> Float[np.ndarray, " rows"]:
    """The target as last known at each row; its training mean where it never was."""
    values = data.series.values[:, 0]
    return np.where(np.isnan(values), np.float32(data.preprocess.mean[0]), values)


def _rows_a_day(data: Windows) -> int:
    """How many rows a day has; 0 where there are no times, or they divide no day."""
    if data.series.times is None:
        return 0
    step = usual_step(data.series.times)
    return DAY // step if step < DAY and DAY % step == 0 else 0


def _ridge(data: Windows) -> tuple[Forecasts, int, float]:
    """Forecasts of the test part, lags and penalty."""
    from sklearn.linear_model import Ridge

    level = _level(data)
    features = np.asarray(data.preprocess.standardised(data.series.values))
    rate, horizons = data.preprocess.sampling_rate, np.array(data.preprocess.horizons)

    def changes(ends: Int[np.ndarray, " n"]) -> Forecasts:
        return data.series.target[ends[:, None] + horizons] - level[ends][:, None]

    def past(ends: Int[np.ndarray, " n"], lags: int) -> np.ndarray:
        back = rate * np.arange(lags)
        return features[ends[:, None] - back].reshape(len(ends), -1).astype(np.float64)

    def few(ends: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        return ends[:: -(-len(ends) // RIDGE_WINDOWS)]

    best: tuple[float, int, Any] | None = None
    train, validation = few(data.rows["train"]), few(data.rows["validation"])
    for lags in LAGS:
        seen = train[train >= rate * (lags - 1)]
        if len(seen) < 2:
            break
        inputs, known = past(seen, lags), past(validation, lags)
        for penalty in PENALTIES:
            model = Ridge(alpha=penalty).fit(inputs, changes(seen))
            told = model.predict(known).reshape(len(known), -1)
            error = errors(told, changes(validation))["mae"]
            if best is None or error < best[0]:
                best = error, lags, model
    assert (
        best is not None
    )  # a part holds a window at least, which the checks made sure
    _, lags, model = best
    ends = data.rows["test"]
    pieces = np.array_split(ends, -(-len(ends) // RIDGE_WINDOWS))
    told = [model.predict(past(p, lags)).reshape(len(p), -1) for p in pieces]
    return level[ends][:, None] + np.concatenate(told), lags, model.alpha
