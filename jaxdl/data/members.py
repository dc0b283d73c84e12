"""Batches for members that train together: [members, batch, ...].

Each member's examples are those that a run of its own would see: its seed decides
their order, and its source may be its own (a fold, a bootstrap sample).
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from jaxdl.data.feed import (
    Batch,
    Feed,
    Passes,
    Put,
    Replicate,
    evaluation_feed,
    pass_indices,
    reader,
    step_indices,
)
from jaxdl.data.source import Examples, Source, from_mapping


def members_feed(
    sources: Sequence[Source],
    batch_size: int,
    seeds: Sequence[int],
    *,
    put: Put | None = None,
    replicate: Replicate | None = None,
) -> Feed:
    """Training batches of all members, stacked [members, batch, ...].

    Args:
      sources: each member's; the very same one for members that share it.
      batch_size: examples of a member's batch.
      seeds: each member's, of the order of its examples.
      put, replicate: as in ``feed``.
    """
    joined, starts = join(sources)

    def order(step: int, count: int) -> np.ndarray:
        rows = [
            start + step_indices(source.size, batch_size, seed, step, count)
            for source, start, seed in zip(sources, starts, seeds, strict=True)
        ]
        return np.stack(rows).reshape(-1, count, batch_size).swapaxes(0, 1)

    order(0, 1)
    return Feed(order, reader(joined, put, replicate), None)


def members_passes(
    sources: Sequence[Source],
    batch_size: int,
    *,
    put: Put | None = None,
    replicate: Replicate | None = None,
) -> Passes:
    """Evaluation batches of all members: each member's every example once.

    Of a source that all share, batches without an axis of members; else stacked
    [members, batch, ...], the shorter ones padded at mask 0.0.
    """
    if shared(sources):
        return evaluation_feed(sources[0], batch_size, put=put, replicate=replicate)
    joined, starts = join(sources)

    def order(number: int) -> tuple[np.ndarray, Batch]:
        rows = [pass_indices(source.size, (batch_size,), number) for source in sources]
        indices = [start + own for start, (own, _) in zip(starts, rows, strict=True)]
        told = {name: np.stack([t[name] for _, t in rows]) for name in rows[0][1]}
        return np.stack(indices), told

    count = max(-(-source.size // batch_size) for source in sources)
    return Passes(count, order, reader(joined, put, replicate), joined.arrays is None)


def shared(sources: Sequence[Source]) -> bool:
    """Whether all members have the very same source."""
    return all(source is sources[0] for source in sources)


def join(sources: Sequence[Source]) -> tuple[Source, list[int]]:
    """One source that holds those of all members, and where each begins in it."""
    if shared(sources):
        return sources[0], [0] * len(sources)
    ends = np.cumsum([source.size for source in sources])
    starts = [0, *ends[:-1].tolist()]
    held = [source.arrays for source in sources if source.arrays is not None]
    if len(held) < len(sources):
        return Source(int(ends[-1]), partial(_fetch, sources, ends)), starts
    arrays = {name: np.concatenate([one[name] for one in held]) for name in held[0]}
    return from_mapping(arrays), starts


def _fetch(
    sources: Sequence[Source], ends: np.ndarray, indices: np.ndarray
) -> Examples:
    """The examples at indices [n] of the joined source, in their order."""
    owner = np.searchsorted(ends, indices, side="right")
    out: Examples = {}
    for number, source in enumerate(sources):
        mine = owner == number
        if not mine.any():
            continue
        start = ends[number] - source.size
        for name, rows in source.fetch(indices[mine] - start).items():
            if name not in out:
                out[name] = np.empty((len(indices), *rows.shape[1:]), rows.dtype)
            out[name][mine] = rows
    return out
