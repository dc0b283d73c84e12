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

from experiments import flags, saved
from experiments.flags import option
from jaxdl import runs
from jaxdl.data import images
from jaxdl.data.arrays import as_inputs

NAME = "predict"
BATCH = 256

# Which array of an .npz holds the inputs, where it holds several.
_KEYS = ("inputs", "images", "x", "x_test")


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
    rows, parts = [], []
    for file in map(Path, files):
        single = file.suffix.lower() not in (".npy", ".npz")
        inputs = _image(loaded, file, note) if single else _array(loaded, file)
        parts.append(inputs.astype(np.float32))
        rows += [(str(file), None if single else i) for i in range(len(inputs))]
    probabilities = _probabilities(loaded, np.concatenate(parts))
    return [
        {
            "input": name,
            "index": index,
            "class": loaded.classes[int(np.argmax(row))],
            "probability": float(np.max(row)),
            "probabilities": row.tolist(),
        }
        for (name, index), row in zip(rows, probabilities, strict=True)
    ]


def _image(loaded: runs.Loaded, file: Path, note: Callable[[str], Any]) -> np.ndarray:
    """An image file as stored inputs [1, height, width, channels]."""
    shape = loaded.input_shape
    inputs = images.read_images([file], shape, loaded.preprocess.high)
    height, width, channels = images.header(file.expanduser())
    changes = []
    if (height, width) != shape[:2]:
        changes.append(f"{width} x {height} brought to {shape[1]} x {shape[0]} pixels")
    if channels != shape[2]:
        changes.append("colour made grey" if shape[2] == 1 else "grey made colour")
    if changes:
        note(f"{file}: {', '.join(changes)}")
    return inputs


def _array(loaded: runs.Loaded, file: Path) -> np.ndarray:
    """An array file as stored inputs [n, *input_shape]."""
    values = as_inputs(_read_array(file), f"{file}:")
    shape = loaded.input_shape
    shapes = [shape, shape[:-1]] if shape[-1:] == (1,) else [shape]
    for form in shapes:
        if values.shape == form or values.shape[1:] == form:
            values = values.reshape(-1, *shape)
            break
    else:
        raise ValueError(
            f"{file} has shape {list(values.shape)}: give [n, "
            f"{', '.join(map(str, shape))}], as the run was trained on."
        )
    high = loaded.preprocess.high
    low, top = float(values.min()), float(values.max())
    if high is not None and not 0 <= low <= top <= high:
        raise ValueError(
            f"{file} holds values from {low:g} to {top:g}, but the run was trained on "
            f"0 to {high:g}: rescale it."
        )
    return values


def _read_array(file: Path) -> np.ndarray:
    path = file.expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{file} does not exist or is no file.")
    try:
        # Never unpickle: an archive of objects may run code when read.
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found as archive:
            names = archive.files
            keys = names if len(names) == 1 else [k for k in _KEYS if k in names]
            if keys:
                return archive[keys[0]]
    except Exception as error:  # broken archives raise nearly anything
        reason = " ".join(str(error).split())[:120]
        raise ValueError(f"{file} is no file of NumPy arrays ({reason}).") from error
    raise ValueError(
        f"{file} holds {', '.join(names) or 'nothing'}: name one of its arrays "
        f"{' or '.join(_KEYS)}."
    )


def _probabilities(loaded: runs.Loaded, inputs: np.ndarray) -> np.ndarray:
    """[examples, classes], in batches of one size, so as to compile once."""
    import jax

    run = jax.jit(lambda x: jax.nn.softmax(loaded(x).astype("float32")))
    size = min(BATCH, len(inputs))
    parts = []
    for start in range(0, len(inputs), size):
        part = inputs[start : start + size]
        padding = [(0, size - len(part))] + [(0, 0)] * (inputs.ndim - 1)
        parts.append(np.asarray(run(np.pad(part, padding)))[: len(part)])
    return np.concatenate(parts)


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
        print(f"{row['input']}{at}: {_shown(row)}")
    return 0


def _shown(row: dict[str, Any]) -> str:
    """What is predicted: ``class`` and probabilities, or ``value``."""
    if "probabilities" not in row:
        return str(row["value"])
    shown = (f"{p['class']} {p['probability']:.2%}" for p in row["probabilities"])
    return f"{row['class']} ({', '.join(shown)})"


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__, files="input")
