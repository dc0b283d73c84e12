"""Batches as a function of (seed, step): resident on the device or streamed.

Step s takes examples [s B, (s+1) B) of the concatenated permutations of all
epochs, so nothing of an iterator needs saving. A source in memory goes to the
device once and batches are gathered there by a jitted function; where the device
is the CPU, NumPy gathers them instead (measured: 128 MNIST images in 0.02 ms,
against 0.7 ms by XLA's gather), or the step itself (``resident``). A source that
streams is read and placed on a background thread, ahead of the step that will be
asked for. All give equal batches.
"""

import functools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from jaxdl.data.source import Source

Batch = dict[str, Any]
# put(tree, axis): host arrays to the device(s), the batch axis `axis` divided.
Put = Callable[[Any, int], Any]
# replicate(tree): the same arrays whole on every device.
Replicate = Callable[[Any], Any]
# rows(size): which examples of a batch of that size this process is to read.
Rows = Callable[[int], np.ndarray]

# How many calls ahead a streaming feed reads.
AHEAD = 2

# Of batches that are gone through again and again, what may stay on the device.
KEPT_BYTES = 2**26


def step_indices(
    size: int, batch_size: int, seed: int, step: int, count: int = 1
) -> Int[np.ndarray, " examples"]:
    """Which examples step `step` takes: int32 indices [batch_size] below `size`; of
    `count` steps from there on, one after another.

    Every epoch sees every example once, in a permutation that is a pure function
    of (seed, epoch); a batch may span the end of one epoch and the start of the
    next. Indices are drawn by NumPy, whose permutation is far quicker on CPU.

    Raises:
      ValueError: a batch larger than the data, a negative seed or step.
    """
    _require_batch(size, batch_size)
    if seed < 0 or step < 0:
        raise ValueError(f"seed {seed} and step {step} must not be negative")
    epoch, start = divmod(step * batch_size, size)
    missing = count * batch_size
    parts = []
    while missing:
        part = _permutation(size, seed, epoch)[start : start + missing]
        parts.append(part)
        missing -= len(part)
        epoch, start = epoch + 1, 0
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


@functools.lru_cache(maxsize=4)
def _permutation(size: int, seed: int, epoch: int) -> np.ndarray:
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(np.arange(size, dtype=np.int32))
    order.flags.writeable = False
    return order


@dataclass(frozen=True)
class Feed:
    """Training batches of one source, by step.

    `feed(step)` is the batch {"inputs": [batch, ...], "targets": [batch, ...],
    "mask": [batch]} of that step, `feed(step, count)` those of `count` steps
    from there on, stacked [count, batch, ...] for a scan. Close it (or use it in
    a `with`) to end its background thread.

    Attributes:
      order: (step, count) -> indices [count, batch] into the source ([count, members,
        batch] for members).
      read: indices [..., batch] -> the batch on the device(s).
      ahead: keeps the batches read in advance; None for a resident source.
    """

    order: Callable[[int, int], np.ndarray]
    read: Callable[[np.ndarray], Batch]
    ahead: "_Ahead | None" = None

    def __call__(self, step: int, count: int | None = None) -> Batch:
        """The batch of `step`, or those of steps step .. step + count - 1."""
        read = functools.partial(self._read, count=count)
        if self.ahead is None:
            return read(step)
        return self.ahead.get(read, step, count)

    def indices(self, step: int, count: int | None = None) -> np.ndarray:
        """The examples that `feed(step, count)` holds; with `count`, stacked."""
        return self.order(step, 1)[0] if count is None else self.order(step, count)

    def foresee(self, step: int, count: int | None = None) -> None:
        """Begin to read what will be asked for first, where the source streams."""
        if self.ahead is not None:
            read = functools.partial(self._read, count=count)
            self.ahead.begin(read, [(step, count)])

    def close(self) -> None:
        """End the background thread, if there is one."""
        if self.ahead is not None:
            self.ahead.close()

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, step: int, count: int | None) -> Batch:
        return self.read(self.indices(step, count))


