"""A data set by name: three parts, class names and fitted normalisation."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from jaxdl.data import embedded, files, preprocess, splits, tfds
from jaxdl.data.arrays import Pair, stored_arrays
from jaxdl.data.images import MAX_SIDE
from jaxdl.data.source import Source, Stored, subset
from jaxdl.data.spec import Spec, layout_of

# Decoded bytes of a data set that may be kept in memory and on the device.
MEMORY_BUDGET = 2**30

EMBEDDED: dict[str, Callable[[], Stored]] = {"digits": embedded.digits}

# "npz:PATH": what follows the colon is the reader's.
PREFIXES: dict[str, Callable[..., Stored]] = {
    "npz": files.npz,
    "folder": files.folder,
}

# Comparing the examples of larger sets would delay every start noticeably.
_COMPARE_UP_TO = 2**28


@dataclass(frozen=True)
class Dataset:
    """A data set, divided and ready to be fed.

    Attributes:
      name: as it was asked for.
      train: what parameters are learned from.
      validation: what settings and the best step are chosen by.
      test: looked at once, when all is chosen.
      classes: class names by index; empty for regression.
      input_shape: of one example, such as (height, width, channels).
      preprocess: what was fitted on `train` alone: normalisation, a vocabulary; one of
        the kinds of `jaxdl.data.fitted`.
    """

    name: str
    train: Source
    validation: Source
    test: Source
    classes: tuple[str, ...]
    input_shape: tuple[int, ...]
    preprocess: Any

    @property
    def parts(self) -> dict[str, Source]:
        """The parts by name: train, validation, test."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def spec(self) -> dict[str, Spec]:
        """The form of a stored batch, for `jaxdl.data.check`."""
        first = self.train.fetch(np.zeros(1, np.int64))
        return {
            name: Spec(layout_of(a.shape[1:]), a.shape[1:], a.dtype.name)
            for name, a in first.items()
        }


def load(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    validation_fraction: float | None = None,
    split_seed: int = 0,
    image_size: int | None = None,
    memory_budget: float = MEMORY_BUDGET,
) -> Dataset:
    """A data set by name.

    Args:
      name: an embedded name ("digits"), "npz:PATH", "folder:PATH", or a name of
        TensorFlow Datasets ("mnist", "cifar10", ...).
      data_dir: where TFDS keeps its data sets; its own default if None.
      validation_fraction: of the training part, cut off for validation; by the
        rule of `jaxdl.data.splits` if None.
      split_seed: what the division depends on, and nothing else.
      image_size: height and width to bring images to when they are decoded.
      memory_budget: bytes of decoded data; a larger set is streamed.

    Raises:
      FileNotFoundError: a path that does not exist, a set that is not prepared.
      ValueError: an unknown name, data that can't be read or divided.
    """
    if data_dir is not None and not Path(data_dir).expanduser().is_dir():
        raise FileNotFoundError(
            f"--data_dir={data_dir} does not exist or is no folder; create it or "
            "leave the flag out"
        )
    if image_size is not None and not 1 <= image_size <= MAX_SIDE:
        raise ValueError(
            f"--image_size={image_size} is not allowed; give 1 to {MAX_SIDE}"
        )
    reader = _reader(name, data_dir, image_size)
    stored = reader(memory_budget=memory_budget)
    return divide(stored, validation_fraction, split_seed)


def from_arrays(
    inputs: Any,
    targets: Any,
    *,
    validation: Pair | None = None,
    test: Pair | None = None,
    classes: tuple[str, ...] | None = None,
    name: str = "arrays",
    validation_fraction: float | None = None,
    split_seed: int = 0,
    memory_budget: float = MEMORY_BUDGET,
) -> Dataset:
    """A data set of the user's own arrays.

    Args:
      inputs: [n, ...] numbers of any shape: vectors [n, features], sequences [n,
        time, features], images [n, height, width, channels] (or uint8 [n, height,
        width]), ...; integers are stored as they are.
      targets: [n] integers are class indices, floats [n] or [n, k] regression.
      validation: (inputs, targets) of its own.
      test: (inputs, targets) of its own; without it one is cut off.
      classes: class names by index; "0", "1", ... if None.
      name: for the screen and the run folder.
      validation_fraction, split_seed, memory_budget: as in `load`.

    Raises:
      ValueError: arrays that don't fit together or can't be learned from.
    """
    stored = stored_arrays(
        name,
        (inputs, targets),
        validation=validation,
        test=test,
        classes=tuple(classes) if classes is not None else None,
        memory_budget=memory_budget,
    )
    return divide(stored, validation_fraction, split_seed)


