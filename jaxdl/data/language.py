"""Running text for language models: windows of tokens, and what comes next in each.

Sets by name: ``stdlib_source`` comes with Python, ``text:PATH`` is read, others are
TFDS sets of texts (``tiny_shakespeare``).
"""

import sysconfig
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxdl.data import symbols, tfds
from jaxdl.data.dataset import Dataset
from jaxdl.data.records import bytes_of, read_examples
from jaxdl.data.source import Examples, Source, in_memory
from jaxdl.data.symbols import PADDING, Symbols, Tokens
from jaxdl.data.utf8 import read_utf8

STDLIB = "stdlib_source"
NAMES = (STDLIB, "tiny_shakespeare", "text:PATH")

# Where a text has no parts of its own, so much of it is held out for each of
# validation and test.
HELD_OUT = 0.05
# Characters of the standard library: what two cores can go through a few times.
_STDLIB_CHARACTERS = 1_000_000

_PARTS = ("train", "validation", "test")


def load(
    name: str,
    *,
    context: int,
    level: str = "character",
    vocabulary: int = 0,
    data_dir: str | Path | None = None,
    validation_fraction: float | None = None,
    known: Symbols | None = None,
) -> Dataset:
    """A text by name, as windows of ``context`` tokens: inputs [n, context], targets
    the same moved on by one.

    Training windows begin at every place of the training part; those of the others
    follow each other, so that each token but the first is a target once, and the last
    is padded. A text without parts of its own is cut by position: its beginning
    trains, what follows validates, the end tests.

    Args:
      name: "stdlib_source", "text:PATH", or a TFDS set of texts.
      context: tokens of a window.
      level: "character" or "word".
      vocabulary: how many symbols are known; 0 as ``symbols.fit`` has it.
      data_dir: where TFDS keeps its data sets.
      validation_fraction: of a text that is cut, for validation (and as much for
        test); a twentieth if None.
      known: the symbols of another text, to read this one by; ``level`` and
        ``vocabulary`` then don't matter.

    Raises:
      FileNotFoundError: a path that does not exist, a set that is not prepared.
      ValueError: an unknown name; a text that is empty, no UTF-8, or too short.
    """
    symbols.check_level(level)
    if context < 1 or vocabulary < 0:
        raise ValueError(
            f"--context={context} --vocabulary={vocabulary}: give a context of at "
            "least 1 and a vocabulary of at least 0 (all)"
        )
    parts = _parts(name, data_dir, validation_fraction)
    known = known or symbols.fit(parts["train"], level, vocabulary)
    tokens = {part: known.encode(text) for part, text in parts.items()}
    for part, least in (("train", context + 1), ("validation", 2), ("test", 2)):
        if len(tokens[part]) < least:
            raise ValueError(
                f"--dataset={name}: the {part} part has {len(tokens[part])} "
                f"{known.level}s, at least {least} are needed; give a longer text or "
                f"a shorter --context (now {context})"
            )
    return Dataset(
        name=name,
        train=windows(tokens["train"], context),
        validation=passages(tokens["validation"], context),
        test=passages(tokens["test"], context),
        classes=known.names,
        input_shape=(context,),
        preprocess=known,
    )


def windows(tokens: Tokens, context: int) -> Source:
    """A window from every place that has a whole one; none is stored."""
    places = np.arange(context + 1)

    def fetch(indices: np.ndarray) -> Examples:
        found = tokens[np.asarray(indices)[:, None] + places]
        return {"inputs": found[:, :-1], "targets": found[:, 1:]}

    return Source(len(tokens) - context, fetch)


