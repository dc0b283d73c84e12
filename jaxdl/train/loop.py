"""The loop: restore, dispatch, read what came before, check, save, stop.

It knows nothing of models, losses or data sets: a step, batches as a function
of the step's number, and a way to run.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from jaxdl import metrics as measure
from jaxdl.batch import Batch
from jaxdl.train import recompiling
from jaxdl.train.checkpoints import Checkpoints
from jaxdl.train.judge import SINGLE, Judge
from jaxdl.train.packing import unpack
from jaxdl.train.progress import Rule
from jaxdl.train.state import copied, size_bytes
from jaxdl.train.step import Step

# feed(step) is one batch; feed(step, count) is count of them, stacked.
Feed = Callable[..., Batch]
Values = dict[str, Any]
# A state's validation metrics, or what waits for them while the device measures.
Evaluate = Callable[[PyTree], Values | Callable[[], Values]]

# How often metrics are read while the device works.
READ_SECONDS = 0.25

# The best state waits in memory for the next save, up to this size, as it may improve
# many times before it is worth one; and stays there, to be tested at the end.
KEPT_BYTES = 2**28

# A check that comes so soon is no long wait for what is to be saved.
SOON_SECONDS = 2.0


def _nothing(*_: Any, **__: Any) -> None:
    return None


def save_interval(seconds: float) -> float:
    """Seconds between saves, and so of work that a kill may cost, where saving takes
    so many: 10, or up to 60 so that saving takes no more than a hundredth."""
    return min(max(10.0, 100 * seconds), 60.0)


@dataclasses.dataclass(frozen=True)
class Watch:
    """What a run wants to hear while it trains; every function may be left out.

    Attributes:
      restored: ``(step, progress, state)`` once, before the first step.
      block: ``(step, values)`` after each dispatch whose metrics were read.
      metrics: ``(step, split, values)`` at each check: to be logged.
      checked: ``(step, progress, state)`` after each check.
      settled: whether all that was told is kept; until then no checkpoint is saved,
        which could be newer than what was told.
      warned: ``line``: what costs time or may be wrong.
      timed: ``(what, seconds)`` of the loop's thread: "data" (the device had nothing
        left to do when the batch was there), "feeding" (the batch was there before
        that), "dispatch", "waiting" (for the device), "evaluation", "saving",
        "restoring".
    """

    restored: Callable[[int, Any, Any], None] = _nothing
    block: Callable[[int, Values], None] = _nothing
    metrics: Callable[[int, str, Values], None] = _nothing
    checked: Callable[[int, Any, Any], None] = _nothing
    timed: Callable[[str, float], None] = _nothing
    warned: Callable[[str], None] = _nothing
    settled: Callable[[], bool] = lambda: True


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What ``fit`` returns.

    Attributes:
      state: after the last step.
      best: the state at the best check (``state`` where nothing was checked, or
        where that check's checkpoint is lost).
      best_step: the step that ``best`` is of; -1 where nothing was checked.
      progress: best value and step, and whether patience ran out.
      status: "completed", "early_stopped", "interrupted" or "failed" (a loss or
        gradient that is not finite).
      step: steps taken.
    """

    state: PyTree
    best: PyTree
    best_step: int
    progress: Any
    status: str
    step: int


