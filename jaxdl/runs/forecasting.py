"""What a forecaster is judged by besides its figures: pictures of its forecasts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxdl.data.timestamps import DAY, usual_step
from jaxdl.data.windows import Windows
from jaxdl.runs.analysis import errors
from jaxdl.runs.baselines.forecasting import Naive
from jaxdl.runs.plots.forecasting import errors_by, forecasts
from jaxdl.train.task import Figures, Findings, Picture

# Values in the picture of forecasts: ten days of hours, about.
STRETCH = 240

# Name to forecasts [windows, horizons] of the test part, the model's first.
Told = dict[str, Float[np.ndarray, "windows horizons"]]


def findings(
    data: Windows,
    naive: Callable[[], Naive],
    values: Float[np.ndarray, "windows horizons"],
) -> Findings:
    """MAE and RMSE of the forecasts, also where they are an average of several models';
    pictures: forecasts beside what came over a stretch of the test part, and the error
    by horizon and by the hour of the day.

    Args:
      data: what was forecast.
      naive: gives the baselines' forecasts.
      values: the model's forecasts of the test windows.
    """

    def told() -> Told:
        found = naive()
        others = dict(found.forecasts)
        ridge = others.pop("ridge")
        return {"this run": values, **others, f"ridge, {found.lags} lags": ridge}

    pictures: dict[str, Picture] = {
        "forecasts.png": lambda path: _forecasts(data, told(), path)
    }
    if len(data.preprocess.horizons) > 1:
        pictures["error_by_horizon.png"] = lambda path: _by_horizon(data, told(), path)
    times = data.series.times
    if times is not None and usual_step(times) < DAY:
        pictures["error_by_hour.png"] = lambda path: _by_hour(data, told(), path)
    return Findings(errors(values, _targets(data)), pictures)


def told_baselines(data: Windows, found: Naive) -> dict[str, Figures]:
    """The baselines' figures on the test part; says what the ridge regression sees."""
    print(
        f"ridge regression on {found.lags} steps of the past with penalty "
        f"{found.penalty:g}, both by validation"
    )
    return found.figures(_targets(data))


def _targets(data: Windows) -> Float[np.ndarray, "windows horizons"]:
    return data.test.fetch(np.arange(data.test.size))["targets"]


def _when(data: Windows) -> np.ndarray:
    """When each forecast value comes [windows, horizons]: times, or rows."""
    rows = data.rows["test"][:, None] + np.array(data.preprocess.horizons)
    return rows if data.series.times is None else data.series.times[rows]


def _forecasts(data: Windows, told: Told, path: Path) -> None:
    """From the middle of the test part on; paths are laid end to end."""
    size, step = len(_when(data)), len(data.preprocess.horizons)
    count = min(-(-STRETCH // step), -(-size // step))
    start = max(0, (size - count * step) // 2)
    chosen = np.arange(start, size, step)[:count]

    def line(values: np.ndarray) -> np.ndarray:
        return values[chosen].reshape(-1)

    lines = {name: line(values) for name, values in told.items()}
    target = data.preprocess.columns.target
    forecasts(line(_when(data)), line(_targets(data)), lines, target, path)


def _by_horizon(data: Windows, told: Told, path: Path) -> None:
    truth = _targets(data)
    found = {name: np.abs(v - truth).mean(axis=0) for name, v in told.items()}
    label, target = "rows ahead", data.preprocess.columns.target
    errors_by(np.array(data.preprocess.horizons), found, label, target, path)


def _by_hour(data: Windows, told: Told, path: Path) -> None:
    truth, hour = _targets(data), _hours(_when(data))
    hours = np.unique(hour)
    found = {
        name: [np.abs(values - truth)[hour == h].mean() for h in hours]
        for name, values in told.items()
    }
    label, target = "hour of the day", data.preprocess.columns.target
    errors_by(hours, {k: np.array(v) for k, v in found.items()}, label, target, path)


def _hours(times: np.ndarray) -> np.ndarray:
    return times.astype("datetime64[h]").astype(np.int64) % 24
