"""The recorder: what ``fit`` tells goes to files, TensorBoard and the screen."""

import errno
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import jax
import numpy as np

from jaxdl import train
from jaxdl.parallel import hosts
from jaxdl.runs import progress_line, screen, shown, writers
from jaxdl.runs.folder import RunFolder
from jaxdl.runs.times import COMPILED, Times
from jaxdl.train.task import Plan, Task


class Recorder:
    """Writers, progress line and clocks of one run; a context manager."""

    def __init__(
        self,
        folder: RunFolder,
        task: Task,
        plan: Plan,
        log: Any = None,
        members: int = 1,
        began: float | None = None,
    ) -> None:
        """``log`` takes the metrics in place of the folder's own files; each step is
        one of so many ``members``, whose values are shown by their mean; ``began`` as
        of ``Request``."""
        self._plan = plan
        self._path = folder.path
        self._unwritten: set[str] = set()
        self.warnings: list[str] = []
        self._examples = task.data.train.size
        self._step_examples = members * plan.batch_size
        self._log = log or writers.run_log(folder.metrics, folder.path, self.warn)
        self._speed = writers.SpeedLog(folder.speed)
        self._speed_path = folder.speed
        self._show: Any = None
        if task.show is not None:
            self._show = shown.shower(
                task.show, folder.samples, plan.steps, plan.evaluate_every
            )
        self._stack = ExitStack()
        self._line: Any = None
        self._began = time.perf_counter()
        self._earlier = 0.0  # seconds of the run before it was resumed
        self._last = (0, self._began)
        self._spent: dict[str, float] = defaultdict(float)
        self._shown: tuple[int, float] | None = None
        self._stepped = False
        self._compiling: list[float] = []
        self._thread = threading.get_ident()
        self._before = 0.0  # of the seconds compiled, those before the first step
        self._steady = (0, 0.0)  # steps and seconds that were training alone
        self._times = Times(began)
        self._first = 0  # steps taken before this process took up the run

    def __enter__(self) -> "Recorder":
        jax.monitoring.register_event_duration_secs_listener(self._heard)
        self._line = self._stack.enter_context(
            progress_line.progress(
                self._plan.steps,
                self._examples / self._plan.batch_size,
                self._plan.rule.monitor,
            )
        )
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close_line()
        try:
            self._log.close()
        except OSError:
            if exception[0] is None:
                raise
        jax.monitoring.unregister_event_duration_listener(self._heard)

    def _heard(self, event: str, duration_secs: float, **_: Any) -> None:
        if event != COMPILED:
            return
        self._compiling.append(duration_secs)
        # What other threads compile costs as long as this one waits for it.
        if threading.get_ident() == self._thread:
            self._times.compiled(duration_secs)
            self._spent["compile"] += duration_secs

    @property
    def watch(self) -> train.Watch:
        """What to hand to ``fit``."""
        return train.Watch(
            restored=self._restored,
            block=self._block,
            metrics=self._metrics,
            checked=self._checked,
            timed=self._timed,
            warned=self.warn,
            settled=self._settled,
        )

    @property
    def compile_seconds(self) -> float:
        """Time that XLA took to compile, or to read what it had compiled before."""
        return sum(self._compiling)

    @property
    def wall_seconds(self) -> float:
        """Of the whole run, what came before a resume included."""
        return self._earlier + time.perf_counter() - self._began

    @property
    def examples_per_second(self) -> float | None:
        """Training speed without compiling, checking and saving."""
        steps, seconds = self._steady
        return steps * self._step_examples / seconds if seconds > 0 else None

    def warn(self, line: str) -> None:
        """Say at once what went wrong, and keep it for the summary."""
        self.warnings.append(line)
        screen.warn(line)

    def test(self, step: int, values: Mapping[str, float]) -> None:
        """Log the test metrics, once, after training."""
        self._log.append(step, "test", values)

    def close_line(self) -> None:
        """Leave the progress line as it stands; what follows prints below it."""
        self._times.ended()
        self._stack.close()

    def account(
        self,
        step: int,
        operations: Callable[[], int],
        peak: Callable[[float], float | None],
    ) -> dict[str, float]:
        """Add up where this process's time went, for the last row of ``speed.jsonl``.

        Args:
          step: steps taken.
          operations: floating-point operations of a step.
          peak: the most that the devices do in a second, which may depend on what they
            did; None where that is not known.
        """
        parts = self._times.parts()
        seconds = parts["step"] + parts["data"]
        rate = operations() * (step - self._first) / max(seconds, 1e-9)
        best = peak(rate) if rate else None
        account = {**parts, "operations_per_second": rate}
        if best:
            account["peak_operations_per_second"] = best
        row = {"wall_seconds": self.wall_seconds, "account": account}
        self._optional("speed.jsonl", lambda: self._speed.append(step, row))
        return account

    def _restored(self, step: int, progress: Any, state: Any) -> None:
        self._log.cut(step)
        self._speed.cut(step)
        rows = writers.read(self._speed_path)
        self._earlier = float(rows[-1]["wall_seconds"]) if rows else 0.0
        self._last, self._first = (step, time.perf_counter()), step
        self._before = self._spent["compile"]
        self._times.started()
        if step:
            self._line.update(step, self._best(progress), check=True)
        else:
            self._shows(step, state)

    def _block(self, step: int, values: Mapping[str, Any]) -> None:
        now = time.perf_counter()
        told = ("loss", self._plan.rule.monitor, "learning_rate")
        line = {name: float(np.mean(values[name])) for name in told if name in values}
        if self._shown is not None:
            before, then = self._shown
            line["examples_per_second"] = (
                (step - before) * self._step_examples / max(now - then, 1e-9)
            )
        self._shown = (step, now)
        self._line.update(step, line)

    def _metrics(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        self._log.append(step, split, values)
        if split == "validation":
            monitor = self._plan.rule.monitor
            value = float(np.mean(values[monitor]))
            self._line.update(step, {f"validation {monitor}": value})

    def _checked(self, step: int, progress: Any, state: Any) -> None:
        self._line.update(step, self._best(progress), check=True)
        before, then = self._last
        now = time.perf_counter()
        compiling = self._spent["compile"] - self._before
        apart = compiling + self._spent["evaluation"] + self._spent["saving"]
        training = max(now - then - apart, 1e-9)
        steps = step - before
        if compiling == 0:
            self._steady = (self._steady[0] + steps, self._steady[1] + training)
        row = {
            "steps_per_second": steps / training,
            "examples_per_second": steps * self._step_examples / training,
            "wall_seconds": self.wall_seconds,
            **{f"{name}_seconds": s for name, s in sorted(self._spent.items())},
        }
        self._optional("speed.jsonl", lambda: self._speed.append(step, row))
        self._shows(step, state)
        self._spent.clear()
        self._before = 0.0
        self._last, self._shown = (step, time.perf_counter()), None

    def _shows(self, step: int, state: Any) -> None:
        if self._show is not None:
            self._optional("what it shows", lambda: self._show(step, state))

    def _optional(self, what: str, write: Callable[[], None]) -> None:
        """Write what training can do without; where that fails, say so once."""
        try:
            # Or it would be made anew, with little in it; where several processes bring
            # together what is shown, all must.
            if hosts.count() == 1 and not self._path.is_dir():
                raise FileNotFoundError(errno.ENOENT, f"{self._path} is gone")
            write()
        except OSError as error:
            if what not in self._unwritten:
                self._unwritten.add(what)
                reason = error.strerror or error
                self.warn(f"{what} of the run cannot be written ({reason}).")

    def _settled(self) -> bool:
        settled = self._log.settled()
        if not settled and hosts.count() > 1:
            raise OSError("metrics cannot be written, and the other processes save.")
        return settled

    def _best(self, progress: Any) -> dict[str, Any]:
        """Value and step of the best check, of all members where there are several."""
        steps = np.atleast_1d(progress.best_step)
        values = np.atleast_1d(progress.best_value)[steps >= 0]
        if not values.size:
            return {}
        pick = np.argmin if self._plan.rule.mode == "min" else np.argmax
        at = int(pick(values))
        return {"best": float(values[at]), "best_step": int(steps[steps >= 0][at])}

    def _timed(self, what: str, seconds: float) -> None:
        if what == "dispatch" and not self._stepped:
            self._stepped = True
            self._spent["first_step"] = self._times.since_start()
        for name, part in self._times.timed(what, seconds).items():
            self._spent[name] += part
