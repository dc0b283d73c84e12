"""Noticing that a step is compiled again, and why: a shape that changed on the way.

A dispatch that compiles costs seconds where one takes milliseconds, and says nothing.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax

from jaxdl.train.shapes import shapes
from jaxdl.train.step import Step

# What JAX calls the time XLA takes.
_COMPILED = "/jax/core/compile/backend_compile_duration"


@contextmanager
def counting() -> Iterator[Callable[[], int]]:
    """While inside, a function that counts what this thread has compiled so far."""
    count, thread = 0, threading.get_ident()

    def heard(event: str, duration_secs: float, **_: Any) -> None:
        nonlocal count
        count += event == _COMPILED and threading.get_ident() == thread

    jax.monitoring.register_event_duration_secs_listener(heard)
    try:
        yield lambda: count
    finally:
        jax.monitoring.unregister_event_duration_listener(heard)


def noticing(
    step: Step, compiled: Callable[[], int], warn: Callable[[str], None]
) -> Step:
    """A compiled step that says, in a line, when it is compiled anew and what of its
    arguments changed; it does nothing else to them.

    Args:
      step: compiled, taking a state and a batch.
      compiled: how often this thread has compiled, from ``counting``.
      warn: told.
    """
    last: dict[str, str] = {}

    def run(state: Any, batch: Any) -> Any:
        nonlocal last
        before = compiled()
        result = step(state, batch)
        # Its first compilation may have been on another thread.
        if not last or compiled() > before:
            # Arrays that were given away still know their types.
            now = shapes({"state": state, "batch": batch}, weak=True)
            changed = [
                f"{name} is {now.get(name, 'gone')}, not {last.get(name, 'there')}"
                for name in dict.fromkeys([*last, *now])
                if last.get(name) != now.get(name)
            ]
            if last and changed:
                warn(f"the step was compiled again: {'; '.join(changed[:3])}.")
            last = now
        return result

    return run