def fit(
    state: PyTree,
    step: Step,
    feed: Feed,
    *,
    steps: int,
    way: Callable[[Step], Step] = lambda step: jax.jit(step, donate_argnums=0),
    block_way: Callable[[Step], Step] | None = None,
    steps_per_call: int = 1,
    evaluate: Evaluate | None = None,
    evaluate_every: int = 0,
    rule: Rule | None = None,
    judge: Judge = SINGLE,
    checkpoints: Checkpoints | None = None,
    save_every: int = 0,
    watch: Watch | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    agree: Callable[[bool], bool] | None = None,
) -> Fitted:
    """Train for ``steps`` steps, or until patience runs out.

    Args:
      state: any pytree of arrays; it is copied, not consumed. When
        ``checkpoints`` hold a newer one of its structure, that is continued.
      step: pure ``(state, batch) -> (state, metrics)``; its metrics may be packed
        (``jaxdl.train.packing``).
      feed: batches as a function of the step's number.
      way: how a step runs; a function from step to compiled step.
      block_way: the same for ``steps_per_call`` steps in one dispatch.
      steps_per_call: blocks are cut at its absolute multiples, so that a
        resumed run cuts them alike; a remainder goes step by step.
      evaluate: state to validation metrics, every ``evaluate_every`` steps and
        after the last; or, better, to a function that waits for them
        (``dispatch_evaluation``): until then the device measures while the host reads
        and logs the steps before.
      rule: which metric is watched, and when to stop; the loss, never.
      judge: what a check means; that of a population where the state is one.
      checkpoints: where state and progress are kept; None keeps the best in
        memory only.
      save_every: save at multiples of so many steps as well; else at checks, when
        the last save is a while ago. No save is without the best state so far, and
        the end is always saved.
      watch: functions told of what happens.
      interrupted: asked between dispatches; true saves and returns.
      agree: where several processes train together, whether any of them says so. All
        see the same metrics, but at times of their own; nothing that they must do
        alike may hang on a clock, or on who reads first.

    Raises:
      ValueError: when the checkpoints hold a state of another structure.
    """
    watch = watch or Watch()
    block = block_way(step) if block_way and steps_per_call > 1 else None
    with recompiling.counting() as compiled:
        noticing = partial(recompiling.noticing, compiled=compiled, warn=watch.warned)
        plan = _Plan(
            feed=feed,
            single=noticing(way(step)),
            block=None if block is None else noticing(block),
            steps=steps,
            steps_per_call=steps_per_call,
            evaluate=evaluate,
            evaluate_every=evaluate_every,
            rule=rule or Rule(),
            judge=judge,
            checkpoints=checkpoints,
            save_every=save_every,
            watch=watch,
            interrupted=interrupted,
            agree=agree,
        )
        return _fitted(plan, _train(plan, _begin(plan, state)))


