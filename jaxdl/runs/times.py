"""Where a run's time went: parts that add up to its wall time, and a line of them."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

# What JAX calls the time XLA takes; read from the disk cache it is short.
COMPILED = "/jax/core/compile/backend_compile_duration"

# What the loop tells of, by the part that it belongs to.
_PART = {
    "compile": "compile",  # before the loop, a state to begin with included
    "dispatch": "step",
    "waiting": "step",
    "feeding": "step",
    "data": "data",
    "evaluation": "evaluation",
    "saving": "checkpoint",
    "restoring": "checkpoint",
}
# From its begin (a command's: its process's) to its first step; of the loop; after it:
# the test part, baselines, pictures; and what is left, such as metrics written and
# samples shown.
PARTS = ("start", "step", "data", "evaluation", "checkpoint", "compile", "end", "rest")
# What an account also holds where it is known.
RATES = ("operations_per_second", "peak_operations_per_second")


class Times:
    """Adds up a run's seconds, each in one part alone.

    Compiling is taken out of whatever it happens in; a dispatch that compiles also
    traces, and counts as compiling as a whole.
    """

    def __init__(
        self,
        began: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """``began``: when, by the clock; None: now."""
        self._clock = clock
        self._began = clock() if began is None else began
        self._spent: dict[str, float] = defaultdict(float)
        self._unclaimed = 0.0  # compiling, in what has not been told yet
        self._rest: float | None = None  # what was in no part, at the end

    def compiled(self, seconds: float) -> None:
        """Told when something was compiled."""
        self._spent["compile"] += seconds
        # Of what comes after the loop, only waiting for its last save is told.
        if self._rest is None:
            self._unclaimed += seconds

    def timed(self, what: str, seconds: float) -> dict[str, float]:
        """Told of time in the loop; it as ``what`` and, of that, "compile" to add."""
        compiling, self._unclaimed = min(self._unclaimed, seconds), 0.0
        more = seconds - compiling if what == "dispatch" and compiling else 0.0
        self._spent["compile"] += more
        rest = seconds - compiling - more
        self._spent[_PART[what]] += rest
        return {what: rest, "compile": more} if more else {what: rest}

    def started(self) -> None:
        """Told before the first step."""
        self._spent["start"] = self.since_start() - sum(self._spent.values())
        self._unclaimed = 0.0

    def ended(self) -> None:
        """Told after the last step."""
        if self._rest is None:
            self._rest = self.since_start() - sum(self._spent.values())
            self._unclaimed = 0.0

    def parts(self) -> dict[str, float]:
        """``wall`` and ``PARTS``, in seconds, which add up to it."""
        wall = self.since_start()
        spent = {part: self._spent[part] for part in PARTS}
        if self._rest is not None:
            spent["end"] = wall - self._rest - sum(spent.values())
        spent["rest"] = wall - sum(spent.values())
        return {"wall": wall, **spent}

    def since_start(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._began


def line(account: Mapping[str, Any]) -> str:
    """``time 39.3 s: step 18.2 s (46%), data ...``, and the arithmetic where known.

    Args:
      account: ``Times.parts``, and where known ``operations_per_second`` and
        ``peak_operations_per_second``.
    """
    wall = account["wall"]
    told = [
        f"{part} {account[part]:.1f} s ({account[part] / wall:.0%})" for part in PARTS
    ]
    text = f"time {wall:.1f} s: {', '.join(told)}"
    rate = account.get("operations_per_second")
    if not rate:
        return text
    peak = account.get("peak_operations_per_second")
    share = f", {rate / peak:.0%} of the {_flops(peak)} measured here" if peak else ""
    return f"{text}; in steps {_flops(rate)}{share}"


def _flops(rate: float) -> str:
    scale, unit = (1e12, "TFLOP/s") if rate >= 1e12 else (1e9, "GFLOP/s")
    return f"{rate / scale:.3g} {unit}"
