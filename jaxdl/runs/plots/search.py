"""Pictures of a search: parallel coordinates, progress over the trials, importance."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdl.runs.plots.figure import new_figure, save_figure
from jaxdl.runs.text import printable, value_text
from jaxdl.search import Choice, Importance, Log, Space, Trial, places, ranked

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The best trials, which stand out.
BEST = 5


def parallel_coordinates(
    space: Space, trials: Sequence[Trial], mode: str, monitor: str, path: Path
) -> None:
    """Draws a line a trial through its values, and its result at the right: dark and
    thick the best, light those of the worst half.

    Args:
      space: that all trials lie in.
      trials: in the order they were tried.
      mode: "min" or "max" of their values.
      monitor: the metric that they were judged by.
      path: the PNG to write.
    """
    order = ranked([t for t in trials if math.isfinite(t.value)], mode)
    figure = new_figure(2.2 * (len(space) + 1) + 1.0, 4.6)
    axes = figure.add_subplot()
    heights = _heights([trial.value for trial in order])
    at = list(range(len(space) + 1))
    for place in reversed(range(len(order))):
        line = [*places(space, order[place].asked.values), heights[place]]
        share = place / max(len(order) - 1, 1)
        top = place < BEST
        axes.plot(
            at,
            line,
            color="#000000" if top else str(round(0.35 + 0.5 * share, 3)),
            lw=2.0 if top else 0.8,
            marker="o" if top else None,
            markersize=4,
        )
    for x, (name, dimension) in zip(at, space.items(), strict=False):
        _axis(axes, x, printable(name), _ticks(dimension))
    values = [trial.value for trial in order]
    _axis(axes, at[-1], f"validation {monitor}", _value_ticks(values, monitor))
    axes.set_xlim(-0.35, len(space) + 0.6)
    axes.set_ylim(-0.06, 1.13)
    axes.set_axis_off()
    axes.set_title(f"{len(order)} trials; the best {BEST} in black", fontsize=10)
    save_figure(figure, path)


def _heights(values: Sequence[float]) -> list[float]:
    low, high = _shown(values)
    return [float(np.clip((v - low) / ((high - low) or 1.0), 0, 1)) for v in values]


def _shown(values: Sequence[float]) -> tuple[float, float]:
    """The range of results that is drawn; a few wild ones are drawn at its end."""
    low, high = np.percentile(values, [0, 100]) if values else (0.0, 1.0)
    if values:
        inner = np.percentile(values, [10, 90])
        reach = 1.5 * (inner[1] - inner[0]) or 1.0
        low, high = max(low, inner[0] - reach), min(high, inner[1] + reach)
    return float(low), float(high)


def _axis(
    axes: "Axes", x: float, name: str, ticks: Sequence[tuple[float, str]]
) -> None:
    axes.plot([x, x], [0, 1], color="#555555", lw=1.0, zorder=0)
    axes.text(x, 1.05, name, ha="center", va="bottom", fontsize=9)
    for height, text in ticks:
        axes.plot([x - 0.02, x + 0.02], [height, height], color="#555555", lw=1.0)
        axes.text(
            x + 0.04,
            height,
            text,
            va="center",
            fontsize=8,
            bbox={"facecolor": "white", "alpha": 0.7, "pad": 0.5, "lw": 0},
        )


def _ticks(dimension: Any) -> list[tuple[float, str]]:
    if isinstance(dimension, Choice):
        return [(dimension.place(o), printable(o, 16)) for o in dimension.options]
    if isinstance(dimension, Log):
        powers = range(
            math.ceil(math.log10(dimension.low) - 1e-9),
            math.floor(math.log10(dimension.high) + 1e-9) + 1,
        )
        if len(powers) > 1:
            return [(dimension.place(10.0**p), f"1e{p}") for p in powers]
    units = np.linspace(0, 1, 5)
    return [(float(u), f"{dimension.at(float(u)):.3g}") for u in units]


def _value_ticks(values: Sequence[float], monitor: str) -> list[tuple[float, str]]:
    low, high = _shown(values)
    return [
        (float(u), value_text(monitor, low + u * (high - low)))
        for u in np.linspace(0, 1, 5)
    ]


def progress_over_trials(
    trials: Sequence[Trial],
    default: float | None,
    mode: str,
    monitor: str,
    path: Path,
) -> None:
    """Draws each trial's result in the order of trying, the best so far, the default
    settings as a dashed line, and where rounds begin.

    Args:
      trials: the searched ones, in order.
      default: what the default settings reached.
      mode, monitor, path: as in ``parallel_coordinates``.
    """
    figure = new_figure(6.4, 3.8)
    axes = figure.add_subplot()
    at = np.arange(1, len(trials) + 1)
    values = np.array([trial.value for trial in trials])
    low, high = _shown([v for v in values if math.isfinite(v)])
    shown = np.clip(values, low, high)
    axes.plot(at, shown, "o", color="#999999", markersize=4, label="a trial")
    best = np.minimum if mode == "min" else np.maximum
    worst = math.inf if mode == "min" else -math.inf
    far = best.accumulate(np.where(np.isfinite(values), values, worst))
    seen = np.isfinite(far)
    axes.step(
        at[seen], far[seen], where="post", color="#0b4f8a", lw=2, label="best so far"
    )
    if default is not None and math.isfinite(default):
        axes.axhline(default, color="black", ls="--", lw=1.2, label="default settings")
    rounds = [trial.asked.round for trial in trials]
    for i in range(1, len(rounds)):
        if rounds[i] != rounds[i - 1]:
            axes.axvline(i + 0.5, color="#cccccc", lw=1.0)
    axes.set_xlabel("trial (vertical lines: a new round)")
    axes.set_ylabel(f"validation {monitor}")
    axes.legend(frameon=False, fontsize=9, loc="best")
    save_figure(figure, path)


def importance_bars(found: Importance, path: Path) -> None:
    """Draws the share that each hyper-parameter accounts for.

    Args:
      found: of the trials.
      path: the PNG to write.
    """
    shares: Mapping[str, float] = found.shares
    names = sorted(shares, key=lambda name: shares[name])
    figure = new_figure(6.0, 1.2 + 0.42 * len(names))
    axes = figure.add_subplot()
    bars = axes.barh(
        [printable(name, 30) for name in names],
        [shares[name] for name in names],
        color="#0b4f8a",
    )
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=9)
    axes.set_xlim(0, 1.12)
    axes.set_xlabel("share of the variance of ranks, by itself (forest ANOVA)")
    axes.set_title(f"the forest explains {max(found.explained, 0):.0%}", fontsize=10)
    save_figure(figure, path)
