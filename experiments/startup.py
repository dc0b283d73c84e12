"""Measure how long it takes to begin: importing jaxdl, and the first training step.

Each figure comes from fresh processes; the first training starts with an empty
compilation cache, the second with the one that the first has filled. Compile time is
that of a run of one step as its summary has it: all that XLA compiles or reads from the
cache, testing included.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import common, flags
from experiments.flags import option
from jaxdl.runs import writers
from jaxdl.runs.folder import RunFolder
from jaxdl.runs.summary import read_summary

NAME = "startup"
ROUNDS = 3

EXPERIMENTS = (
    *("image_classification", "text_classification", "tabular", "forecasting"),
    *("language_model", "sequence_to_sequence", "vae", "gan"),
)

# Seconds that none of the figures should exceed, on two cores.
TARGETS = {"import": 1.5, "first_step": 10.0, "first_step_cached": 5.0}
# The share of compile time that the second start may take.
COMPILE_SHARE = 0.25

_TITLES = {
    "import": f"import of jaxdl and all its rooms, median of {ROUNDS}",
    "first_step": "command to first training step, nothing compiled before",
    "first_step_cached": "the same, the second time",
    "compile_cached": "compile time, the second time",
}

_ROOMS = """
import jaxdl
for room in jaxdl.__all__:
    getattr(jaxdl, room)
"""
_TIMED = (
    "import time; began = time.perf_counter()\n{}\nprint(time.perf_counter() - began)"
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What ``startup`` lets one set."""

    model: str = option("", "model to train; empty: the experiment's own")
    experiments: str = option("image_classification", "which to start, by commas")
    json: bool = option(False, "print JSON, and nothing else, on stdout")
    traceback: bool = option(False, "show the traceback of an error")


def import_seconds(statement: str = _ROOMS) -> float:
    """Median of the time that a statement takes in a fresh process; of ``import
    jaxdl``, rooms included, where none is given."""
    command = [sys.executable, "-c", _TIMED.format(statement)]
    return statistics.median(
        float(_run(command).splitlines()[-1]) for _ in range(ROUNDS)
    )


def start(cache: Path, experiment: str, model: str = "") -> dict[str, float]:
    """A run of one step, with compiled programs kept in ``cache``: ``first_step``, the
    time from the process's start to the end of that, ``build``, what it took to begin
    without compiling (imports, data, model), and ``compile`` seconds, all as the run
    itself records them.

    Raises:
      RuntimeError: the command failed, or the system does not tell when a
        process was started.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", f"experiments.{experiment}"),
            *("--max_steps=1", "--resume=never", f"--workdir={folder}"),
            *([f"--model={model}"] if model else []),
        ]
        _run(command, JAX_COMPILATION_CACHE_DIR=str(cache))
        rows = writers.read(RunFolder(Path(folder)).speed)
        summary = read_summary(RunFolder(Path(folder)).summary)
    if not rows or "first_step_seconds" not in rows[0]:
        raise RuntimeError("this system does not tell when a process was started.")
    return {
        "first_step": float(rows[0]["first_step_seconds"]),
        "build": float(rows[-1]["account"]["start"]),
        "compile": float(summary["compile_seconds"]),
    }


def _run(command: Sequence[str], **variables: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **variables}
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-500:]}")
    return done.stdout


def measure(experiment: str, model: str = "") -> dict[str, float]:
    """Seconds by name: of the first start and, ``_cached``, of the second."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = (start(Path(folder), experiment, model) for _ in range(2))
    return {**first, **{f"{name}_cached": second[name] for name in second}}


def rows(experiment: str, seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """What was measured of an experiment beside what it should not exceed."""
    targets = {
        "first_step": TARGETS["first_step"],
        "first_step_cached": TARGETS["first_step_cached"],
        "compile_cached": COMPILE_SHARE * seconds["compile"],
    }
    return [
        _row(name, experiment, seconds[name], target)
        for name, target in targets.items()
    ]


def _row(name: str, of: str, seconds: float, target: float) -> dict[str, Any]:
    within = seconds <= target
    return {
        "measure": name,
        "of": of,
        "seconds": seconds,
        "target": target,
        "within": within,
    }


def main(settings: Settings) -> int:
    """Print the figures; 1 where one is above its target."""
    names = settings.experiments.split(",")
    for name in names:
        common.choice("experiments", name, EXPERIMENTS)
    found = [_row("import", "jaxdl", import_seconds(), TARGETS["import"])]
    for name in names:
        found += rows(name, measure(name, settings.model))
    if settings.json:
        print(json.dumps(found, indent=2))
    else:
        for row in found:
            verdict = "within" if row["within"] else "above"
            print(
                f"{row['seconds']:6.2f} s  {_TITLES[row['measure']]}: {row['of']} "
                f"({verdict} {row['target']:.2g} s)"
            )
    return 0 if all(row["within"] for row in found) else 1


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
