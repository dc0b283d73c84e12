"""Whole runs, from a command to its result: jaxdl's own, and PyTorch's of the recipe.

Each is a process of its own. jaxdl's begins with nothing compiled before and takes
its figures from what the run left; both find what they import and read in the
system's memory, having imported it once before.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.benchmarks import cases
from experiments.benchmarks.worker import Task

_IMPORTS = {
    "jaxdl": "import experiments.image_classification, tensorflow_datasets",
    "torch": "import experiments.benchmarks.torch_runs",
}


def take(task: Task) -> dict[str, Any]:
    """One side of a ``cases.Run``.

    Returns:
      ``seconds`` of the process, ``milliseconds`` a step of its training, checks
      included and compiling left out, and ``told``: what it reached; or ``absent``,
      where that is not within the run's bounds.
    """
    run = cases.WORK[task.work][task.case]
    if task.library not in _IMPORTS:
        return {"absent": f"{task.library} has no run {task.case}"}
    _finish([sys.executable, "-c", _IMPORTS[task.library]])
    side = _ours if task.library == "jaxdl" else _theirs
    return judged(task, run, side(task, run))


def judged(task: Task, run: cases.Run, found: Mapping[str, Any]) -> dict[str, Any]:
    """What a side found, if it reached what the run is to reach."""
    (least, most), reached = run.bounds, found["reached"]
    told = (
        f"{' '.join(run.figure)} {reached:.4f} after {found['seconds']:.1f} s, "
        f"{found['training']:.1f} of them training"
    )
    if not least <= reached <= most:
        bounds = f"[{least:g}, {most:g}]"
        return {"absent": f"{task.library}: {told}, not in {bounds}: no figure"}
    return {
        "losses": [],
        "seconds": found["seconds"],
        "milliseconds": 1e3 * found["training"] / found["steps"],
        "told": told,
        "versions": found["versions"],
    }


def command(run: cases.Run, data_dir: str, folder: Path) -> list[str]:
    """jaxdl's command of a run."""
    given = {**run.flags, "data_dir": data_dir, "workdir": folder, "resume": "never"}
    flags = [f"--{name}={value}" for name, value in given.items()]
    return [sys.executable, "-m", f"experiments.{run.experiment}", *flags]


def _ours(task: Task, run: cases.Run) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        asked = command(run, task.data_dir, folder)
        cache = str(Path(place) / "compiled")
        seconds, _ = _finish(asked, JAX_COMPILATION_CACHE_DIR=cache)
        # Here only: importing JAX would not be part of the run.
        from jaxdl import __version__
        from jaxdl.runs import writers
        from jaxdl.runs.folder import RunFolder
        from jaxdl.runs.summary import read_summary

        summary = read_summary(RunFolder(folder).summary)
        account = writers.read(RunFolder(folder).speed)[-1]["account"]
    split, metric = run.figure
    outside = sum(account[part] for part in ("start", "compile", "end"))
    return {
        "reached": summary["metrics"][split][metric],
        "steps": summary["step"],
        "seconds": seconds,
        "training": account["wall"] - outside,
        "versions": {"jaxdl": __version__},
    }


def _theirs(task: Task, run: cases.Run) -> dict[str, Any]:
    asked = {"data_dir": task.data_dir, "cores": task.cores, "device": task.device}
    name = "experiments.benchmarks.torch_runs"
    given = json.dumps({"experiment": run.experiment, "flags": dict(run.flags)} | asked)
    seconds, said = _finish([sys.executable, "-m", name, given])
    return {"seconds": seconds, **json.loads(said.splitlines()[-1])}


def _finish(asked: Sequence[str], **variables: str) -> tuple[float, str]:
    """Seconds of a process, from its start to its end, and what it printed.

    Raises:
      RuntimeError: it failed.
    """
    began = time.perf_counter()
    done = subprocess.run(
        asked, capture_output=True, text=True, env={**os.environ, **variables}
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(last[-500:])
    return seconds, done.stdout
