"""Baselines of forecasts: what they are by definition, on the windows of the test."""

import numpy as np
import pytest

from jaxdl.data import windows
from jaxdl.runs.baselines import forecasting

RNG = np.random.default_rng(0)


def hourly(values, horizons, window=4):
    """Windows of one column of hourly values, some rows in."""
    times = np.datetime64("2020-01-01T00", "s") + np.arange(len(values)) * 3600
    table = {
        "date": list(map(str, times)),
        "value": ["" if np.isnan(v) else repr(float(v)) for v in values],
    }
    return windows.make("t", table, "value", windows.Plan(horizons, window))


def targets(data):
    return data.test.fetch(np.arange(data.test.size))["targets"]


def test_persistence_is_off_by_the_change():
    walk = np.cumsum(RNG.normal(size=200))
    data = hourly(walk, (3,))
    found = forecasting.naive(data)
    change = walk[data.rows["test"] + 3] - walk[data.rows["test"]]
    figures = found.figures(targets(data))
    assert figures["persistence"]["mae"] == pytest.approx(
        np.abs(change).mean(), rel=1e-5
    )
    assert figures["persistence"]["rmse"] == pytest.approx(
        np.sqrt(np.square(change).mean()), rel=1e-5
    )


def test_yesterday_is_right_of_what_comes_back_every_day():
    day = RNG.normal(size=24)
    data = hourly(np.tile(day, 12), (1, 5, 24, 30))
    found = forecasting.naive(data)
    figures = found.figures(targets(data))
    assert figures["repeat_yesterday"] == {"mae": 0, "rmse": 0}
    assert figures["persistence"]["mae"] > 0.1
    assert np.allclose(found.forecasts["ridge"], targets(data), atol=0.3)


def test_yesterday_a_whole_number_of_days_ahead_is_persistence():
    data = hourly(RNG.normal(size=300), (24, 48))
    assert set(forecasting.naive(data).forecasts) == {"persistence", "ridge"}


def test_ridge_finds_a_linear_law_and_the_lags_it_needs():
    """0.6 x_{t-1} - 0.3 x_{t-5} + noise is told by five values of the past."""
    x = list(RNG.normal(size=5))
    for noise in RNG.normal(0, 0.1, 600):
        x.append(0.6 * x[-1] - 0.3 * x[-5] + noise)
    data = hourly(np.array(x), (1,))
    found = forecasting.naive(data)
    error = found.figures(targets(data))["ridge"]
    assert found.lags >= 6
    assert error["mae"] == pytest.approx(0.1 * np.sqrt(2 / np.pi), rel=0.15)


def test_no_baseline_knows_what_comes():
    """Other values after a row leave the forecasts made until then as they were."""
    values = RNG.normal(size=240)
    data = hourly(values, (1, 30))
    moment = int(data.rows["test"][20])
    other = hourly(np.where(np.arange(240) > moment, 9 * values, values), (1, 30))
    one, two = forecasting.naive(data).forecasts, forecasting.naive(other).forecasts
    assert set(one) == {"persistence", "repeat_yesterday", "ridge"}
    for name in one:
        assert np.array_equal(one[name][:21], two[name][:21]), name
    assert not np.array_equal(one["persistence"], two["persistence"])


def test_missing_values_are_as_last_known():
    values = RNG.normal(size=200)
    values[[170, 171]] = np.nan
    data = hourly(values, (5,))
    at = data.rows["test"].tolist().index(171)
    found = forecasting.naive(data).forecasts
    assert found["persistence"][at].item() == np.float32(values[169])
    assert all(np.isfinite(forecasts).all() for forecasts in found.values())
