"""Windows: what lies in which, no part in another, and what is done to them."""

import json

import numpy as np
import pytest
from absl import logging
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl.data import fitted, series_sets, windows
from jaxdl.data.windows import Plan


def counting(rows=80, missing=()):
    """A target that says its row, and another column that says ten times its row."""
    cells = [str(float(i)) for i in range(rows)]
    for row in missing:
        cells[row] = ""
    wave = [str((i * 7) % 10) for i in range(rows)]
    return {"value": cells, "wave": wave}


def everything(source):
    found = source.fetch(np.arange(source.size))
    return found["inputs"], found["targets"]


@given(
    rows=st.integers(90, 150),
    window=st.integers(1, 6),
    rate=st.integers(1, 3),
    horizons=st.sampled_from([(1,), (5,), (1, 2, 3), (2, 3, 4)]),
)
@settings(max_examples=25, deadline=None)
def test_windows_lie_whole_within_their_part(rows, window, rate, horizons):
    plan = Plan(horizons, window, rate)
    data = windows.make("counting", counting(rows), "value", plan)
    bounds = plan.bounds(rows)
    assert bounds[0] == 0
    assert bounds[-1] == rows
    for part, start, end in zip(windows.PARTS, bounds, bounds[1:], strict=False):
        inputs, targets = everything(data.parts[part])
        ends = data.rows[part]
        span = (window - 1) * rate + 1
        assert len(inputs) == end - start - span - max(horizons) + 1
        assert inputs.shape[1:] == (window, 2)
        assert np.array_equal(inputs[:, -1, 0], ends)
        assert np.array_equal(targets, ends[:, None] + horizons)
        assert np.all(np.diff(inputs[:, :, 0], axis=1) == rate)
        assert inputs[0, 0, 0] == start
        assert targets[-1, -1] == end - 1


@given(st.integers(0, 2**32 - 1), st.integers(20, 70))
@settings(max_examples=15, deadline=None)
def test_windows_know_nothing_of_what_follows_them(seed, moment):
    """All values after a moment change; windows that end by it keep every input."""
    rng = np.random.default_rng(seed)
    before = {name: rng.normal(size=80) for name in ("value", "other")}
    after = {
        name: np.where(np.arange(80) <= moment, v, rng.normal(size=80))
        for name, v in before.items()
    }
    one, two = (
        windows.make("t", {k: list(map(str, v)) for k, v in t.items()}, "value", plan)
        for t in (before, after)
        for plan in [Plan((2,), 4)]
    )
    for part in windows.PARTS:
        seen = one.rows[part] <= moment
        first, second = (everything(data.parts[part])[0] for data in (one, two))
        assert np.array_equal(first[seen], second[seen])


def test_what_is_fitted_is_fitted_on_the_training_part():
    table = counting()
    other = {name: cells[:40] + ["77"] * 40 for name, cells in table.items()}
    one, two = (
        windows.make("t", t, "value", Plan((3,), 4)).preprocess for t in (table, other)
    )
    assert one == two
    assert one.mean[0] == pytest.approx(19.5)
    assert one.deviation[0] == pytest.approx(np.std(np.arange(40)))


def test_windows_without_a_value_to_forecast_are_left_out_and_counted(monkeypatch):
    warnings = []
    monkeypatch.setattr(
        logging, "warning", lambda line, *rest: warnings.append(line % rest)
    )
    data = windows.make("t", counting(missing=[30, 31]), "value", Plan((3,), 4))
    inputs, targets = everything(data.train)
    assert warnings == [
        "2 of 34 train windows are left out: their value to be forecast is missing"
    ]
    assert not {27, 28} & set(data.rows["train"].tolist())
    assert np.isfinite(targets).all()
    at = data.rows["train"].tolist().index(31)
    assert inputs[at, :, 0].tolist() == [28, 29, 29, 29]  # filled forward
    assert inputs[at, :, 2].tolist() == [0, 0, 1, 1]  # and marked


def test_a_part_over_the_budget_is_streamed_and_equal():
    whole = windows.make("t", counting(), "value", Plan((3,), 4))
    streamed = windows.make("t", counting(), "value", Plan((3,), 4), (), 10.0)
    assert whole.train.arrays is not None
    assert streamed.train.arrays is None
    for one, two in zip(
        everything(whole.train), everything(streamed.train), strict=True
    ):
        assert np.array_equal(one, two)


@pytest.mark.parametrize("change", [True, False])
@pytest.mark.parametrize("relative", [True, False])
def test_a_network_that_says_nothing_forecasts_now_or_the_mean(change, relative):
    plan = Plan((2, 4), 3, change=change, relative=relative)
    data = windows.make("t", counting(), "value", plan)
    known = data.preprocess
    inputs, _ = everything(data.test)
    seen = known.apply(inputs)
    assert seen.shape == (len(inputs), *known.input_shape)
    assert known.input_shape == (3, 4 if relative else 2)
    forecasts = known.restore(np.zeros((len(inputs), 2)), inputs)
    expected = inputs[:, -1:, 0] if change else np.full((len(inputs), 1), known.mean[0])
    assert np.allclose(forecasts, np.repeat(expected, 2, 1))


