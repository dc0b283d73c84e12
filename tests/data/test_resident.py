"""Examples that lie on the device whole: a step gathers the batches that feed gives."""

import jax
import numpy as np
import pytest

from jaxdl import data
from jaxdl.data import resident as room
from jaxdl.data.source import Source, in_memory
from jaxdl.parallel import ways

BATCH = 4


def source(size=10):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, size=(size, 3, 3, 1), dtype=np.uint8)
    return in_memory(images, np.arange(size, dtype=np.int32))


def seen(state, batch):
    """A step that tells its batch."""
    return state + 1, batch


def test_without_kernels_there_is_none(monkeypatch):
    monkeypatch.setattr(room.kernels, "supports", lambda _: False)
    assert data.hold(source(), BATCH, jax.devices()[0]) is None


@pytest.mark.usefixtures("compiled")
def test_a_step_gathers_what_the_feed_gives():
    held = source()
    examples = data.hold(held, BATCH, jax.devices()[0])
    feed = data.feed(held, BATCH, seed=3)
    step = data.gathering(seen, examples)
    for number in range(4):
        _, found = jax.jit(step)(0, feed.indices(number))
        require_equal(found, feed(number))
    _, found = jax.jit(ways.scan(step))(0, feed.indices(4, 3))
    require_equal(found, feed(4, 3))


@pytest.mark.usefixtures("compiled")
def test_what_streams_or_is_large_is_left_out(monkeypatch):
    held, device = source(), jax.devices()[0]
    assert data.hold(Source(held.size, held.fetch), BATCH, device) is None
    size = sum(array.nbytes for array in held.arrays.values())
    monkeypatch.setattr(room, "MOST_BYTES", size)
    assert data.hold(held, BATCH, device) is not None
    monkeypatch.setattr(room, "MOST_BYTES", size - 1)
    assert data.hold(held, BATCH, device) is None


def require_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, rows in expected.items():
        assert found[name].dtype == rows.dtype
        np.testing.assert_array_equal(found[name], rows)
