"""Judges: what a check means for a run: what was best, and whether to stop.

The loop asks a judge and knows no more. ``SINGLE`` judges one state;
``jaxdl.train.population.JUDGE`` a stack of members, each by itself.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from jaxdl.train.progress import Rule, observe, start, with_rate


class Verdict(NamedTuple):
    """What ``Judge.observe`` gives."""

    progress: PyTree
    state: PyTree


@dataclasses.dataclass(frozen=True)
class Judge:
    """Functions over a progress, which lies beside the state in every checkpoint.

    Attributes:
      start: ``(rule, state) -> progress`` before the first check.
      observe: ``(rule, progress, state, values, step) -> Verdict`` of a check.
      stopped: ``(progress, state)``: whether training is over; asked at checks.
      best_step: ``progress -> int``: the checkpoint to keep; -1 where the progress
        itself holds what was best.
      failed: ``metrics`` of steps, stacked: whether the run must end for them.
      best: ``(progress, state) -> state``: the best one as far as the progress holds
        it, else None.
    """

    start: Callable[[Rule, PyTree], PyTree]
    observe: Callable[[Rule, PyTree, PyTree, Mapping[str, Any], int], Verdict]
    stopped: Callable[[PyTree, PyTree], bool]
    best_step: Callable[[PyTree], int]
    failed: Callable[[Mapping[str, Any]], bool]
    best: Callable[[PyTree, PyTree], PyTree | None]


def _observe(
    rule: Rule, progress: Any, state: PyTree, values: Mapping[str, Any], step: int
) -> Verdict:
    held = jax.device_get(progress)
    with np.errstate(invalid="ignore", over="ignore"):  # as XLA does
        new = observe(rule, held, values[rule.monitor], step, np)
    new = jax.tree.map(lambda x, old: np.asarray(x, old.dtype), new, held)
    if float(new.factor) != float(progress.factor):
        state = with_rate(state, new)
    return Verdict(new, state)


def _failed(steps: Mapping[str, Any]) -> bool:
    return "nonfinite" in steps and bool(np.any(steps["nonfinite"].total))


SINGLE = Judge(
    start=start,
    observe=_observe,
    stopped=lambda progress, _: bool(progress.stopped),
    best_step=lambda progress: int(progress.best_step),
    failed=_failed,
    best=lambda *_: None,
)
