"""One library, one case, in a process of its own; prints one line of JSON.

``python -m experiments.benchmarks.worker '{"library": "torch", ...}'``: the fields of
``Task``. No flags, since their room imports JAX, which would count as memory of every
peer.
"""

import dataclasses
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.benchmarks import cases

CHECKED = 3  # steps whose losses both sides must agree on
WARM_UP = 0.5  # seconds
TOGETHER = 0.1  # seconds of steps between two looks at the clock


@dataclasses.dataclass(frozen=True)
class Task:
    """What a worker is told.

    Attributes:
      library: a key of ``cases.LIBRARIES``.
      case: a key of ``cases.WORK[work]``.
      parameters: file of the initial parameters; jaxdl writes it.
      cores: threads.
      device: "cpu" or "gpu".
      seconds: how long to time.
      work: a key of ``cases.WORK``.
      data_dir: where TFDS data sets lie.
    """

    library: str
    case: str
    parameters: str
    cores: int
    device: str = "cpu"
    seconds: float = 2.0
    work: str = "training"
    data_dir: str = ""


def time_steps(*sides: cases.Side, seconds: float) -> list[dict[str, Any]]:
    """Of each side the losses of its first steps, then the median time of a step; of
    several in this process by turns.

    The clock is looked at after about a tenth of a second of steps, so that a library
    may dispatch ahead, as it does in training.
    """
    found = [_warm_up(side, seconds) for side in sides]
    times: list[list[float]] = [[] for _ in sides]
    turn = list(zip(sides, found, times, strict=True))
    while any(sum(spent) < seconds or len(spent) < 3 for spent in times):
        for side, told, spent in turn:
            spent.append(_take(side, told["calls"]))
        turn.reverse()
    for told, spent in zip(found, times, strict=True):
        steps = told.pop("calls") * told["steps_per_call"]
        told["milliseconds"] = 1e3 * statistics.median(spent) / steps
    return found


def _warm_up(side: cases.Side, seconds: float) -> dict[str, Any]:
    """The first losses, and how many calls make a tenth of a second."""
    began = time.perf_counter()
    losses = list(side.losses(side.step()))
    first = time.perf_counter() - began
    while len(losses) < CHECKED:
        losses += side.losses(side.step())
    calls, spent = 1, 0.0
    while spent < WARM_UP * min(seconds, 1.0):
        took = _take(side, calls)
        spent += took
        calls = max(1, round(calls * TOGETHER / took))
    return {
        "losses": losses[:CHECKED],
        "first_seconds": first,
        "steps_per_call": side.steps,
        "calls": calls,
    }


def _take(side: cases.Side, calls: int) -> float:
    """Seconds of so many calls, to the end of the last."""
    began = time.perf_counter()
    for _ in range(calls):
        taken = side.step()
    side.losses(taken)
    return time.perf_counter() - began


def _sides(task: Task) -> dict[str, Any]:
    """Steps, questions or writing, timed in this process."""
    case, file = cases.WORK[task.work][task.case], Path(task.parameters)
    # A few percent are told apart only within one process, by turns.
    others = {"guard": ["unguarded"], "products": ["XLA's choice"]}
    together = [task.library, *others.get(task.work, [])]
    try:
        sides = [
            cases.side(library, case, file, task.cores, task.device, task.work)
            for library in together
        ]
    except LookupError as error:
        return {"absent": str(error.args[0])}
    found = time_steps(*sides, seconds=task.seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for told, side in zip(found, sides, strict=True):
        told["examples_a_second"] = 1e3 * case.size / told["milliseconds"]
        told |= {"peak_mib": peak, "versions": dict(side.versions)}
    beside = dict(zip(together[1:], found[1:], strict=True))
    return {**found[0], **({"beside": beside} if beside else {})}


# One library a process: a work imports what it needs when it is asked for.


def _loop(task: Task) -> dict[str, Any]:
    from experiments.benchmarks import loop

    return loop.take(task.case)


def _running(task: Task) -> dict[str, Any]:
    from experiments.benchmarks import running

    return running.WORK[task.work](ours=task.library == "jaxdl")


def _importing(task: Task) -> dict[str, Any]:
    from experiments.benchmarks import running

    return running.importing(task.library)


def _feeding(task: Task) -> dict[str, Any]:
    if task.library == "jaxdl":
        from experiments.benchmarks import feeding

        return feeding.take(task)
    from experiments.benchmarks import torch_feeding

    return torch_feeding.take(task)


def _whole(task: Task) -> dict[str, Any]:
    from experiments.benchmarks import whole

    return whole.take(task)


WORKS: dict[str, Callable[[Task], dict[str, Any]]] = {
    "training": _sides,
    "population": _sides,
    "inference": _sides,
    "generation": _sides,
    "guard": _sides,
    "products": _sides,
    "loop": _loop,
    "checkpoint": _running,
    "startup": _running,
    "import": _importing,
    "feeding": _feeding,
    "end_to_end": _whole,
    "nanogpt": _whole,
}


def work(task: Task) -> dict[str, Any]:
    """What the task finds; ``absent`` says what the library does not have."""
    os.environ["JAX_PLATFORMS"] = "cpu" if task.device == "cpu" else "cuda"
    return WORKS[task.work](task)


if __name__ == "__main__":
    print(json.dumps(work(Task(**json.loads(sys.argv[1])))))
