"""What processes that train together tell one another.

Every process calls these functions, and in the same order: they wait for each
other. A process that is alone is answered at once, and starts no device for it.
"""

import atexit
import gc
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import jax
import numpy as np

T = TypeVar("T")

# Bytes that a process may say at once: settings and errors, or a few numbers.
ROOM, LITTLE = 2**14, 64
# How long the first process stays when all leave.
LAST_SECONDS = 0.3


class Elsewhere(ValueError):
    """Another process cannot go on and has said why: this one need only end."""


def count() -> int:
    """How many processes train together."""
    return jax.process_count() if jax.distributed.is_initialized() else 1


def primary() -> bool:
    """Whether this process is the one that writes files and prints."""
    return count() == 1 or jax.process_index() == 0


def gather(value: Any, room: int = ROOM) -> list[Any]:
    """What each process says, in JSON's types, in their order.

    Args:
      value: what this one says.
      room: bytes that each may say; the same in all.

    Raises:
      ValueError: it takes more.
    """
    if count() == 1:
        return [value]
    from jax.experimental import multihost_utils

    said = json.dumps(value).encode()  # ASCII: no zero byte in it
    if len(said) > room:
        raise ValueError(f"a process may say {room} bytes, not {len(said)}.")
    rows = multihost_utils.process_allgather(
        np.frombuffer(said.ljust(room, b"\0"), np.uint8)
    )
    return [json.loads(row.tobytes().rstrip(b"\0")) for row in rows]


def anyone(flag: bool) -> bool:
    """Whether any process says so."""
    return any(gather(bool(flag), LITTLE))


def together(function: Callable[[], T]) -> T:
    """What ``function()`` gives here, when it has ended well in every process.

    Raises:
      Exception: what it raised here.
      Elsewhere: it raised in another process, where one line is enough.
    """
    if count() == 1:
        return function()
    error: Exception | None = None
    try:
        result = function()
    except (ValueError, OSError, RuntimeError, ImportError) as caught:
        error = caught
    mine = None if error is None else str(error)[:1000]
    said = gather(mine)
    if error is not None and mine not in said[: jax.process_index()]:
        raise error
    for number, text in enumerate(said):
        if text is not None:
            raise Elsewhere(f"process {number} cannot go on: {text}")
    return result


def by_first(function: Callable[[], T]) -> T:
    """What ``function()`` gives in the first process, in JSON's types, told to all.

    Raises:
      Exception: what it raised there; ``Elsewhere`` in the others.
    """
    if count() == 1:
        return function()
    mine = together(lambda: function() if primary() else None)
    told: T = gather(mine)[0]
    return told


class Highest:
    """The highest number that any process names.

    Asked once a dispatch by every process. They do speak about once a second only
    (it takes some two milliseconds): after how many dispatches is agreed each time.
    """

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._wait, self._since, self._then = 1, 0, time.perf_counter()

    def __call__(self, number: int) -> int:
        """0 while no process names another number, or none has been asked."""
        if count() == 1:
            return number
        self._since += 1
        if self._since < self._wait:
            return 0
        passed = max(time.perf_counter() - self._then, 1e-9)
        fitting = int(self._since * self._seconds / passed)
        # Not all at once: the first dispatches compile, and say nothing of the rest.
        wait = max(1, min(fitting, 2 * self._wait))
        said = gather([number, wait], LITTLE)
        self._wait, self._since, self._then = said[0][1], 0, time.perf_counter()
        return max(row[0] for row in said)


def leave(code: int) -> NoReturn:
    """End this process with an exit code; one of several does not wait for the others,
    which may be waiting for it, nor does any wait for what is left of a failed save."""
    if count() > 1 or _saves_left_behind():
        sys.stdout.flush()
        sys.stderr.flush()
        if count() > 1 and primary():
            # With it goes what JAX's processes speak through, and those that are still
            # on their way out, for the same reason, would end in JAX's abort.
            time.sleep(LAST_SECONDS)
        os._exit(code)
    # Else the interpreter, as it ends, looks for garbage in all that is left: a second.
    atexit.register(gc.freeze)
    sys.exit(code)


def _saves_left_behind() -> bool:
    """Whether threads of Orbax are left, once all checkpoints are closed: those of a
    save that failed wait five minutes for folders that nobody will make."""
    kinds = (type(thread).__module__ for thread in threading.enumerate())
    return any(kind.startswith("orbax.") for kind in kinds)


def explain(error: object) -> str:
    """What to print of an error: where a device has too little memory, what to lower;
    where it only says that a connection is gone, that another process of the run must
    have ended."""
    line = " ".join(str(error).split()) or type(error).__name__
    if "RESOURCE_EXHAUSTED" in line and "memory" in line.lower():
        return (
            f"the device has too little memory ({line[:160]}): lower --batch_size, or "
            "give --accumulate_steps=4, --precision=bfloat16, --parallel=fsdp (on "
            "several devices) or less --memory_budget for the data; --dry_run tells "
            "what a step takes."
        )
    if count() == 1 or not isinstance(error, jax.errors.JaxRuntimeError):
        return line
    signs = ("gloo", "nccl", "connection", "socket", "unavailable", "heartbeat")
    if not any(sign in line.lower() for sign in signs):
        return line
    return (
        f"another process of this run has died or left ({line[:160]}): see what it "
        "printed. Started again, all with the same command, they go on from the newest "
        "checkpoint."
    )
