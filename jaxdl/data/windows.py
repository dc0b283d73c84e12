"""Forecasting windows: a stretch of a series, and the values that follow it.

A series is cut into parts by time, and every window lies whole within one part, so
that no part sees another's targets. Windows are views of one table of features.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging
from jaxtyping import Int

from jaxdl.data import series as series_room
from jaxdl.data import timestamps
from jaxdl.data.forecasting import Forecasting
from jaxdl.data.series import Series, SeriesColumns
from jaxdl.data.source import Source, in_memory, subset
from jaxdl.data.timestamps import Table

PARTS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Windows:
    """A data set of windows.

    Attributes:
      name: as it was asked for.
      train, validation, test: inputs [n, window, features] and targets [n, horizons],
        both in the columns' own units; in order of time.
      series: what they were cut from.
      rows: part to the rows [n] of the series with which its windows end.
      preprocess: what was fitted on the training part alone.
    """

    name: str
    train: Source
    validation: Source
    test: Source
    series: Series
    rows: Mapping[str, Int[np.ndarray, " windows"]]
    preprocess: Forecasting
    classes: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, Source]:
        """The parts by name: train, validation, test."""
        return {part: getattr(self, part) for part in PARTS}

    @property
    def input_shape(self) -> tuple[int, int]:
        """Of a stored window."""
        return self.preprocess.window, len(self.preprocess.mean)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How windows are cut; ``Forecasting`` says what the fields mean.

    Attributes:
      shares: of the parts, training first, in percent.
    """

    horizons: tuple[int, ...]
    window: int
    sampling_rate: int = 1
    shares: tuple[float, ...] = (50.0, 25.0, 25.0)
    change: bool = True
    relative: bool = True

    @property
    def reach(self) -> int:
        """Rows of the series from a window's first to its last target."""
        return (self.window - 1) * self.sampling_rate + 1 + max(self.horizons)

    def bounds(self, rows: int) -> list[int]:
        """Where each part begins, and the end of the last."""
        ends = [round(rows * sum(self.shares[:i]) / 100) for i in range(4)]
        return [*ends[:3], rows]


def make(
    name: str,
    table: Table,
    target: str,
    plan: Plan,
    ignore: Sequence[str] = (),
    memory_budget: float = math.inf,
) -> Windows:
    """The windows of a table.

    A window whose value to be forecast is missing is left out, with a warning that
    counts them: nothing is learned from, or measured by, what was made up.

    Args:
      name: of the data set.
      table: column name to cells, its rows in order of time.
      target: the column to forecast.
      plan: how to cut.
      ignore: columns to leave out.
      memory_budget: bytes; larger parts are streamed to the device.

    Raises:
      ValueError: in one line, a part too short for a window, and what
        ``series.fit_columns`` raises.
    """
    bounds = plan.bounds(len(next(iter(table.values()))))
    _check_lengths(plan, bounds)
    columns = series_room.fit_columns(table, target, bounds[1], ignore)
    series = columns.encode(table)
    _warn_of_steps(series)
    fitted = _fit(series, columns, plan, bounds[1])
    return _windows(name, series, fitted, bounds, memory_budget)


def measured_on(data: Windows, name: str, table: Table) -> Windows:
    """The windows of another table as those of ``data``, with what was fitted there;
    every part is all of it.

    Raises:
      ValueError: in one line, columns that are not there, too few rows.
    """
    fitted = data.preprocess
    series = fitted.columns.encode(table)
    needed = fitted.span + max(fitted.horizons)
    if len(series) < needed:
        raise ValueError(
            f"{len(series)} rows, but a window and its target need {needed}"
        )
    whole, rows = _part(name, series, fitted, 0, len(series), math.inf)
    same = dict.fromkeys(PARTS, rows)
    return Windows(name, whole, whole, whole, series, same, fitted)


def times_ahead(fitted: Forecasting, table: Table) -> list[str | None]:
    """When the values come that are forecast after a table's last row, as ISO 8601;
    None for each where no column holds dates."""
    times, _ = timestamps.read_times(table)
    if times is None or len(times) < 2:
        return [None] * len(fitted.horizons)
    step = np.timedelta64(timestamps.usual_step(times), "s")
    return [str(times[-1] + ahead * step) for ahead in fitted.horizons]


