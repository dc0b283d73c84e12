"""Whether two runs came to the same: every bit of their states, metrics, outcome."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxdl.runs.folder import RunFolder, read_json
from jaxdl.train.checkpoints import Checkpoints

# What of a summary does not hang on the clock.
_OUTCOME = ("status", "step", "best_step", "monitor", "metrics", "baselines")


def differences(folder: Path, other: Path) -> list[str]:
    """What is other in one finished run than in another; empty where nothing is.

    Compared are the checkpoints (parameters, optimizer, moving averages, random keys,
    early stopping, which is best, sums of metrics) bit by bit, the metrics file and
    the samples byte by byte, and the outcome; of seeds or folds, each member's too.
    """
    one, two = RunFolder(folder), RunFolder(other)
    found = []
    if _bytes(one.metrics) != _bytes(two.metrics):
        found.append("metrics.jsonl")
    found += _different_states(one.states, two.states)
    ours, theirs = _samples(one), _samples(two)
    found += [f"samples/{n}" for n in {*ours, *theirs} if ours.get(n) != theirs.get(n)]
    ends = read_json(one.summary), read_json(two.summary)
    found += [f"summary {n}" for n in _OUTCOME if ends[0].get(n) != ends[1].get(n)]
    for name in sorted(_members(one) | _members(two)):
        member = differences(one.members / name, two.members / name)
        found += [f"members/{name}: {line}" for line in member]
    return found


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _members(folder: RunFolder) -> set[str]:
    found = folder.members.iterdir() if folder.members.is_dir() else ()
    return {path.name for path in found if RunFolder(path).holds_run()}


def _different_states(folder: Path, other: Path) -> list[str]:
    """Steps and arrays that are not the same."""
    with (
        Checkpoints(folder, read_only=True) as ones,
        Checkpoints(other, read_only=True) as twos,
    ):
        newest = ones.steps()[-1:], twos.steps()[-1:]
        if newest[0] != newest[1] or not newest[0]:
            return [f"newest checkpoint {newest[0]}, not {newest[1]}"]
        step = newest[0][0]
        found = _different_trees(step, ones.read(step), twos.read(step))
        best = int(twos.read(step)["progress"].get("best_step", -1))
        if best in (-1, step):
            return found
        if not (ones.holds(best) and twos.holds(best)):
            return [*found, f"the best checkpoint, {best}, is not there"]
        return [*found, *_different_trees(best, ones.read(best), twos.read(best))]


def same_state(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two checkpoints, as ``Checkpoints.read`` gives them, are bit for bit
    the same."""
    return not _different_trees(0, one, other)


def _different_trees(step: int, one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    if json.dumps(one["about"]) != json.dumps(two["about"]):
        return [f"checkpoint {step}: sums of metrics"]
    rows = [
        jax.tree_util.tree_leaves_with_path((tree["state"], tree["progress"]))
        for tree in (one, two)
    ]
    if [path for path, _ in rows[0]] != [path for path, _ in rows[1]]:
        return [f"checkpoint {step}: structure"]
    return [
        f"checkpoint {step}: {jax.tree_util.keystr(path)}"
        for (path, a), (_, b) in zip(*rows, strict=True)
        if _bits(a) != _bits(b)
    ][:3]


def _bits(leaf: Any) -> tuple[str, tuple[int, ...], bytes]:
    if isinstance(leaf, jax.Array) and jax.numpy.issubdtype(
        leaf.dtype, jax.dtypes.prng_key
    ):
        leaf = jax.random.key_data(leaf)
    array = np.asarray(leaf)
    return str(array.dtype), array.shape, array.tobytes()


def _samples(folder: RunFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.samples.glob("*")}
