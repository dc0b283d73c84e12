"""Texts and their labels as a reader finds them, before they become tokens.

Sets by name: ``stdlib_docstrings`` and ``stdlib_imports`` come with Python,
``csv:PATH`` is read, others are TFDS sets of a text and a class label.
"""

import ast
import sysconfig
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxdl.data import csv_files, tfds
from jaxdl.data.labels import k_hot
from jaxdl.data.records import bytes_of, labels_of, read_examples
from jaxdl.data.source import Source, Stored, in_memory

DOCSTRINGS, IMPORTS = "stdlib_docstrings", "stdlib_imports"
NAMES = (DOCSTRINGS, IMPORTS, "imdb_reviews", "csv:PATH")

# Between the labels of a text that has several.
SEPARATOR = "|"

# Packages and modules that are the classes of the embedded sets.
_PACKAGES = 10
_MODULES = 12
# Tests, tables and what is not the standard library.
_LEFT_OUT = frozenset(
    ("test", "tests", "idle_test", "site-packages", "dist-packages", "lib-dynload")
    + ("__pycache__", "encodings", "pydoc_data", "config")
)
_RECORDS = 8_192


def read(
    name: str, data_dir: Path | None = None, text: str = "", label: str = ""
) -> Stored:
    """A set of texts: ``inputs`` are str objects [n], ``targets`` int32 class indices
    [n], or float32 [n, labels] where a text has any number of labels.

    Args:
      name: as above.
      data_dir: where TFDS keeps its sets; its own default if None.
      text, label: the columns of a CSV file, "text" and "label" if empty; for no
        other set.

    Raises:
      FileNotFoundError: a path that does not exist, a set that is not prepared.
      ValueError: in one line, an unknown name, a set that holds no texts and labels.
    """
    prefix, colon, path = name.partition(":")
    if colon and prefix == "csv":
        return _csv(name, path, text, label)
    for flag, value in (("text", text), ("label", label)):
        if value:
            raise ValueError(
                f"--{flag}={value} names a column of a CSV file, but the data set is "
                f"{name}: leave it out, or give --dataset=csv:PATH"
            )
    if name == DOCSTRINGS:
        return _docstrings()
    if name == IMPORTS:
        return _imports()
    return _tfds(name, data_dir)


# The standard library of the interpreter that runs.


class _Module(NamedTuple):
    """What a source file says: its docstrings, and what it imports."""

    package: str
    docstrings: tuple[str, ...]
    imports: frozenset[str]


def _docstrings() -> Stored:
    """Docstrings of modules, classes and functions, by their top-level package: those
    of the ten packages that have most. One that occurs twice is left out."""
    found: dict[str, list[str]] = defaultdict(list)
    for module in _modules(packages_only=True):
        found[module.package] += module.docstrings
    counts = Counter(text for texts in found.values() for text in texts)
    kept = {
        package: [text for text in texts if counts[text] == 1]
        for package, texts in found.items()
    }
    largest = sorted(kept, key=lambda package: (-len(kept[package]), package))
    classes = tuple(sorted(largest[:_PACKAGES]))
    texts = [text for package in classes for text in kept[package]]
    sizes = [len(kept[package]) for package in classes]
    return _stored(
        DOCSTRINGS, texts, np.repeat(np.arange(len(classes)), sizes), classes
    )


def _imports() -> Stored:
    """Docstrings by which modules their source file imports: those of the twelve that
    most files import, at least one. A docstring that occurs twice is left out."""
    modules = [module for module in _modules() if module.docstrings]
    imported = Counter(name for module in modules for name in module.imports)
    ranked = sorted(imported, key=lambda name: (-imported[name], name))
    classes = tuple(sorted(ranked[:_MODULES]))
    counts = Counter(text for module in modules for text in module.docstrings)
    texts, labels = [], []
    for module in modules:
        named = [i for i, name in enumerate(classes) if name in module.imports]
        kept = [text for text in module.docstrings if counts[text] == 1 and named]
        texts += kept
        labels += [named] * len(kept)
    return _stored(IMPORTS, texts, k_hot(labels, len(classes)), classes)


