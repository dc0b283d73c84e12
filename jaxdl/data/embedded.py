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
    # Importing scikit-learn takes over a second; its table is read in 10 ms.
    package = importlib.util.find_spec("sklearn")
    for folder in (package.submodule_search_locations or []) if package else []:
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            text = gzip.decompress(file.read_bytes()).decode().splitlines()
            return np.loadtxt(text, delimiter=",", dtype=np.uint8)
    from sklearn.datasets import load_digits

    found = load_digits()
    return np.column_stack([found.data, found.target]).astype(np.uint8)
