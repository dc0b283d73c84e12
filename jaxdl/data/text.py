"""Texts with labels as a data set of tokens."""

from pathlib import Path

import numpy as np
from absl import logging

from jaxdl.data import text_sets, vocabulary
from jaxdl.data.dataset import MEMORY_BUDGET, Dataset, parts_of, warn_of_repeats
from jaxdl.data.source import Source, Stored, in_memory
from jaxdl.data.vocabulary import Vocabulary
from jaxdl.hardware import require_memory

# What a label may be: yes or no, one class of many, any number of classes.
KINDS = ("binary", "multiclass", "multilabel")


def load(
    name: str,
    *,
    size: int,
    length: int,
    keep: str = "first",
    hashing: bool = False,
    text: str = "",
    label: str = "",
    data_dir: str | Path | None = None,
    validation_fraction: float | None = None,
    split_seed: int = 0,
    memory_budget: float = MEMORY_BUDGET,
) -> Dataset:
    """A set of texts by name: inputs are tokens int32 [n, length], targets as
    ``text_sets.read`` has them; ``preprocess`` is the vocabulary, fitted on the
    training part alone.

    Args:
      name: "stdlib_docstrings", "stdlib_imports", "csv:PATH", or a TFDS set.
      size: of the vocabulary.
      length, keep, hashing: as for ``vocabulary.fit``.
      text, label: the columns of a CSV file.
      data_dir: where TFDS keeps its data sets.
      validation_fraction, split_seed, memory_budget: as for ``jaxdl.data.load``.

    Raises:
      FileNotFoundError: a path that does not exist, a set that is not prepared.
      ValueError: an unknown name, a set that can't be read, divided or learned from.
    """
    stored = text_sets.read(name, _folder(data_dir), text, label)
    if len(stored.classes) > stored.train.size / 2:
        raise ValueError(
            f"--dataset={name}: {stored.train.size} texts with {len(stored.classes)} "
            "different labels, too many for classes: give another --label"
        )
    parts = parts_of(stored, validation_fraction, split_seed)
    known = vocabulary.fit(list(_whole(parts[0])[0]), size, length, keep, hashing)
    train, validation, test = (encoded(known, part, memory_budget) for part in parts)
    if not np.any(train.fetch(np.arange(train.size))["inputs"]):
        raise ValueError(f"--dataset={name}: no text of the training part holds a word")
    warn_of_repeats(name, train, validation, test)
    return Dataset(
        name=name,
        train=train,
        validation=validation,
        test=test,
        classes=stored.classes,
        input_shape=(length,),
        preprocess=known,
    )


def kind_of(data: Dataset) -> str:
    """What a label of the set may be, one of ``KINDS``."""
    targets = data.train.fetch(np.zeros(1, np.int64))["targets"]
    if targets.ndim == 2:
        return "multilabel"
    return "binary" if len(data.classes) == 2 else "multiclass"


def other_texts(
    name: str,
    own: Dataset,
    text: str = "",
    label: str = "",
    data_dir: str | Path | None = None,
) -> Dataset:
    """The texts of another set, with the vocabulary and the classes of one's own.

    Parts that it has not are all of it: nothing is learned from it. The columns are
    looked at for a CSV file alone.

    Raises:
      FileNotFoundError, ValueError: as ``load``; or its classes are others.
    """
    columns = (text, label) if name.startswith("csv:") else ()
    stored = text_sets.read(name, _folder(data_dir), *columns)
    known, classes = own.preprocess, _places(stored, own)
    parts = {}
    for part, source in (
        ("train", stored.train),
        ("validation", stored.validation or stored.test or stored.train),
        ("test", stored.test or stored.validation or stored.train),
    ):
        texts, targets = _whole(source)
        if (targets.ndim == 2) != (kind_of(own) == "multilabel"):
            raise ValueError(
                f"--dataset={name} has {'several' if targets.ndim == 2 else 'one'} of "
                f"its labels a text, but the run was trained on {kind_of(own)} labels"
            )
        if targets.ndim == 2:
            moved = np.zeros((len(targets), len(own.classes)), targets.dtype)
            moved[:, classes] = targets
        else:
            moved = classes[targets].astype(targets.dtype)
        parts[part] = in_memory(known.encode(texts), moved)
    return Dataset(
        name=name,
        classes=own.classes,
        input_shape=own.input_shape,
        preprocess=known,
        **parts,
    )


def encoded(
    known: Vocabulary, source: Source, memory_budget: float = MEMORY_BUDGET
) -> Source:
    """A source of texts as one of tokens."""
    texts, targets = _whole(source)
    # Rows first, then the array of them: int32 twice.
    needed = 2 * 4 * known.length * len(texts)
    require_memory(f"--length={known.length} of texts", needed, "give a lower one")
    return in_memory(known.encode(texts), targets, memory_budget)


def _whole(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """All texts and targets of a source."""
    found = source.fetch(np.arange(source.size))
    return found["inputs"], found["targets"]


def _places(stored: Stored, own: Dataset) -> np.ndarray:
    """For each class of another set, its place among one's own: by name, or else by
    number."""
    if set(stored.classes) <= set(own.classes):
        return np.array([own.classes.index(name) for name in stored.classes])
    if len(stored.classes) != len(own.classes):
        raise ValueError(
            f"--dataset={stored.name} has the classes "
            f"{', '.join(stored.classes[:10])}, but the run was trained on "
            f"{', '.join(own.classes[:10])}"
        )
    logging.warning(
        "classes are named otherwise there (%s...): they are compared by number",
        ", ".join(stored.classes[:5]),
    )
    return np.arange(len(own.classes))


def _folder(data_dir: str | Path | None) -> Path | None:
    if not data_dir:
        return None
    folder = Path(data_dir).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"--data_dir={data_dir} does not exist or is no folder; create it or "
            "leave the flag out"
        )
    return folder