@pytest.mark.parametrize("change", [True, False])
def test_the_scale_is_the_deviation_of_what_networks_tell(change):
    walk = np.cumsum(np.random.default_rng(0).normal(size=120))
    table = {"value": list(map(repr, walk.tolist()))}
    data = windows.make("t", table, "value", Plan((2, 5), 1, change=change))
    inputs, targets = everything(data.train)
    told = targets - inputs[:, -1, :] if change else walk[:60]
    assert data.preprocess.scale == pytest.approx(told.std(), rel=1e-4)


def test_relative_features_do_not_know_the_level():
    data = windows.make("t", counting(), "value", Plan((2,), 3))
    inputs, _ = everything(data.train)
    seen = np.asarray(data.preprocess.apply(inputs))
    shifted = np.asarray(data.preprocess.apply(inputs + [1000.0, 0.0]))
    assert np.allclose(seen[..., :2], shifted[..., :2], atol=1e-4)
    assert np.all(seen[..., 2] + 1 < shifted[..., 2])
    assert np.all(seen[:, -1, :2] == 0)


def test_a_value_not_known_yet_is_as_the_mean():
    known = windows.make("t", counting(), "value", Plan((2,), 3)).preprocess
    gap = np.full((1, 3, 2), np.nan, np.float32)
    assert np.all(known.apply(gap) == 0)
    assert known.restore(np.zeros((1, 1)), gap).item() == pytest.approx(known.mean[0])


def test_what_was_fitted_comes_back_from_json():
    table, target = series_sets.text_columns("eeg")
    known = windows.make("eeg", table, target, Plan((1, 2), 5, 2)).preprocess
    assert fitted.from_json(json.loads(json.dumps(known.to_json()))) == known
    with pytest.raises(ValueError, match="broken: KeyError"):
        fitted.from_json({"kind": "forecasting"})


def test_other_tables_are_measured_with_what_was_fitted():
    data = windows.make("t", counting(), "value", Plan((3,), 4))
    found = windows.measured_on(data, "other", {**counting(9), "more": ["x"] * 9})
    assert found.preprocess is data.preprocess
    assert found.rows["test"].tolist() == [3, 4, 5]
    assert {part.size for part in found.parts.values()} == {3}
    with pytest.raises(ValueError, match="6 rows, but a window and its target need 7"):
        windows.measured_on(data, "short", counting(6))


def test_the_latest_window_of_a_table_is_that_of_its_last_rows():
    known = windows.make("t", counting(), "value", Plan((3,), 3, 2)).preprocess
    recent = {name: cells[-9:] for name, cells in counting().items()}
    window = known.latest(known.columns.encode(recent))
    assert window[0, :, 0].tolist() == [75, 77, 79]
    assert np.array_equal(known.apply(recent), known.apply(window))
    with pytest.raises(ValueError, match="4 rows, but a window reaches over 5"):
        known.apply({name: cells[-4:] for name, cells in recent.items()})


def test_times_of_forecasts_follow_the_last_row():
    dated = {
        **counting(),
        "date": [str(np.datetime64("2020-01-01") + i) for i in range(80)],
    }
    known = windows.make("t", dated, "value", Plan((1, 7), 3)).preprocess
    assert windows.times_ahead(known, dated) == [
        "2020-03-21T00:00:00",
        "2020-03-27T00:00:00",
    ]
    assert windows.times_ahead(known, counting()) == [None, None]


def test_the_embedded_series_are_whole():
    for name, shape in {"neuron": (12_000, 1), "eeg": (800, 4)}.items():
        table, target = series_sets.text_columns(name)
        values = np.array(list(table.values()), float).T
        assert values.shape == shape
        assert target in table
    assert np.allclose(values.std(axis=0), 1, atol=0.01)  # of the last one, the EEG
    potential = np.array(series_sets.text_columns("neuron")[0]["potential"], float)
    assert -70 < potential.min() < -60
    assert 0 < potential.max() < 5


def test_horizons_and_shares_are_read():
    assert windows.parse_horizons("24") == (24,)
    assert windows.parse_horizons("2:4") == (2, 3, 4)
    assert windows.parse_shares("50/25/25") == (50, 25, 25)
    assert Plan((1,), 2, shares=(70.0, 15.5, 14.5)).bounds(1000) == [0, 700, 855, 1000]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: windows.parse_horizons("soon"), "--horizon is 'soon': give rows"),
        (lambda: windows.parse_horizons("0"), "--horizon is '0': give 1 or more"),
        (lambda: windows.parse_horizons("5:2"), "the smaller first"),
        (lambda: windows.parse_horizons("1:2:3"), "a path, as 1:24"),
        (lambda: windows.parse_shares("50/25"), "--split is '50/25': give percents"),
        (lambda: windows.parse_shares("50/25/30"), "add up to 100"),
        (lambda: windows.parse_shares("100/0/0"), "add up to 100"),
        (lambda: windows.parse_shares("half"), "add up to 100"),
        (lambda: series_sets.text_columns("rivers"), "--dataset=rivers is unknown"),
        (lambda: series_sets.text_columns("csv:"), "neuron, eeg, or csv:PATH"),
        (
            lambda: windows.make("t", counting(), "value", Plan((15,), 8)),
            "the validation part has 20 rows, .* reach over 23: give smaller ones",
        ),
        (
            lambda: windows.make(
                "t", counting(missing=range(43, 60)), "value", Plan((3,), 4)
            ),
            "validation: every window's value to be forecast is missing",
        ),
    ],
)
def test_what_cannot_be_cut_is_one_line(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
