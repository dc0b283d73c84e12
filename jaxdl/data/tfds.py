"""Image classification sets of TensorFlow Datasets, read without TensorFlow.

TFDS keeps examples as encoded images in ArrayRecord files, which give random
access. Only *preparing* a set (downloading and writing those files) needs
TensorFlow, and a network.
"""

import difflib
import importlib.util
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from jaxdl.data import images
from jaxdl.data.records import (
    bytes_of,
    damaged,
    first_line,
    labels_of,
    read_examples,
    require_trusted,
)
from jaxdl.data.source import Examples, Source, Stored, read_whole

# The whole of an offline start must stay well within ten seconds.
_NETWORK_SECONDS = 4.0
_NETWORK_PROBE = "https://storage.googleapis.com"

# Records read at once: many, since decoding is vectorised over them, but not the
# whole of a large part, whose encoded images would fill the memory.
_CHUNK = 8_192

# name, name/config, name:1.0.0; anything else before a colon is a community's set,
# whose code TFDS would download and run.
_NAME = re.compile(r"\w+(/[^:]+)?(:[\d.*]+)?")

_PARTS = ("train", "validation", "test")


def read(
    name: str,
    *,
    data_dir: Path | None = None,
    image_size: int | None = None,
    memory_budget: float = float("inf"),
    others: tuple[str, ...] = (),
) -> Stored:
    """An image classification set by its TFDS name, prepared first if need be.

    Args:
      name: "mnist", "cifar10", "name/config", ...
      data_dir: where TFDS keeps its sets; ~/tensorflow_datasets if None.
      image_size: height and width to bring images to; needed where they differ.
      memory_budget: bytes of decoded images; beyond it they are decoded when
        needed.
      others: names that are no TFDS names, to be suggested for unknown ones.

    Raises:
      FileNotFoundError: not prepared, and no network to prepare it.
      ValueError: unknown, no image classification set, images of several sizes.
    """
    builder = open_builder(name, data_dir, others)
    image, label = _features(name, builder)
    shape = _shape(name, builder.info.features[image].shape, image_size)
    builder = prepared(name, builder, data_dir)
    records = records_of(name, builder, label)
    classes = tuple(builder.info.features[label].names)
    total = sum(map(len, records.values())) * prod(shape)
    parts = {}
    for part, found in records.items():
        source = _source(f"{name} {part}", found, image, label, shape, len(classes))
        parts[part] = read_whole(source) if total <= memory_budget else source
    train = parts["train"]

    def labels() -> np.ndarray:
        if train.arrays is not None:
            return train.arrays["targets"]
        return _labels(f"{name} train", records["train"], label, len(classes))

    return Stored(
        name=name,
        train=train,
        classes=classes,
        labels=labels,
        validation=parts.get("validation"),
        test=parts.get("test"),
        high=255.0,
    )


def open_builder(
    name: str,
    data_dir: Path | None,
    others: tuple[str, ...],
    wanted: str = "image classification set, such as mnist",
) -> Any:
    """The TFDS builder; nothing is written yet.

    Raises:
      ValueError: an unknown name; it says what is ``wanted``.
    """
    import tensorflow_datasets as tfds

    sound = _NAME.fullmatch(name) is not None
    if sound:
        require_trusted(name, tfds.core.utils.file_utils.list_data_dirs(data_dir))
    try:
        if not sound:
            raise tfds.core.DatasetNotFoundError
        with _quiet():
            return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        known = [*others, *tfds.list_builders(with_community_datasets=False)]
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
        guess = f"did you mean {' or '.join(close)}? Or " if close else ""
        raise ValueError(
            f"--dataset={name} is unknown; {guess}give {', '.join(others)} or the name "
            f"of a TensorFlow Datasets {wanted}"
        ) from None
    # TFDS asserts on unknown configurations and versions, and raises at will.
    except Exception as error:
        raise ValueError(f"--dataset={name}: {first_line(error)}") from error


def _features(name: str, builder: Any) -> tuple[str, str]:
    """The names of the image and of the label among a set's features."""
    import tensorflow_datasets as tfds

    image, label = labelled(name, builder, tfds.features.Image, "image")
    dtype = builder.info.features[image].np_dtype
    if dtype != np.uint8:
        raise ValueError(
            f"--dataset={name} has {dtype} images; only 8-bit images are read"
        )
    return image, label


def labelled(name: str, builder: Any, kind: type, noun: str) -> tuple[str, str]:
    """The names of the feature of that kind, and of the label, among a set's features.

    Raises:
      ValueError: it has no such feature, or no class label.
    """
    import tensorflow_datasets as tfds

    features = builder.info.features
    named = isinstance(features, tfds.features.FeaturesDict)
    kinds = dict(features.items()) if named else {}
    supervised = builder.info.supervised_keys or ()
    pair = []
    for wanted in (kind, tfds.features.ClassLabel):
        found = [k for k, f in kinds.items() if isinstance(f, wanted)]
        pair += [k for k in found if k in supervised][:1] or found[:1]
    if len(pair) < 2:
        article = "an" if noun == "image" else "a"
        raise ValueError(
            f"--dataset={name} is no {noun} classification set: its features are "
            f"{', '.join(kinds) or 'not named'}; {article} {noun} and a class label "
            "are needed"
        )
    return pair[0], pair[1]


def _shape(
    name: str, declared: tuple[int | None, ...], image_size: int | None
) -> tuple[int, int, int]:
    height, width, channels = declared
    if image_size is not None:
        height = width = image_size
    if height is None or width is None:
        raise ValueError(
            f"--dataset={name} has images of several sizes; --image_size=N brings all "
            "to N x N"
        )
    return height, width, channels or 3


