"""Ctrl-C and SIGTERM: the first asks the loop to save, the second ends at once."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass
class Caught:
    """The signal that came, or 0; whether it is raised rather than only noted."""

    number: int = 0
    raised: bool = False

    def __call__(self) -> bool:
        return self.number != 0

    @property
    def exit_code(self) -> int:
        """128 + signal, as a shell has it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.number if self.number else 0

    @contextlib.contextmanager
    def raising(self) -> Iterator[None]:
        """While inside, a signal ends what is done: it, or one noted before, raises
        KeyboardInterrupt."""
        self.raised = True
        try:
            if self.number:
                raise KeyboardInterrupt
            yield
        finally:
            self.raised = False


@contextlib.contextmanager
def catch() -> Iterator[Caught]:
    """While inside, the first SIGINT or SIGTERM is only noted.

    Elsewhere than in the main thread (a notebook's worker, say) no handler can
    be set, and signals do what they did before.
    """
    caught = Caught()
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before: dict[Any, Any] = {}

    def note(number: int, _frame: object) -> None:
        caught.number = number
        for name in before:
            signal.signal(name, signal.SIG_DFL)
        if caught.raised:
            raise KeyboardInterrupt

    try:
        for name in (signal.SIGINT, signal.SIGTERM):
            before[name] = signal.signal(name, note)
        yield caught
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