def feed(
    source: Source,
    batch_size: int,
    seed: int,
    *,
    put: Put | None = None,
    replicate: Replicate | None = None,
    rows: Rows | None = None,
    on_device: bool | None = None,
) -> Feed:
    """Training batches of `source`.

    Args:
      source: resident (`source.arrays`) or streaming.
      batch_size: examples in a batch, at most `source.size`.
      seed: of the order of the examples.
      put: `put(tree, axis)` places host arrays, dividing their batch axis `axis`
        over devices; by default `jax.device_put` to one device.
      replicate: places the arrays of a resident source, whole, on every device
        that `put` uses.
      rows: which examples of a batch of a given size this process reads and puts;
        None for all.
      on_device: keep a resident source's arrays on the device and gather there;
        if None, wherever the device is not the CPU.

    Raises:
      ValueError: a batch larger than the data, or a negative seed.
    """
    step_indices(source.size, batch_size, seed, 0)
    read = reader(source, put, replicate, rows, on_device)
    ahead = _Ahead() if source.arrays is None else None

    def order(step: int, count: int) -> np.ndarray:
        indices = step_indices(source.size, batch_size, seed, step, count)
        return indices.reshape(count, batch_size)

    return Feed(order, read, ahead)


@dataclass(frozen=True)
class Passes:
    """Evaluation batches of one source; iterate as often as you like.

    Every pass gives every example once, in order. The last batch is padded with
    the first example, at mask 0.0, and so is the last stack, where batches are
    stacked. Each carries ``position``, its examples' places in the source, so that
    what an evaluation draws does not depend on how the source is cut into batches.

    Attributes:
      count: how many batches, or stacks of them.
      order: number of a batch -> (indices [batch], what else the batch is to hold); of
        a stack [stack, batch].
      read: (indices, what else the batch is to hold) -> the batch on the device(s).
      streams: whether batches are read ahead on a background thread.
    """

    count: int
    order: Callable[[int], tuple[np.ndarray, Batch]]
    read: Callable[[np.ndarray, Batch], Batch]
    streams: bool

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Batch]:
        if not self.streams:
            yield from map(self._batch, range(len(self)))
            return
        ahead = _Ahead()
        try:
            for number in range(len(self)):
                yield ahead.get(self._batch, number, None, last=len(self))
        finally:
            ahead.close()

    def _batch(self, number: int) -> Batch:
        return self.read(*self.order(number))


class Kept:
    """Passes over the same batches, which stay on the device(s) after the first, where
    all together take at most ``most`` bytes: of the time of a small MLP's checks, a
    quarter went on reading and placing them."""

    def __init__(self, passes: Passes, most: int = KEPT_BYTES) -> None:
        self._passes, self._most = passes, most
        self._batches: list[Batch] | None = None

    def __iter__(self) -> Iterator[Batch]:
        if self._batches is not None:
            yield from self._batches
            return
        held: list[Batch] = []
        room = self._most
        for batch in self._passes:
            room -= sum(leaf.nbytes for leaf in jax.tree.leaves(batch))
            if room >= 0:
                held.append(batch)
            else:
                held.clear()
            yield batch
        if room >= 0:
            self._batches = held


def pass_indices(
    size: int, shape: tuple[int, ...], number: int
) -> tuple[np.ndarray, Batch]:
    """The indices of an evaluation batch [batch], or of a stack of them, with mask and
    positions: padding beyond the source's end is its first example, at mask 0.0."""
    examples = math.prod(shape)
    start = number * examples
    position = np.arange(start, start + examples, dtype=np.int32).reshape(shape)
    real = position < size
    told = {"mask": real.astype(np.float32), "position": position}
    return np.where(real, position, 0), told