def parse_horizons(text: str) -> tuple[int, ...]:
    """``"24"`` is the single value 24 rows ahead, ``"1:24"`` all of the way there.

    Raises:
      ValueError: it is neither, or a row that is not ahead.
    """
    parts = text.split(":")
    if len(parts) > 2 or not all(part.strip().isdigit() for part in parts):
        raise ValueError(f"--horizon is {text!r}: give rows, as 24, or a path, as 1:24")
    first, last = int(parts[0]), int(parts[-1])
    if not 1 <= first <= last:
        raise ValueError(f"--horizon is {text!r}: give 1 or more, the smaller first")
    return tuple(range(first, last + 1)) if len(parts) == 2 else (first,)


def parse_shares(text: str) -> tuple[float, ...]:
    """``"50/25/25"``: percent of the rows for training, validation and test.

    Raises:
      ValueError: they are not three, not above 0 or do not add up to 100.
    """
    try:
        shares = tuple(float(part) for part in text.split("/"))
    except ValueError:
        shares = ()
    if len(shares) != 3 or not min(shares) > 0 or not math.isclose(sum(shares), 100):
        raise ValueError(
            f"--split is {text!r}: give percents of training, validation and test that "
            "add up to 100, as 50/25/25"
        )
    return shares


def _check_lengths(plan: Plan, bounds: Sequence[int]) -> None:
    for part, start, end in zip(PARTS, bounds, bounds[1:], strict=False):
        if end - start < plan.reach:
            raise ValueError(
                f"the {part} part has {end - start} rows, but a --window of "
                f"{plan.window} (--sampling_rate={plan.sampling_rate}) and a --horizon "
                f"of {max(plan.horizons)} reach over {plan.reach}: give smaller ones"
            )


def _warn_of_steps(series: Series) -> None:
    if series.times is None:
        return
    odd = timestamps.irregular(series.times)
    if odd:
        logging.warning(
            "%d of %d rows do not follow the row before after %d seconds: windows and "
            "horizons count rows",
            *(odd, len(series), timestamps.usual_step(series.times)),
        )


def _fit(series: Series, columns: SeriesColumns, plan: Plan, rows: int) -> Forecasting:
    """Means and deviations of the first ``rows`` rows."""
    values = series.values[:rows].astype(np.float64)
    mean, deviation = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    # Rounding leaves a constant feature with a deviation of about 1e-7 of its size.
    constant = deviation <= 1e-6 * np.maximum(np.abs(mean), 1e-30)
    deviation = np.where(constant, 1.0, deviation)
    scale = deviation[0]
    if plan.change:
        last = values[: rows - max(plan.horizons), 0]
        ahead = [series.target[h : h + len(last)] - last for h in plan.horizons]
        scale = float(np.nanstd(np.array(ahead, np.float64))) or deviation[0]
    return Forecasting(
        columns=columns,
        mean=tuple(mean.tolist()),
        deviation=tuple(deviation.tolist()),
        window=plan.window,
        sampling_rate=plan.sampling_rate,
        horizons=plan.horizons,
        change=plan.change,
        relative=plan.relative,
        scale=float(scale),
    )


def _windows(
    name: str,
    series: Series,
    fitted: Forecasting,
    bounds: Sequence[int],
    memory_budget: float,
) -> Windows:
    found = {
        part: _part(part, series, fitted, start, end, memory_budget)
        for part, start, end in zip(PARTS, bounds, bounds[1:], strict=False)
    }
    train, validation, test = (found[part][0] for part in PARTS)
    rows = {part: found[part][1] for part in PARTS}
    return Windows(name, train, validation, test, series, rows, fitted)


def _part(
    part: str,
    series: Series,
    fitted: Forecasting,
    start: int,
    end: int,
    memory_budget: float,
) -> tuple[Source, Int[np.ndarray, " windows"]]:
    """The windows within rows start to end, and the rows with which they end."""
    first, last = start + fitted.span - 1, end - max(fitted.horizons)
    ends = np.arange(first, last)
    # Views of overlapping stretches: the table is there once.
    views = np.lib.stride_tricks.sliding_window_view(series.values, fitted.span, axis=0)
    inputs = views[start : start + len(ends), :, :: fitted.sampling_rate]
    targets = np.stack(
        [series.target[first + h : last + h] for h in fitted.horizons], 1
    )
    source = in_memory(inputs.swapaxes(1, 2), targets, memory_budget)
    known = np.flatnonzero(~np.isnan(targets).any(axis=1))
    if not known.size:
        raise ValueError(f"{part}: every window's value to be forecast is missing")
    if len(known) == len(ends):
        return source, ends
    logging.warning(
        "%d of %d %s windows are left out: their value to be forecast is missing",
        *(len(ends) - len(known), len(ends), part),
    )
    return subset(source, known), ends[known]
