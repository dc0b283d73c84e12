"""Data sets that come with what is installed: no network, no preparation."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np

from jaxdl.data.source import Stored, in_memory


def digits() -> Stored:
    """1,797 handwritten digits as uint8 images [8, 8, 1] with values 0 to 16.

    Source: the test part of the UCI "Optical Recognition of Handwritten Digits"
    (Alpaydin and Kaynak 1998), as scikit-learn carries it.
    """
    table = _digits_table()
    images = table[:, :-1].reshape(-1, 8, 8, 1)
    labels = table[:, -1].astype(np.int32)
    return Stored(
        name="digits",
        train=in_memory(images, labels),
        classes=tuple(map(str, range(10))),
        labels=lambda: labels,
        high=16.0,
    )


def _digits_table() -> np.ndarray:
    """Rows of 64 pixels and a label, uint8 [1797, 65]."""
    text = scikit_learn_file("digits.csv.gz")
    if text is not None:
        return np.loadtxt(text.splitlines(), delimiter=",", dtype=np.uint8)
    from sklearn.datasets import load_digits

    found = load_digits()
    return np.column_stack([found.data, found.target]).astype(np.uint8)


def scikit_learn_file(name: str) -> str | None:
    """The text of a file of data that scikit-learn carries; None where it has none.

    Importing scikit-learn takes over a second; its tables are read in 10 ms.
    """
    file = installed_file("sklearn", "datasets", "data", name)
    if file is None:
        return None
    content = file.read_bytes()
    return (gzip.decompress(content) if file.suffix == ".gz" else content).decode()


def installed_file(package: str, *path: str) -> Path | None:
    """A file that a package brings along, without importing it; None if it has none."""
    found = importlib.util.find_spec(package)
    for folder in (found.submodule_search_locations or []) if found else []:
        file = Path(folder).joinpath(*path)
        if file.is_file():
            return file
    return None
