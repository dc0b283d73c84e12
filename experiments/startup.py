"""Measure how long it takes to begin: importing jaxdl, and the first training step.

Each figure comes from fresh processes; the first training starts with an empty
compilation cache, the second with the one that the first has filled.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from experiments import flags
from experiments.flags import option
from jaxdl.runs import writers
from jaxdl.runs.folder import RunFolder

NAME = "startup"
ROUNDS = 3

# Seconds that none of the figures should exceed, on two cores.
TARGETS = {"import": 1.5, "first_step": 10.0, "first_step_cached": 5.0}

_TITLES = {
    "import": f"import of jaxdl and all its rooms, median of {ROUNDS}",
    "first_step": "command to first training step, nothing compiled before",
    "first_step_cached": "the same, the second time",
}

_IMPORT = """
import time
began = time.perf_counter()
import jaxdl
for room in jaxdl.__all__:
    getattr(jaxdl, room)
print(time.perf_counter() - began)
"""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What ``startup`` lets one set."""

    model: str = option("", "model to train; empty: the experiment's own")
    json: bool = option(False, "print JSON, and nothing else, on stdout")
    traceback: bool = option(False, "show the traceback of an error")


def import_seconds() -> float:
    """Median of the time that ``import jaxdl``, rooms included, takes."""
    return statistics.median(
        float(_run([sys.executable, "-c", _IMPORT]).splitlines()[-1])
        for _ in range(ROUNDS)
    )


def first_step_seconds(cache: Path, model: str = "") -> float:
    """Time from the process's start to the end of its first training step, as the
    run itself records it, with compiled programs kept in ``cache``.

    Raises:
      RuntimeError: the command failed, or the system does not tell when a
        process was started.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "experiments.image_classification"),
            *("--max_steps=1", "--resume=never", f"--workdir={folder}"),
            *([f"--model={model}"] if model else []),
        ]
        _run(command, JAX_COMPILATION_CACHE_DIR=str(cache))
        rows = writers.read(RunFolder(Path(folder)).speed)
    if not rows or "first_step_seconds" not in rows[0]:
        raise RuntimeError("this system does not tell when a process was started.")
    return float(rows[0]["first_step_seconds"])


def _run(command: Sequence[str], **variables: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **variables}
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-500:]}")
    return done.stdout


def measure(model: str = "") -> dict[str, float]:
    """Seconds by name, those of ``TARGETS``."""
    seconds = {"import": import_seconds()}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("first_step", "first_step_cached"):
            seconds[name] = first_step_seconds(Path(folder), model)
    return seconds


def main(settings: Settings) -> int:
    """Print the figures; 1 where one is above its target."""
    seconds = measure(settings.model)
    within = {name: seconds[name] <= target for name, target in TARGETS.items()}
    if settings.json:
        rows = {
            name: {"seconds": seconds[name], "target": target, "within": within[name]}
            for name, target in TARGETS.items()
        }
        print(json.dumps(rows, indent=2))
    else:
        for name, target in TARGETS.items():
            verdict = "within" if within[name] else "above"
            print(f"{seconds[name]:6.2f} s  {_TITLES[name]} ({verdict} {target:g} s)")
    return 0 if all(within.values()) else 1


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