def evaluation_feed(
    source: Source,
    batch_size: int,
    *,
    stack: int | None = None,
    put: Put | None = None,
    replicate: Replicate | None = None,
    rows: Rows | None = None,
    on_device: bool | None = None,
) -> Passes:
    """Evaluation batches of `source`: every example once, the last batch padded.

    With ``stack``, so many batches come at a time, stacked [stack, batch, ...]. The
    other arguments are those of `feed`; a batch may be larger than the source.

    Raises:
      ValueError: a batch size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"--batch_size={batch_size} is not allowed; give 1 or more")
    read = reader(source, put, replicate, rows, on_device)
    shape = (batch_size,) if stack is None else (stack, batch_size)
    order = functools.partial(pass_indices, source.size, shape)
    count = -(-source.size // math.prod(shape))
    return Passes(count, order, read, source.arrays is None)


def evaluation_batches(
    source: Source,
    batch_size: int,
    *,
    put: Put | None = None,
    replicate: Replicate | None = None,
) -> Iterator[Batch]:
    """One pass of `evaluation_feed`."""
    return iter(evaluation_feed(source, batch_size, put=put, replicate=replicate))


class _Ahead:
    """Batches read on a background thread before they are asked for.

    Batches are keyed by (step, count). Asking for another step than was foreseen
    simply reads that one, and looks ahead from there.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._coming: dict[tuple[int, int | None], Future[Batch]] = {}

    def get(
        self,
        read: Callable[[int], Batch],
        step: int,
        count: int | None,
        last: int | None = None,
    ) -> Batch:
        """What `read(step)` gives; then start on the steps that follow it."""
        wanted = [(step + i * (count or 1), count) for i in range(AHEAD + 1)]
        self.begin(read, [key for key in wanted if last is None or key[0] < last])
        # An exception of the thread is raised here, to the caller.
        return self._coming.pop((step, count)).result()

    def begin(
        self, read: Callable[[int], Batch], wanted: list[tuple[int, int | None]]
    ) -> None:
        """Read, in this order, what is wanted; what else was is dropped."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="jaxdl-feed")
        for key in self._coming.keys() - set(wanted):
            self._coming.pop(key).cancel()
        for key in wanted:
            if key not in self._coming:
                self._coming[key] = self._pool.submit(read, key[0])

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
        self._coming.clear()


def reader(
    source: Source,
    put: Put | None = None,
    replicate: Replicate | None = None,
    rows: Rows | None = None,
    on_device: bool | None = None,
) -> Callable[..., Batch]:
    """What turns indices [..., batch], and what is told of them (a mask unless all are
    real), into a placed batch; arguments as in `feed`."""
    place = put or _put
    if on_device is None:
        on_device = jax.default_backend() != "cpu"
    resident: Any = None
    if source.arrays is not None and on_device:
        resident = (replicate or jax.device_put)(dict(source.arrays))

    @functools.lru_cache(maxsize=2)
    def ones(shape: tuple[int, ...]) -> Any:
        # Placing even a small array takes 20 microseconds: once is enough.
        return place({"mask": np.ones(shape, np.float32)}, len(shape) - 1)

    def read(indices: np.ndarray, told: Batch | None = None) -> Batch:
        axis = indices.ndim - 1
        if rows is not None:
            mine = rows(indices.shape[axis])
            indices = indices[..., mine]
            told = told and {name: row[..., mine] for name, row in told.items()}
        placed = ones(indices.shape) if told is None else place(told, axis)
        if resident is not None:
            chosen = place({"indices": indices}, axis)["indices"]
            return {**_gather(resident, chosen), **placed}
        flat = source.fetch(indices.reshape(-1))
        stacked = {k: a.reshape(*indices.shape, *a.shape[1:]) for k, a in flat.items()}
        return {**place(stacked, axis), **placed}

    return read


@jax.jit
def _gather(arrays: Any, indices: jax.Array) -> Any:
    # Indices come from step_indices alone, so no bounds need checking.
    return jax.tree.map(lambda a: a.at[indices].get(mode="promise_in_bounds"), arrays)


def _put(tree: Any, axis: int) -> Any:
    del axis  # One device holds the whole batch.
    return jax.device_put(tree)


def _require_batch(size: int, batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"--batch_size={batch_size} is not allowed; give 1 or more")
    if batch_size > size:
        raise ValueError(
            f"--batch_size={batch_size} is larger than the {size} training examples; "
            f"give at most {size}"
        )
