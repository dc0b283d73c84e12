"""The witness of a process that writes nothing: of several, all but the first."""

from pathlib import Path
from typing import Any

from jaxdl import train
from jaxdl.runs import shown
from jaxdl.runs.machine import Machine


class Follower:
    """Takes part in bringing together the states that the first process shows."""

    def __init__(self, machine: Machine) -> None:
        """``machine``: of the run; its task shows or does not."""
        self._here = machine.way.here
        self._bring: Any = None
        if machine.task.show is not None:
            plan = machine.plan
            self._bring = shown.shower(
                self._nothing, Path(), plan.steps, plan.evaluate_every
            )

    @property
    def watch(self) -> train.Watch:
        """What to hand to ``fit``."""
        return train.Watch(restored=self._restored, checked=self._checked)

    def close_line(self) -> None:
        """It has none."""

    def warn(self, line: str) -> None:
        """The first process says it."""

    def _restored(self, step: int, progress: Any, state: Any) -> None:
        if not step:
            self._checked(step, progress, state)

    def _checked(self, step: int, progress: Any, state: Any) -> None:
        if self._bring is not None:
            self._bring(step, state)

    def _nothing(self, state: Any) -> dict[str, str]:
        self._here(state)
        return {}
