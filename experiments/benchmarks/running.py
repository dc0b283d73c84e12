"""What a run costs besides its steps: saving its state, and beginning."""

import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import startup
from jaxdl import __version__, runs, train

MEBIBYTES = 100
SAVES = 5
_VERSIONS = {"jaxdl": __version__, "jax": jax.__version__}


def save(ours: bool) -> dict[str, Any]:
    """Milliseconds that the loop stands still for a save of 100 MiB: until it is on its
    way to the disk, or (not ``ours``) lies there. The first save is not counted."""
    runs.prepare()
    parts = {str(i): jnp.full((2**18,), float(i)) for i in range(MEBIBYTES)}
    state = jax.block_until_ready(parts)
    stalls = []
    with (
        tempfile.TemporaryDirectory() as folder,
        train.Checkpoints(Path(folder) / "states") as checkpoints,
    ):
        for step in range(SAVES + 1):
            began = time.perf_counter()
            checkpoints.save(step, state, {"best_step": jnp.int32(-1)})
            if not ours:
                checkpoints.wait()
            stalls.append(1e3 * (time.perf_counter() - began))
            checkpoints.wait()
        if checkpoints.failed:
            raise RuntimeError(f"saving failed {len(checkpoints.failed)} times")
    middle = float(np.median(stalls[1:]))
    return {"losses": [], "milliseconds": middle, "versions": _VERSIONS}


def start(ours: bool) -> dict[str, Any]:
    """Seconds of a start that finds programs compiled by one before, or (not ``ours``)
    none: to the end of the first step, building alone, and compiling alone."""
    with tempfile.TemporaryDirectory() as folder:
        found = startup.start(Path(folder), "image_classification", "simple_cnn")
        if ours:
            found = startup.start(Path(folder), "image_classification", "simple_cnn")
    return {
        "losses": [],
        "seconds": found["first_step"],
        "build_seconds": found["build"],
        "compile_seconds": found["compile"],
        "milliseconds": 1e3 * found["first_step"],
        "versions": _VERSIONS,
    }


# As the first lines of a program have it.
_IMPORTS = {
    "torch": "import torch",
    "keras": "import keras",
    "flax": "import flax, optax\nfrom flax import linen",
}


def importing(library: str) -> dict[str, Any]:
    """Seconds that importing a library takes in a fresh process."""
    ours = library == "jaxdl"
    seconds = startup.import_seconds(*([] if ours else [_IMPORTS[library]]))
    return {
        "losses": [],
        "seconds": seconds,
        "milliseconds": 1e3 * seconds,
        "versions": _VERSIONS if ours else {},
    }


WORK = {"checkpoint": save, "startup": start}
