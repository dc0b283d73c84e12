"""What a trained run's best parameters make of files: classes, values, texts.

--input=FILE, several files or patterns such as 'scans/*.png'. PNG and JPEG are
brought to the size and scale that the run was trained on; arrays (.npy, .npz) are
taken as they are, in the scale of the training data. Runs on texts and tables take
text files and CSV.
"""

import dataclasses
import glob
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments import flags, inputs, saved
from experiments.flags import option
from jaxdl import runs
from jaxdl.models.apply import in_batches
from jaxdl.runs.text import printable

NAME = "predict"
BATCH = 256


@dataclasses.dataclass(frozen=True)
class Settings:
    """What ``predict`` lets one set."""

    run: str = option("", "folder of a run")
    input: tuple[str, ...] = option((), "file or pattern; may be repeated")
    top: int = option(3, "how many classes to show; 0: all")
    json: bool = option(False, "print JSON, and nothing else, on stdout")
    traceback: bool = option(False, "show the traceback of an error")


def predict(
    loaded: runs.Loaded, files: Sequence[str | Path], note: Callable[[str], Any] = print
) -> list[dict[str, Any]]:
    """What a run makes of each image or array row in the files.

    Args:
      loaded: the run, from ``jaxdl.runs.load``.
      files: PNG, JPEG, .npy or .npz.
      note: told, in a line, of every image that had to be changed.

    Returns:
      A dict an example: ``input``, ``index`` within its file (None for an image),
      ``class``, ``probability`` and ``probabilities`` [classes]. (The ``predict`` of
      an experiment whose outputs are no classes gives ``value`` in their place.)

    Raises:
      FileNotFoundError, ValueError: in one line, a file that cannot be used.
    """
    rows, stored = inputs.read(loaded, files, note)
    return [
        {
            **row,
            "class": loaded.classes[int(np.argmax(shares))],
            "probability": float(np.max(shares)),
            "probabilities": shares.tolist(),
        }
        for row, shares in zip(rows, _probabilities(loaded, stored), strict=True)
    ]


def _probabilities(loaded: runs.Loaded, stored: np.ndarray) -> np.ndarray:
    """[examples, classes]."""
    import jax

    run = jax.jit(lambda x: jax.nn.softmax(loaded(x).astype("float32")))
    return in_batches(run, stored, BATCH)


def expand(patterns: Sequence[str]) -> Iterator[str]:
    """The files that names and patterns stand for, each pattern's in order.

    Raises:
      FileNotFoundError: a pattern that fits no file.
    """
    for pattern in patterns:
        if Path(pattern).expanduser().exists() or not glob.has_magic(pattern):
            yield pattern
            continue
        found = sorted(glob.glob(str(Path(pattern).expanduser()), recursive=True))
        if not found:
            raise FileNotFoundError(f"no file fits the pattern {pattern}.")
        yield from found


def _ranked(
    row: dict[str, Any], classes: Sequence[str], top: int
) -> list[dict[str, Any]]:
    order = np.argsort(-np.asarray(row["probabilities"]), kind="stable")
    return [
        {"class": classes[i], "probability": row["probabilities"][i]}
        for i in order[: top or None]
    ]


def main(settings: Settings) -> int:
    """Print what the run makes of the files; the exit code."""
    if not settings.run:
        raise ValueError("--run is missing: give the folder of a run.")
    if not settings.input:
        raise ValueError("--input is missing: give a file, or several.")
    if settings.top < 0:
        raise ValueError(f"--top is {settings.top}: give 0 (all classes) or more.")
    runs.prepare()
    loaded = runs.load(settings.run)
    files = list(expand(settings.input))
    # An experiment on other than images and arrays brings a predict of its own.
    experiment = saved.experiment_of(loaded.folder)
    of_run = getattr(experiment, "predict", predict)
    rows = of_run(loaded, files, lambda line: print(line, file=sys.stderr))
    for row in rows:
        if "probabilities" in row:
            row["probabilities"] = _ranked(row, loaded.classes, settings.top)
    if settings.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return 0
    for row in rows:
        at = "" if row["index"] is None else f"[{row['index']}]"
        print(printable(f"{row['input']}{at}: {_shown(row)}", 10_000))
    return 0


def _shown(row: dict[str, Any]) -> str:
    """What is predicted: ``class`` and probabilities, or ``value``."""
    if "probabilities" not in row:
        return str(row["value"])
    shown = (f"{p['class']} {p['probability']:.2%}" for p in row["probabilities"])
    return f"{row['class']} ({', '.join(shown)})"


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__, files="input")