def divide(
    stored: Stored, validation_fraction: float | None = None, split_seed: int = 0
) -> Dataset:
    """Cut the missing parts from the training part and fit the normalisation.

    Raises:
      ValueError: as ``parts_of``, or parts differ in shape.
    """
    train, validation, test = parts_of(stored, validation_fraction, split_seed)
    shape = _common_shape(stored.name, train, validation, test)
    warn_of_repeats(stored.name, train, validation, test)
    fitted = preprocess.fit(train, split_seed, stored.high)
    return Dataset(stored.name, train, validation, test, stored.classes, shape, fitted)


def parts_of(
    stored: Stored, validation_fraction: float | None = None, split_seed: int = 0
) -> tuple[Source, Source, Source]:
    """(train, validation, test), cut from the training part as far as missing.

    A set with a test part keeps it. One with a validation part but no test part
    is tested on that (as is usual with ImageNet). Sets of up to
    `splits.STRATIFY_UP_TO` examples are cut so that every part has its share of
    each class.

    Raises:
      ValueError: a part would be empty, there is one class only, or a fraction is
        given for a set with a validation part of its own.
    """
    if len(stored.classes) == 1:
        raise ValueError(
            f"{stored.name} has one class only ({stored.classes[0]}); at least 2 are "
            "needed"
        )
    test, validation = stored.test, stored.validation
    if test is None and validation is not None:
        logging.info("%s has no test part: its validation part is it", stored.name)
        test, validation = validation, None
    if validation is None:
        return _cut(stored, test, validation_fraction, split_seed)
    if validation_fraction is not None:
        raise ValueError(
            f"--validation_fraction={validation_fraction:g}: {stored.name} has a "
            f"validation part of its own ({validation.size} examples); leave it out"
        )
    assert test is not None
    return stored.train, validation, test


def _reader(
    name: str, data_dir: str | os.PathLike[str] | None, image_size: int | None
) -> Callable[..., Stored]:
    """What reads the set of this name, given `memory_budget`."""
    prefix, colon, path = name.partition(":")
    resizable = prefix == "folder" or (not colon and name not in EMBEDDED)
    if image_size is not None and not resizable and prefix in {*PREFIXES, *EMBEDDED}:
        raise ValueError(
            f"--image_size={image_size} is for image files and TFDS; {prefix} is used "
            "in the size it has"
        )
    if name in EMBEDDED:
        return lambda memory_budget: EMBEDDED[name]()
    if colon and prefix in PREFIXES:
        options = {"image_size": image_size} if resizable else {}
        return partial(PREFIXES[prefix], path, **options)
    return partial(
        tfds.read,
        name,
        data_dir=None if data_dir is None else Path(data_dir).expanduser(),
        image_size=image_size,
        others=(*EMBEDDED, *(f"{prefix}:PATH" for prefix in PREFIXES)),
    )


def _cut(
    stored: Stored,
    test: Source | None,
    validation_fraction: float | None,
    split_seed: int,
) -> tuple[Source, Source, Source]:
    """(train, validation, test), cut from the training part as far as missing."""
    size = stored.train.size
    sizes = splits.split_sizes(size, test is not None, validation_fraction)
    labels = None
    if stored.classes and size <= splits.STRATIFY_UP_TO:
        labels = stored.labels()
    parts = splits.split(size, sizes, split_seed, labels)
    train, validation = (subset(stored.train, part) for part in parts[:2])
    return train, validation, test or subset(stored.train, parts[2])


def _common_shape(name: str, *sources: Source) -> tuple[int, ...]:
    first = np.zeros(1, np.int64)
    shapes = [source.fetch(first)["inputs"].shape[1:] for source in sources]
    if len(set(shapes)) > 1:
        raise ValueError(
            f"{name}: examples differ in shape between its parts: "
            + ", ".join(str(list(shape)) for shape in dict.fromkeys(shapes))
        )
    return shapes[0]


def warn_of_repeats(name: str, train: Source, *held_out: Source) -> None:
    """Log a warning if examples of the training part are held out as well."""
    sources = (train, *held_out)
    if any(source.arrays is None for source in sources):
        return
    inputs = [source.arrays["inputs"] for source in sources if source.arrays]
    if sum(x.nbytes for x in inputs) > _COMPARE_UP_TO:
        return
    known = {hash(row.tobytes()) for row in inputs[0]}
    for part, rows in zip(("validation", "test"), inputs[1:], strict=True):
        repeats = sum(hash(row.tobytes()) in known for row in rows)
        if repeats:
            logging.warning(
                "%s: %d of %d %s examples are also in the training part",
                name,
                repeats,
                len(rows),
                part,
            )