def passages(tokens: Tokens, context: int) -> Source:
    """Windows that follow each other: each token but the first is a target once; the
    last window is padded."""
    count = -(-(len(tokens) - 1) // context)
    room = np.full(count * context + 1, PADDING, np.int32)
    room[: len(tokens)] = tokens
    inputs, targets = room[:-1].copy(), room[1:]
    inputs[len(tokens) - 1 :] = PADDING  # the last token of all is only a target
    return in_memory(inputs.reshape(count, context), targets.reshape(count, context))


def text_of_windows(source: Source) -> Tokens:
    """The tokens of ``windows`` again, in one row."""
    context = source.fetch(np.zeros(1, int))["inputs"].shape[1]
    most = source.fetch(np.arange(0, source.size, context))["inputs"]
    last = source.fetch(np.array([source.size - 1]))["targets"]
    return np.append(most.reshape(-1)[: source.size], last[0])


def text_of_passages(source: Source) -> Tokens:
    """The tokens of ``passages`` again, in one row."""
    whole = source.fetch(np.arange(source.size))
    row = np.append(whole["inputs"].reshape(-1)[:1], whole["targets"].reshape(-1))
    return row[row != PADDING]


def _parts(
    name: str, data_dir: str | Path | None, validation_fraction: float | None
) -> Mapping[str, str]:
    """The texts of the three parts."""
    prefix, colon, path = name.partition(":")
    if colon and prefix == "text":
        return _cut(name, read_utf8(path), validation_fraction)
    if name == STDLIB:
        return _cut(name, stdlib_source(), validation_fraction)
    if data_dir is not None and not Path(data_dir).expanduser().is_dir():
        raise FileNotFoundError(
            f"--data_dir={data_dir} does not exist or is no folder; create it or "
            "leave the flag out"
        )
    folder = None if data_dir is None else Path(data_dir).expanduser()
    parts = tfds_texts(name, folder)
    if set(parts) != set(_PARTS):
        return _cut(name, "\n".join(parts.values()), validation_fraction)
    if validation_fraction is not None:
        raise ValueError(
            f"--validation_fraction={validation_fraction:g}: {name} has a validation "
            "part of its own; leave it out"
        )
    return parts


def _cut(name: str, text: str, validation_fraction: float | None) -> dict[str, str]:
    """A text by position: training, validation, test."""
    fraction = HELD_OUT if validation_fraction is None else validation_fraction
    if not 0 < fraction < 0.5:
        raise ValueError(
            f"--validation_fraction={fraction:g} is not allowed: as much is kept for "
            "the test, so give a fraction between 0 and 0.5"
        )
    if not text:
        raise ValueError(f"--dataset={name} is empty: give a text")
    held_out = round(len(text) * fraction)
    first, second = len(text) - 2 * held_out, len(text) - held_out
    return {
        "train": text[:first],
        "validation": text[first:second],
        "test": text[second:],
    }


def tfds_texts(name: str, data_dir: Path | None = None) -> dict[str, str]:
    """The texts of a TFDS set, those of each part as one, by the part's name; examples
    follow each other a line apart, and labels are not looked at.

    Raises:
      FileNotFoundError: not prepared, and no network to prepare it.
      ValueError: unknown, or no set of texts.
    """
    import tensorflow_datasets

    builder = tfds.open_builder(
        name,
        data_dir,
        (STDLIB, "text:PATH"),
        wanted="set of texts, such as tiny_shakespeare",
    )
    features = builder.info.features
    named = isinstance(features, tensorflow_datasets.features.FeaturesDict)
    kinds = dict(features.items()) if named else {}
    texts = [
        name
        for name, kind in kinds.items()
        if isinstance(kind, tensorflow_datasets.features.Text)
    ]
    if len(texts) != 1:
        raise ValueError(
            f"--dataset={name} is no set of one text an example: its features are "
            f"{', '.join(kinds) or 'not named'}"
        )
    builder = tfds.prepared(name, builder, data_dir, instead=STDLIB)
    parts = {}
    for part in (part for part in _PARTS if part in builder.info.splits):
        told = f"{name} {part}"
        records = tfds.open_records(told, builder, part)
        found = read_examples(told, records, range(len(records)))
        encoded = [bytes_of(told, i, e, texts[0]) for i, e in enumerate(found)]
        parts[part] = b"\n".join(encoded).decode("utf-8", "replace")
    return parts


def stdlib_source() -> str:
    """The source of Python's standard library, about a million characters of it.

    The modules that lie in its folder itself (no packages, none whose name begins
    with an underscore, ASCII only), in alphabetical order.

    Raises:
      FileNotFoundError: this Python comes without its source.
    """
    folder = Path(sysconfig.get_paths()["stdlib"])
    texts: list[str] = []
    for file in sorted(folder.glob("[a-z]*.py")):
        if sum(map(len, texts)) >= _STDLIB_CHARACTERS:
            break
        text = file.read_text("utf-8")
        if text.isascii():
            texts.append(text)
    if not texts:
        raise FileNotFoundError(
            f"the Python in use comes without the source of its library ({folder}); "
            "give --dataset=text:PATH"
        )
    return "\n".join(texts)