def _train(plan: "_Plan", run: "_Now") -> "_Now":
    """Dispatch, read, check, save, until the steps are done or something ends it."""
    plan.watch.restored(run.at, run.progress, run.state)
    while run.at < plan.steps and run.status == "completed":
        run = _advance(plan, run)
        check = plan.evaluate is not None and _due(
            run.at, plan.evaluate_every, plan.steps
        )
        stop = plan.interrupted()
        whole = check or stop or run.at == plan.steps or _saving(plan, run.at)
        measured = _measure(plan, run) if check else None
        run = _read(plan, run, everything=whole)
        if run.status == "failed":
            return _save_best(plan, run)
        if measured is not None:
            run = _check(plan, run, measured)
        over = check and plan.judge.stopped(run.progress, run.state)
        if over or stop or _saving(plan, run.at):
            run = _save(plan, run)
        elif check and _overdue(plan, run):
            run = _save_in_passing(plan, run)
        if over:
            run = run._replace(status="early_stopped")
        elif stop and run.at < plan.steps:
            run = run._replace(status="interrupted")
    return run


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What stays the same from step to step; the arguments of ``fit``."""

    feed: Feed
    single: Step
    block: Step | None
    steps: int
    steps_per_call: int
    evaluate: Evaluate | None
    evaluate_every: int
    rule: Rule
    judge: Judge
    checkpoints: Checkpoints | None
    save_every: int
    watch: Watch
    interrupted: Callable[[], bool]
    agree: Callable[[bool], bool] | None


class _Best(NamedTuple):
    """The state of the best check, and what is saved beside it."""

    at: int
    state: PyTree
    progress: Any
    saved: bool = False


class _Now(NamedTuple):
    """Where the run stands."""

    at: int
    state: PyTree
    progress: Any
    totals: Any  # sums of the training metrics since the last check
    pending: tuple[tuple[int, int, Any], ...]  # (step after, steps, metrics) unread
    best: _Best | None  # where it is in memory
    status: str
    read_at: float
    saved_at: float
    nonfinite: bool = False  # among the metrics read
    large: bool = False  # whether the best is unsaved, and too large to wait
    checked_at: float = -math.inf
    between: float = math.inf  # seconds between the last two checks


def _begin(plan: _Plan, state: PyTree) -> _Now:
    """Where to begin: restored, or as given."""
    state = copied(state)  # steps donate theirs
    at, progress, totals = 0, plan.judge.start(plan.rule, state), None
    if plan.checkpoints is not None:
        began = time.perf_counter()
        restored = plan.checkpoints.restore(state, progress)
        plan.watch.timed("restoring", time.perf_counter() - began)
        if restored is not None:
            at, state, progress = restored.step, restored.state, restored.progress
            if restored.totals is not None:
                totals = measure.from_json(restored.totals)
    stopped = plan.judge.stopped(progress, state)
    status = "early_stopped" if stopped else "completed"
    now = time.perf_counter()
    return _Now(at, state, progress, totals, (), None, status, now, now)


def _due(at: int, every: int, steps: int) -> bool:
    return at == steps or (every > 0 and at % every == 0)


def _overdue(plan: _Plan, run: _Now) -> bool:
    """When to save is a matter of time alone: it changes no result."""
    unsaved = run.large or (run.best is not None and not run.best.saved)
    if plan.checkpoints is None or (plan.save_every and not unsaved):
        return False
    often = save_interval(plan.checkpoints.seconds)
    late = run.large or time.perf_counter() - run.saved_at > often
    return late if plan.agree is None else plan.agree(late)


def _saving(plan: _Plan, at: int) -> bool:
    return plan.checkpoints is not None and _due(at, plan.save_every, plan.steps)


def _advance(plan: _Plan, run: _Now) -> _Now:
    """Dispatch one step, or a whole block where no boundary lies within it."""
    at, size = run.at, plan.steps_per_call
    every = [n for n in (plan.evaluate_every, plan.save_every) if n > 0]
    end = min([plan.steps, *(at - at % n + n for n in every)])
    step, count = plan.single, 1
    if plan.block is not None and at % size == 0 and at + size <= end:
        step, count = plan.block, size
    began = time.perf_counter()
    batch = plan.feed(at, count) if step is plan.block else plan.feed(at)
    fed = time.perf_counter()
    plan.watch.timed("feeding" if _busy(run) else "data", fed - began)
    state, metrics = step(run.state, batch)
    plan.watch.timed("dispatch", time.perf_counter() - fed)
    pending = (*run.pending, (at + count, count, metrics))
    return run._replace(at=at + count, state=state, pending=pending)


def _busy(run: _Now) -> bool:
    """Whether the device still computes what was dispatched last: the host has lost it
    no time then."""
    last = jax.tree.leaves(run.pending[-1][-1] if run.pending else ())[-1:]
    # JAX's types do not know of is_ready, which its arrays have.
    return any(not leaf.is_ready() for leaf in last if hasattr(leaf, "is_ready"))


def _read(plan: _Plan, run: _Now, everything: bool) -> _Now:
    """Add metrics to the sums. In passing, a few times a second, and never those
    of the last dispatch: the device must not wait for the host."""
    began = time.perf_counter()
    if not everything and began - run.read_at < READ_SECONDS:
        return run
    if plan.checkpoints is not None:
        plan.checkpoints.poll()
    ready = run.pending if everything else run.pending[:-1]
    if not ready:
        return run
    blocks = jax.device_get([metrics for _, _, metrics in ready])
    now = time.perf_counter()
    plan.watch.timed("waiting", now - began)
    rows = [
        block if count > 1 else jax.tree.map(lambda x: np.asarray(x)[None], block)
        for (_, count, _), block in zip(ready, blocks, strict=True)
    ]
    steps = unpack(jax.tree.map(lambda *leaves: np.concatenate(leaves), *rows))
    totals = measure.accumulate(run.totals, steps)
    nonfinite = run.nonfinite or plan.judge.failed(steps)
    status = run.status
    if nonfinite and (everything or plan.agree is None):
        status = "failed"
    last = jax.tree.map(lambda x: x[-1:], steps)
    plan.watch.block(ready[-1][0], measure.read(measure.accumulate(None, last)))
    rest = () if everything else run.pending[-1:]
    return run._replace(
        totals=totals, pending=rest, status=status, read_at=now, nonfinite=nonfinite
    )


def _measure(plan: _Plan, run: _Now) -> Callable[[], Values]:
    """Begin to measure the state, before its step's metrics are waited for."""
    assert plan.evaluate is not None
    began = time.perf_counter()
    values = plan.evaluate(run.state)
    plan.watch.timed("evaluation", time.perf_counter() - began)
    return values if callable(values) else lambda: values


