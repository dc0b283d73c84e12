"""What came of a search: tables, pictures, summary, a page."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxdl import search as space_room
from jaxdl.runs import comparison
from jaxdl.runs.folder import RunFolder, write_json, write_text
from jaxdl.runs.plots import search as plots
from jaxdl.runs.search import DEFAULT, label, searched
from jaxdl.runs.text import value_text
from jaxdl.search import Importance, Search, Trial

# Trials that the table on the screen shows.
SHOWN = 10
CAPTIONS = {
    "parallel_coordinates.png": "A line a trial, through its hyper-parameters to its "
    "result; the best five in black.",
    "progress.png": "Results in the order of trying; results far off are drawn at the "
    "edge.",
    "importance.png": "How much of the trials' ranks each hyper-parameter accounts "
    "for by itself: first-order functional ANOVA over a random forest.",
}


@dataclasses.dataclass(frozen=True)
class Found:
    """A finished search.

    Attributes:
      search: what was searched.
      monitor: the validation metric that decided.
      trials: all, that of the default settings among them.
      importance: None where there were too few trials.
    """

    search: Search
    monitor: str
    trials: Sequence[Trial]
    importance: Importance | None

    @property
    def default(self) -> Trial | None:
        """The trial of the default settings."""
        return next((t for t in self.trials if t.asked.number == DEFAULT), None)

    @property
    def best(self) -> Trial | None:
        """The best of all that trained for the whole length."""
        return space_room.best(self.trials, self.search.mode)


def gather(search: Search, trials: Sequence[Trial], monitor: str) -> Found:
    """What a table says: importance of the trials that trained for the same length."""
    found = searched(trials)
    shares = [trial.asked.share for trial in found]
    usual = max(set(shares), key=shares.count)
    alike = [trial for trial in found if trial.asked.share == usual]
    importance = space_room.importance(search.space, alike, search.mode)
    return Found(search, monitor, trials, importance)


def draw(found: Found, folder: RunFolder) -> dict[str, str]:
    """Draw ``plots/``; file name to caption."""
    about = (found.search.mode, found.monitor)
    mine = searched(found.trials)
    where = folder.plots
    plots.parallel_coordinates(
        found.search.space, mine, *about, where / "parallel_coordinates.png"
    )
    default = found.default.value if found.default else None
    plots.progress_over_trials(mine, default, *about, where / "progress.png")
    names = ["parallel_coordinates.png", "progress.png"]
    if found.importance is not None:
        plots.importance_bars(found.importance, where / "importance.png")
        names.append("importance.png")
    return {name: CAPTIONS[name] for name in names}


def tables(
    found: Found, test: Mapping[str, float], headline: str
) -> list[comparison.Table]:
    """Best against default, the best trials, importance.

    Args:
      found: the search.
      test: metrics of the best trial on the test part, which was read for it alone.
      headline: of those, the one to tell.
    """
    parts = [_outcome(found, test, headline), _best_trials(found)]
    if found.importance is not None:
        parts.append(_importance(found.importance))
    return parts


def _outcome(
    found: Found, test: Mapping[str, float], headline: str
) -> comparison.Table:
    rows = []
    for name, trial in (
        ("best trial", found.best),
        ("default settings", found.default),
    ):
        if trial is not None:
            mine = trial is found.best and headline in test
            rows.append(
                [
                    f"{name} ({label(trial.asked)})",
                    _text(found.monitor, trial.value),
                    _text(headline, test[headline]) if mine else "not read",
                    _values(trial.asked.values),
                ]
            )
    best, default = found.best, found.default
    beaten = best is not default
    return comparison.Table(
        title="Best against default settings",
        about=f"chosen by validation {found.monitor} among {len(found.trials)} trials, "
        "so that the best one's validation figure flatters it; the test part was read "
        f"once, for it{'' if beaten else '; no trial beat the default settings'}",
        columns=("trial", f"validation {found.monitor}", f"test {headline}", "values"),
        rows=rows,
    )


def _best_trials(found: Found) -> comparison.Table:
    names = list(found.search.space)
    order = space_room.ranked(space_room.whole(found.trials), found.search.mode)
    return comparison.Table(
        title=f"The best {min(SHOWN, len(order))} of {len(found.trials)} trials",
        about=f"strategy {found.search.strategy}, {found.search.rounds} rounds, "
        f"search seed {found.search.seed}; all of them in trials.jsonl",
        columns=(
            *("trial", "round", *names, f"validation {found.monitor}"),
            *("best step", "end"),
        ),
        rows=[
            [
                label(trial.asked),
                str(trial.asked.round + 1),
                *(_number(trial.asked.values[name]) for name in names),
                _text(found.monitor, trial.value),
                str(trial.best_step),
                trial.status,
            ]
            for trial in order[:SHOWN]
        ],
    )


def _importance(found: Importance) -> comparison.Table:
    order = sorted(found.shares, key=lambda name: -found.shares[name])
    return comparison.Table(
        title="Importance",
        about="share: of the variance of the trials' ranks that each accounts for by "
        "itself (first-order functional ANOVA over a random forest); correlation: "
        "Spearman's with the rank, above 0 more is better; the forest explains "
        f"{max(found.explained, 0):.0%} of ranks it has not seen (out of bag)",
        columns=("hyper-parameter", "share", "correlation"),
        rows=[
            [
                name,
                f"{found.shares[name]:.2f}",
                "-"
                if found.correlations[name] is None
                else f"{found.correlations[name]:+.2f}",
            ]
            for name in order
        ],
    )


def _text(name: str, value: float) -> str:
    return value_text(name, value) if math.isfinite(value) else "failed"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in values.items())


def summary(found: Found, test: Mapping[str, float], headline: str) -> dict[str, Any]:
    """The outcome for scripts."""

    def told(trial: Trial | None) -> dict[str, Any] | None:
        return None if trial is None else trial.to_json()

    importance = found.importance
    return {
        "trials": len(found.trials),
        "failed": sum(t.status == "failed" for t in found.trials),
        "strategy": found.search.strategy,
        "space": space_room.describe(found.search.space),
        "monitor": found.monitor,
        "best": told(found.best),
        "default": told(found.default),
        "headline": headline,
        "test": dict(test),
        "importance": None if importance is None else dataclasses.asdict(importance),
    }


def write(
    folder: RunFolder,
    found: Found,
    test: Mapping[str, float],
    headline: str,
    more: Mapping[str, Any],
) -> str:
    """Write ``comparison.md``, ``report.html``, pictures and last ``summary.json``;
    the tables as text.

    Args:
      folder: of the search.
      found, test, headline: as in ``tables``.
      more: for the summary: experiment, status, settings, seconds.
    """
    parts = tables(found, test, headline)
    text = comparison.markdown(parts)
    write_text(folder.path / "comparison.md", f"{text}\n")
    captions = draw(found, folder)
    comparison.write_page(folder, "search", parts, captions, more["settings"])
    write_json(folder.summary, {**more, **summary(found, test, headline)})
    return text
