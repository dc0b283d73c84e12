"""Helpers of the tests of the experiments."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]


def readme_block(name):
    """The code behind ``<!-- name -->`` in README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(rf"<!-- {name} -->\s*```\w+\n(.*?)```", text, re.DOTALL)
    return code


def stripes(count, seed=0):
    """Grey 6 x 6 images with a bright row, column or diagonal, and which it is."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count).astype(np.int32)
    images = rng.integers(0, 60, (count, 6, 6)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        at = rng.integers(0, 6)
        cells = {0: (at, slice(None)), 1: (slice(None), at), 2: (range(6), range(6))}
        image[cells[int(label)]] = 250
    return images, labels


def digest(folder):
    """Hash of every path, time and byte below a folder."""
    found = hashlib.sha256()
    for path in sorted(Path(folder).rglob("*")):
        found.update(f"{path.relative_to(folder)} {path.stat().st_mtime_ns}".encode())
        if path.is_file():
            found.update(path.read_bytes())
    return found.hexdigest()


def command(module, *arguments, **variables):
    """A command of the experiments, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", f"experiments.{module}", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )
