"""Files of images and arrays that a command is given, as a run's stored inputs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxdl import runs
from jaxdl.data import images
from jaxdl.data.arrays import as_inputs

# Which array of an .npz holds the inputs, where it holds several.
_KEYS = ("inputs", "images", "x", "x_test")


def read(
    loaded: runs.Loaded, files: Sequence[str | Path], note: Callable[[str], Any]
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Images and array rows of files, brought to the form the run was trained on.

    Args:
      loaded: the run.
      files: PNG, JPEG, .npy or .npz.
      note: told, in a line, of every image that had to be changed.

    Returns:
      A dict an example with ``input`` (the file) and ``index`` (within its file, None
      for an image); and the stored inputs, float32 [examples, *input_shape].

    Raises:
      FileNotFoundError, ValueError: in one line, a file that cannot be used.
    """
    rows: list[dict[str, Any]] = []
    parts = []
    for file in map(Path, files):
        single = file.suffix.lower() not in (".npy", ".npz")
        inputs = _image(loaded, file, note) if single else _array(loaded, file)
        parts.append(inputs.astype(np.float32))
        rows += [
            {"input": str(file), "index": None if single else i}
            for i in range(len(inputs))
        ]
    return rows, np.concatenate(parts)


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
