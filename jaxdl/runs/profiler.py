"""A trace of some steps, which TensorBoard and Perfetto open."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import jax

from jaxdl.train import Watch

# The first dispatch compiles; a trace of all steps would be as large as useless.
FIRST, COUNT = 2, 20


@contextlib.contextmanager
def profiled(watch: Watch, folder: Path | None, dispatches: int) -> Iterator[Watch]:
    """The watch, tracing dispatches 3 to 22 into ``folder/plugins/profile``.

    A run that ends before is traced to its end, one of fewer than three
    ``dispatches`` from its beginning. None for the folder traces nothing.
    """
    if folder is None:
        yield watch
        return
    seen, tracing = 0, dispatches <= FIRST
    if tracing:
        jax.profiler.start_trace(str(folder), create_perfetto_trace=True)

    def timed(what: str, seconds: float) -> None:
        nonlocal seen, tracing
        watch.timed(what, seconds)
        if what != "dispatch":
            return
        seen += 1
        if seen == FIRST and not tracing:
            jax.profiler.start_trace(str(folder), create_perfetto_trace=True)
            tracing = True
        elif tracing and seen == FIRST + COUNT:
            jax.profiler.stop_trace()
            tracing = False

    try:
        yield dataclasses.replace(watch, timed=timed)
    finally:
        if tracing:
            jax.profiler.stop_trace()