def _check(plan: _Plan, run: _Now, measured: Callable[[], Values]) -> _Now:
    """Log the training metrics since the last check and the validation's, observe, and
    keep what is best."""
    at, rule = run.at, plan.rule
    if run.totals is not None:
        plan.watch.metrics(at, "train", measure.read(run.totals))
    began = time.perf_counter()
    values = measured()
    plan.watch.timed("evaluation", time.perf_counter() - began)
    if rule.monitor not in values:
        raise ValueError(
            f"monitor is {rule.monitor!r}, which validation does not measure: "
            f"give one of {', '.join(sorted(values))}."
        )
    plan.watch.metrics(at, "validation", values)
    progress, state = plan.judge.observe(rule, run.progress, run.state, values, at)
    told = time.perf_counter()
    plan.watch.checked(at, progress, state)
    now = time.perf_counter()
    run = run._replace(
        # What is shown meanwhile is no training that a kill would cost.
        saved_at=run.saved_at + now - told,
        state=state,
        progress=progress,
        totals=None,
        checked_at=now,
        between=now - run.checked_at,
    )
    if plan.judge.best_step(progress) != at:
        return run
    small = size_bytes(state) <= KEPT_BYTES
    if small or plan.checkpoints is None:
        kept = _Best(at, copied(state), progress)
        return run._replace(best=kept)
    return run._replace(best=None, large=True)


def _save_best(plan: _Plan, run: _Now) -> _Now:
    """Save the best state, where it is in memory alone."""
    best = run.best
    if plan.checkpoints is None or best is None or best.saved:
        return run
    if not plan.watch.settled():
        return run
    began = time.perf_counter()
    plan.checkpoints.save(best.at, best.state, best.progress, None, best.at)
    plan.watch.timed("saving", time.perf_counter() - began)
    return run._replace(best=best._replace(saved=True))


def _save_in_passing(plan: _Plan, run: _Now) -> _Now:
    """A save that is due by the clock alone. Where the best is an earlier state it goes
    first, and this one's turn comes at the next check, if that is soon: a second save
    would wait until the first is on the disk, a tenth of a second and more."""
    apart = run.best is not None and run.best.at != run.at and not run.best.saved
    soon = plan.agree is None and run.between < SOON_SECONDS
    return _save_best(plan, run) if apart and soon else _save(plan, run)


def _save(plan: _Plan, run: _Now) -> _Now:
    if plan.checkpoints is None or not plan.watch.settled():
        return run
    if run.best is not None and run.best.at != run.at:
        run = _save_best(plan, run)
    began = time.perf_counter()
    totals = None if run.totals is None else measure.to_json(run.totals)
    best_step = plan.judge.best_step(run.progress)
    plan.checkpoints.save(run.at, run.state, run.progress, totals, best_step)
    now = time.perf_counter()
    plan.watch.timed("saving", now - began)
    best = None if run.best is None else run.best._replace(saved=True)
    return run._replace(saved_at=now, best=best, large=False)


def _fitted(plan: _Plan, run: _Now) -> Fitted:
    best, best_step = _best(plan, run)
    return Fitted(run.state, best, best_step, run.progress, run.status, run.at)


def _best(plan: _Plan, run: _Now) -> tuple[PyTree, int]:
    """The state of the best check and its step: from memory, from disk, or the last."""
    best_step = plan.judge.best_step(run.progress)
    held = plan.judge.best(run.progress, run.state)
    if held is not None:
        return held, best_step
    if best_step in (-1, run.at):
        return run.state, best_step
    held = run.best.state if run.best and run.best.at == best_step else None
    # Later commands will read it from the disk: where it is lost there, that is told.
    if held is not None and (
        plan.checkpoints is None or plan.checkpoints.is_whole(best_step)
    ):
        return held, best_step
    assert plan.checkpoints is not None  # else it is in memory
    began = time.perf_counter()
    plan.checkpoints.wait()
    plan.watch.timed("saving", time.perf_counter() - began)
    began = time.perf_counter()
    restored = plan.checkpoints.restore(run.state, run.progress, best_step)
    plan.watch.timed("restoring", time.perf_counter() - began)
    if restored is None:
        plan.checkpoints.tell_best_lost(best_step, run.at)
        return run.state, run.at
    return restored.state, best_step
