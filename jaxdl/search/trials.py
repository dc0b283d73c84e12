"""Trials: what was tried and what came of it; rows of a table, and nothing else."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Asked:
    """A trial to be run.

    Attributes:
      number: which trial it is; in successive halving the same one comes back.
      round: from 0.
      values: hyper-parameter to value.
      share: of the whole training length.
    """

    number: int
    round: int
    values: Mapping[str, Any]
    share: float = 1.0


@dataclasses.dataclass(frozen=True)
class Trial:
    """A trial that was run.

    Attributes:
      asked: what it was.
      value: the monitored validation metric at its best; nan where it failed.
      best_step, step: of the best check, and of the last.
      status: "completed", "early_stopped" or "failed" (not finite).
      metrics: of the best state on the validation part.
    """

    asked: Asked
    value: float
    best_step: int
    step: int
    status: str
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A line of ``trials.jsonl``."""
        return {**dataclasses.asdict(self.asked), **_rest(self)}


def _rest(trial: Trial) -> dict[str, Any]:
    names = ("value", "best_step", "step", "status", "metrics")
    return {name: getattr(trial, name) for name in names}


def from_json(row: Mapping[str, Any]) -> Trial:
    """What ``Trial.to_json`` gave."""
    asked = {f.name: row[f.name] for f in dataclasses.fields(Asked)}
    metrics = {name: float(value) for name, value in row["metrics"].items()}
    rest = {name: row[name] for name in ("best_step", "step", "status")}
    return Trial(Asked(**asked), float(row["value"]), metrics=metrics, **rest)


def ranked(trials: Sequence[Trial], mode: str) -> list[Trial]:
    """The best first; of equals the one tried earlier; those that failed last.

    Args:
      trials: in the order they were tried.
      mode: "min" or "max" of their value.
    """

    def worth(trial: Trial) -> float:
        if not math.isfinite(trial.value):
            return math.inf
        return trial.value if mode == "min" else -trial.value

    return sorted(trials, key=worth)


def whole(trials: Sequence[Trial]) -> list[Trial]:
    """Those that trained for the whole length."""
    return [trial for trial in trials if trial.asked.share == 1.0]


def best(trials: Sequence[Trial], mode: str) -> Trial | None:
    """The best of those that trained for the whole length and did not fail."""
    for trial in ranked(whole(trials), mode)[:1]:
        return trial if math.isfinite(trial.value) else None
    return None