def prepared(
    name: str, builder: Any, data_dir: Path | None, instead: str = "digits"
) -> Any:
    """The builder of a set that is on disk in a format of random access.

    Raises:
      FileNotFoundError, ValueError: it is not, and can't be brought there; the line
        names the embedded set to try ``instead``.
    """
    with _quiet():
        there = builder.is_prepared()
    if there:
        if not _random_access(builder):
            raise ValueError(
                f"--dataset={name} lies in {builder.data_path} as "
                f"{builder.info.file_format.value}, which can't be read at random; "
                "prepare it in another folder (--data_dir), as array_record"
            )
        return builder
    import tensorflow_datasets as tfds

    recipe = f"tfds build {name} --file_format=array_record" + (
        f" --data_dir={data_dir}" if data_dir else ""
    )
    where = f"{name} is not prepared in {Path(builder.data_path).parents[1]}"
    if not _network():
        raise FileNotFoundError(
            f"{where} and there is no network to fetch it; where there is one, type "
            f"pip install 'jaxdl[prepare]' && {recipe}, or try --dataset={instead}"
        )
    if importlib.util.find_spec("tensorflow") is None:
        raise ValueError(
            f"{where}, and preparing it needs TensorFlow; type pip install "
            "'jaxdl[prepare]' and run again (reading it will need no TensorFlow)"
        )
    logging.info("%s; preparing it there, once", where)
    builder = tfds.builder(name, data_dir=data_dir, file_format="array_record")
    try:
        builder.download_and_prepare()
    # Downloads and parsers raise anything; the user needs the one line.
    except Exception as error:
        raise ValueError(
            f"{where}, and preparing it failed ({first_line(error)}); try {recipe}"
        ) from error
    return builder


@contextmanager
def _quiet() -> Iterator[None]:
    """Without TFDS's warnings of every folder where a set is not prepared."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _random_access(builder: Any) -> bool:
    import tensorflow_datasets as tfds

    formats = tfds.core.file_adapters.FileFormat.with_random_access()
    return builder.info.file_format in formats


def _network() -> bool:
    """Whether a server outside answers, within a few seconds whatever happens."""
    answers: list[bool] = []

    def probe() -> None:
        try:
            request = urllib.request.Request(_NETWORK_PROBE, method="HEAD")
            with urllib.request.urlopen(request, timeout=_NETWORK_SECONDS):
                answers.append(True)
        except urllib.error.HTTPError:
            answers.append(True)  # It refused, but it is there.
        except (OSError, ValueError):
            answers.append(False)

    # Looking a name up obeys no time-out, so it is waited for from outside.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(_NETWORK_SECONDS)
    return bool(answers and answers[0])


def records_of(name: str, builder: Any, label: str) -> dict[str, Any]:
    """Random access to the encoded examples of each part with labels."""

    names = [part for part in _PARTS if part in builder.info.splits]
    if "train" not in names:
        raise ValueError(
            f"--dataset={name} has no training part; it has "
            f"{', '.join(builder.info.splits) or 'none'}"
        )
    records = {part: open_records(f"{name} {part}", builder, part) for part in names}
    # Test parts of competitions come without labels, marked -1.
    return {
        part: found
        for part, found in records.items()
        if part == "train" or _labelled(f"{name} {part}", found, label)
    }


def open_records(name: str, builder: Any, part: str) -> Any:
    """Random access to the encoded examples of a part.

    Raises:
      ValueError: its files are missing or damaged, or the training part is empty.
    """
    import tensorflow_datasets as tfds

    if not builder.info.splits[part].num_examples:
        if part == "train":
            raise ValueError(f"{name} part is empty: there is nothing to learn from")
        return ()
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    try:
        found = builder.as_data_source(split=part, deserialize_method=raw)
        found.__getitems__([0])  # opens the first file
        return found
    # What lies there may be anything.
    except Exception as error:
        raise damaged(name, error) from error


def _labelled(name: str, records: Any, label: str) -> bool:
    if not len(records):
        return False
    values = read_examples(name, records, [0])[0][label].int64_list.value
    return bool(values) and values[0] >= 0


def _source(
    name: str,
    records: Any,
    image: str,
    label: str,
    shape: tuple[int, int, int],
    classes: int,
) -> Source:
    def fetch(indices: np.ndarray) -> Examples:
        targets = np.empty(len(indices), np.int32)
        inputs = np.empty((len(indices), *shape), np.uint8)
        for start in range(0, len(indices), _CHUNK):
            here = slice(start, start + _CHUNK)
            chosen = [int(i) for i in indices[here]]
            found = read_examples(name, records, chosen)
            targets[here] = labels_of(name, chosen, found, label, classes)
            pairs = zip(chosen, found, strict=True)
            encoded = [bytes_of(name, i, example, image) for i, example in pairs]
            names = [f"{name} image {i}" for i in chosen]
            inputs[here] = images.decode_many(encoded, shape, names)
        return {"inputs": inputs, "targets": targets}

    return Source(len(records), fetch)


def _labels(name: str, records: Any, label: str, classes: int) -> np.ndarray:
    """Class indices of all examples, without decoding their images."""
    found = []
    for start in range(0, len(records), _CHUNK):
        chosen = range(start, min(start + _CHUNK, len(records)))
        read = read_examples(name, records, chosen)
        found.append(labels_of(name, chosen, read, label, classes))
    return np.concatenate(found)
