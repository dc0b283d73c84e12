"""The line that tells how a run is going, while it goes.

On a terminal it stays in place; elsewhere (a file, a pipe) it is a plain line
every few seconds and at every check, without escape sequences.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jaxdl.runs.text import bare, duration_text, printable, value_text

if TYPE_CHECKING:
    from rich.console import Console

# Shown in places of their own; whatever else is handed over, under its name.
_PLACED = ("best", "best_step", "learning_rate", "examples_per_second")


@dataclass
class ProgressLine:
    """The line's state; made by ``progress``."""

    total_steps: int
    steps_per_epoch: float
    monitor: str
    clock: Callable[[], float]
    show: Callable[[str, bool], None]
    width: Callable[[], int]
    step: int = 0
    values: dict[str, Any] = field(default_factory=dict)
    _began: tuple[int, float] | None = None

    def update(
        self, step: int, values: Mapping[str, Any] | None = None, check: bool = False
    ) -> None:
        """Tells where the run is.

        Args:
          step: steps taken, of all.
          values: what is new: ``loss``, metrics, ``learning_rate`` and
            ``examples_per_second``; ``best`` and ``best_step`` for the best value
            of the monitored metric and when it was. What was told before and is
            not told anew stays on the line.
          check: whether validation was checked: the line is then printed even
            where lines are spaced in time.
        """
        self.step = int(step)
        self.values.update(values or {})
        if self._began is None:
            # The first steps compile: time left is counted from after them.
            self._began = (self.step, self.clock())
        self.show(self.text(self.width()), check)

    def seconds_left(self) -> float:
        """Time to the last step at the speed so far; nan before it is known."""
        if self.step >= self.total_steps:
            return 0.0
        if self._began is None or self.step <= self._began[0]:
            return float("nan")
        first, begun = self._began
        seconds_a_step = (self.clock() - begun) / (self.step - first)
        return seconds_a_step * (self.total_steps - self.step)

    def text(self, width: int) -> str:
        """The line; more than one where ``width`` columns do not hold it."""
        return "\n".join(_pack(self._fields(), width))

    def _fields(self) -> Iterator[str]:
        epochs = self.step / self.steps_per_epoch if self.steps_per_epoch else 0.0
        yield f"step {self.step:,}/{self.total_steps:,}"
        yield f"epoch {epochs:.1f}"
        for name in sorted(self.values, key=lambda name: bare(name) != "loss"):
            if name not in _PLACED:
                yield f"{printable(name)} {value_text(name, self.values[name])}"
        if self.values.get("best") is not None:
            best = value_text(self.monitor, self.values["best"])
            when = self.values.get("best_step")
            at = f" at {int(when):,}" if when is not None else ""
            name = f"{bare(self.monitor)} " if self.monitor else ""
            yield f"best {name}{best}{at}"
        if "learning_rate" in self.values:
            yield f"rate {float(self.values['learning_rate']):.3g}"
        if "examples_per_second" in self.values:
            yield f"{float(self.values['examples_per_second']):,.0f} examples/s"
        left = duration_text(self.seconds_left())
        if left != "-":
            yield f"left {left}"


def _pack(fields: Iterator[str], width: int) -> list[str]:
    """Fields two spaces apart, as many to a line as fit."""
    lines = [""]
    for item in fields:
        line = f"{lines[-1]}  {item}" if lines[-1] else item
        if len(line) <= width or not lines[-1]:
            lines[-1] = line
        else:
            lines.append(item)
    return lines


@contextmanager
def progress(
    total_steps: int,
    steps_per_epoch: float,
    monitor: str = "",
    to: "Console | None" = None,
    every_seconds: float = 10.0,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[ProgressLine]:
    """A context in which a run tells how it goes, with ``update``.

    Leaving the context, by whatever way, gives the terminal back as it was and
    leaves the last line on it.

    Args:
      total_steps: steps in all.
      steps_per_epoch: steps to one pass over the training part.
      monitor: the metric that ``best`` is of.
      to: where; stdout by default.
      every_seconds: at least so long lies between plain lines, checks aside.
    """
    from jaxdl.runs.screen import console

    to = to or console()
    if to.is_terminal and not to.is_dumb_terminal:
        from rich.live import Live
        from rich.text import Text

        with Live(console=to, refresh_per_second=4, transient=False) as live:
            yield ProgressLine(
                total_steps,
                steps_per_epoch,
                monitor,
                clock,
                show=lambda text, _: live.update(Text(text)),
                width=lambda: to.width,
            )
        return
    plain = _Plain(to, every_seconds, clock)
    line = ProgressLine(
        total_steps, steps_per_epoch, monitor, clock, plain.show, width=lambda: 10_000
    )
    try:
        yield line
    finally:
        plain.flush()


@dataclass
class _Plain:
    """Prints lines spaced in time, and whichever came last."""

    to: "Console"
    every_seconds: float
    clock: Callable[[], float]
    _next: float = float("-inf")
    _held: str | None = None

    def show(self, text: str, check: bool) -> None:
        self._held = text
        if check or self.clock() >= self._next:
            self.flush()
            self._next = self.clock() + self.every_seconds

    def flush(self) -> None:
        if self._held is not None:
            self.to.print(self._held, soft_wrap=True)
            self._held = None
