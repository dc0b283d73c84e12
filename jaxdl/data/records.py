"""Records of TFDS sets, read and parsed: what is damaged is named in one line."""

import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

# TFDS imports whatever module a set's features.json names for its features.
_TRUSTED = "tensorflow_datasets."
_KEYS = ("pythonClassName", "python_class_name", "type")


def read_examples(name: str, records: Any, indices: Sequence[int]) -> list[Any]:
    """The examples at ``indices`` as mappings from a feature's name to its value.

    Args:
      name: of the set and its part, for errors.
      records: random access to encoded examples.
      indices: which ones.

    Raises:
      ValueError: a file that is missing, cut off or damaged, or a record that is no
        example.
    """
    # TFDS carries the message type, so that reading needs no TensorFlow; its own
    # reader spends twice the time on every example.
    from tensorflow_datasets.proto import tf_example_pb2

    parse = tf_example_pb2.Example.FromString
    try:
        encoded = records.__getitems__([int(i) for i in indices])
        return [parse(record).features.feature for record in encoded]
    # Damaged files make the reader raise nearly anything, IndexError included.
    except Exception as error:
        raise damaged(name, error) from error


def damaged(name: str, error: Exception) -> ValueError:
    """What to raise for records that can't be read."""
    return ValueError(
        f"{name} can't be read: its files are damaged or missing ({first_line(error)});"
        " prepare the set again, or restore them"
    )


def bytes_of(name: str, index: int, example: Any, feature: str) -> bytes:
    """A feature of bytes, such as an encoded image.

    Raises:
      ValueError: the example has none.
    """
    values = example[feature].bytes_list.value
    if len(values) != 1:
        raise ValueError(f"{name} example {index} has no {feature}: remove it")
    return values[0]


def labels_of(
    name: str,
    indices: Sequence[int],
    examples: Sequence[Any],
    label: str,
    classes: int,
) -> np.ndarray:
    """Class indices of examples, int32.

    Raises:
      ValueError: one that has no label, or none of the ``classes``.
    """
    found = np.empty(len(examples), np.int32)
    for place, (index, example) in enumerate(zip(indices, examples, strict=True)):
        values = example[label].int64_list.value
        if len(values) != 1 or not 0 <= values[0] < classes:
            told = f"the label {values[0]}" if len(values) else "no label"
            raise ValueError(
                f"{name} example {index} has {told}; allowed are 0 to {classes - 1}"
            )
        found[place] = values[0]
    return found


def require_trusted(name: str, folders: Sequence[str | PathLike[str]]) -> None:
    """Refuse a set on disk whose features are not TFDS's own: reading it would import
    the module that it names.

    Args:
      name: of the set; its folder is the first part.
      folders: where sets lie.

    Raises:
      ValueError: a feature of another package, or a file that is no JSON.
    """
    for folder in folders:
        place = Path(folder) / name.split("/")[0].split(":")[0]
        for file in sorted(place.rglob("features.json")):
            try:
                found = json.loads(file.read_text(encoding="utf-8"))
                strange = [n for n in _class_names(found) if not n.startswith(_TRUSTED)]
            except (OSError, ValueError, RecursionError) as error:
                raise ValueError(f"{file} is broken: {first_line(error)}") from error
            if strange:
                raise ValueError(
                    f"{file} names {strange[0]!r}, which is no feature of TensorFlow "
                    "Datasets: reading it would run that module's code"
                )


def _class_names(value: Any) -> list[str]:
    """All that TFDS would take for the name of a class, however deep."""
    if isinstance(value, list):
        return [name for item in value for name in _class_names(item)]
    if not isinstance(value, dict):
        return []
    own = [value[key] for key in _KEYS if isinstance(value.get(key), str)]
    return own + [name for item in value.values() for name in _class_names(item)]


def first_line(error: BaseException) -> str:
    """The first sentence, without the arguments that TFDS puts before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0].split('}": ')[-1] if lines else type(error).__name__
    return text.split(". ")[0].rstrip(".:")[:200]