def _modules(packages_only: bool = False) -> Iterator[_Module]:
    """The source files of the standard library, in the order of their names."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for top in sorted(root.iterdir()):
        if top.name in _LEFT_OUT:
            continue
        if (top / "__init__.py").is_file():
            files = sorted(top.rglob("*.py"))
        else:
            files = [top] if top.suffix == ".py" and not packages_only else []
        for file in files:
            if not _LEFT_OUT.intersection(file.relative_to(root).parts[:-1]):
                yield _module(top.stem, file)


def _module(package: str, file: Path) -> _Module:
    docstrings: list[str] = []
    imports: set[str] = set()
    tree = ast.parse(file.read_bytes())
    for node in (tree, *_statements(tree)):
        if isinstance(node, ast.Import):
            imports.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            imports.add(node.module.split(".")[0])
        elif isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ):
            text = ast.get_docstring(node)
            docstrings += [text] if text else []
    return _Module(package, tuple(docstrings), frozenset(imports))


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements below a node. (``ast.walk`` goes through expressions as well and
    takes ten times as long.)"""
    for field in ("body", "handlers", "orelse", "finalbody"):
        for statement in getattr(node, field, ()):
            yield statement
            yield from _statements(statement)


# Files of the user's, and TFDS.


def _csv(name: str, path: str, text: str, label: str) -> Stored:
    table = csv_files.read_csv(path)
    columns = {"text": text, "label": label}
    for flag, column in columns.items():
        if not column and flag in table:
            columns[flag] = flag
    texts, cells = (csv_files.column(table, columns[flag], flag) for flag in columns)
    for column, values in zip(columns.values(), (texts, cells), strict=True):
        empty = [
            i for i, value in enumerate(values, 1) if not value.strip(f" {SEPARATOR}")
        ]
        if empty:
            raise ValueError(
                f"{path}: {column} is empty in {len(empty)} of {len(values)} rows, the "
                f"first is row {empty[0]}: fill in or remove these rows"
            )
    if any(SEPARATOR in cell for cell in cells):
        named = [
            [part.strip() for part in cell.split(SEPARATOR) if part.strip()]
            for cell in cells
        ]
        classes = _class_names(part for parts in named for part in parts)
        rows = k_hot(
            [[classes.index(part) for part in parts] for parts in named], len(classes)
        )
        return _stored(name, texts, rows, classes)
    classes = _class_names(cells)
    number = {label: i for i, label in enumerate(classes)}
    return _stored(name, texts, np.array([number[cell] for cell in cells]), classes)


def _class_names(labels: Iterable[str]) -> tuple[str, ...]:
    """Each name once, in order; whole numbers by their value."""
    names = set(labels)
    # Python reads no number of more than 4,300 digits.
    if all(name.isdecimal() and len(name) < 4_000 for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _tfds(name: str, data_dir: Path | None) -> Stored:
    """The parts of a TFDS set of a text and a class label, read without TensorFlow."""
    from tensorflow_datasets.core.features import Text

    wanted = "set of texts with class labels, such as imdb_reviews"
    builder = tfds.open_builder(name, data_dir, NAMES, wanted)
    text, label = tfds.labelled(name, builder, Text, "text")
    builder = tfds.prepared(name, builder, data_dir, DOCSTRINGS)
    classes = tuple(builder.info.features[label].names)
    parts = {
        part: _read_records(f"{name} {part}", records, text, label, len(classes))
        for part, records in tfds.records_of(name, builder, label).items()
    }
    train = parts["train"]
    return Stored(
        name=name,
        train=train,
        classes=classes,
        labels=lambda: train.fetch(np.arange(train.size))["targets"],
        validation=parts.get("validation"),
        test=parts.get("test"),
    )


def _read_records(
    name: str, records: Any, text: str, label: str, classes: int
) -> Source:
    texts: list[str] = []
    targets = []
    for start in range(0, len(records), _RECORDS):
        chosen = range(start, min(start + _RECORDS, len(records)))
        found = read_examples(name, records, chosen)
        targets.append(labels_of(name, chosen, found, label, classes))
        for index, example in zip(chosen, found, strict=True):
            texts.append(
                bytes_of(name, index, example, text).decode("utf-8", "replace")
            )
    return _source(texts, np.concatenate(targets))


def _stored(
    name: str, texts: Sequence[str], labels: np.ndarray, classes: tuple[str, ...]
) -> Stored:
    source = _source(texts, labels)
    strata = labels
    if labels.ndim == 2:  # every part gets its share of each combination of labels
        _, strata = np.unique(labels, axis=0, return_inverse=True)
    return Stored(name=name, train=source, classes=classes, labels=lambda: strata)


def _source(texts: Sequence[str], labels: np.ndarray) -> Source:
    kept = np.empty(len(texts), object)
    kept[:] = texts
    return in_memory(kept, labels.astype(np.float32 if labels.ndim == 2 else np.int32))
