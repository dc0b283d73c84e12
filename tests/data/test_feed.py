"""Batches are a function of (seed, step), the same resident and streamed."""

import threading

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl import data
from jaxdl.data.source import in_memory

quick = settings(max_examples=40, deadline=None)


def _source(size=23, streams=False):
    generator = np.random.default_rng(0)
    inputs = generator.integers(0, 256, (size, 3, 2, 1), dtype=np.uint8)
    inputs[:, 0, 0, 0] = np.arange(size)
    targets = np.arange(size, dtype=np.int32)
    return in_memory(inputs, targets, memory_budget=0 if streams else 2**30)


def _equal(one, two):
    assert one.keys() == two.keys()
    for name in one:
        assert one[name].dtype == two[name].dtype
        np.testing.assert_array_equal(one[name], two[name])


@given(st.integers(1, 40), st.data(), st.integers(0, 5))
@quick
def test_every_epoch_gives_every_example_once(size, draw, seed):
    batch = draw.draw(st.integers(1, size))
    epochs = 3
    steps = -(-size * epochs // batch)
    order = [data.step_indices(size, batch, seed, step) for step in range(steps)]
    assert all(len(indices) == batch for indices in order)
    flat = np.concatenate(order)[: size * epochs].reshape(epochs, size)
    assert flat.dtype == np.int32
    assert np.array_equal(np.sort(flat, axis=1), np.tile(np.arange(size), (epochs, 1)))
    several = data.step_indices(size, batch, seed, 1, steps)
    later = data.step_indices(size, batch, seed, steps)
    assert np.array_equal(several, np.concatenate([*order[1:], later]))


def test_a_step_depends_on_seed_and_step_alone():
    late = data.step_indices(1_000, 100, 7, 123)
    for step in range(40):
        data.step_indices(1_000, 100, 7, step)
    assert np.array_equal(late, data.step_indices(1_000, 100, 7, 123))
    assert not np.array_equal(late, data.step_indices(1_000, 100, 8, 123))
    # Another epoch, another order.
    first, second = (data.step_indices(10, 10, 0, step) for step in (0, 1))
    assert not np.array_equal(first, second)


def test_the_order_is_pinned():
    """A change here changes every run there ever was."""
    assert data.step_indices(10, 4, 0, 0).tolist() == _order(0, 0)[:4]
    assert (
        data.step_indices(10, 4, 3, 2).tolist() == _order(3, 0)[8:] + _order(3, 1)[:2]
    )


def _order(seed, epoch):
    return np.random.default_rng([seed, epoch]).permutation(10).tolist()


@pytest.mark.parametrize("count", [None, 3])
def test_resident_and_streamed_batches_are_equal(count):
    resident, streamed = _source(), _source(streams=True)
    assert resident.arrays is not None
    assert streamed.arrays is None
    on_host = data.feed(resident, 5, 1, on_device=False)
    on_device = data.feed(resident, 5, 1, on_device=True)
    with data.feed(streamed, 5, 1) as stream:
        for step in (0, 3, 6, 5, 40, 43):
            expected = on_host(step, count)
            _equal(expected, on_device(step, count))
            _equal(expected, stream(step, count))
    lead = (5,) if count is None else (3, 5)
    assert expected["inputs"].shape == (*lead, 3, 2, 1)
    assert expected["inputs"].dtype == np.uint8
    np.testing.assert_array_equal(expected["mask"], np.ones(lead, np.float32))
    # An example's target came along with it.
    np.testing.assert_array_equal(expected["inputs"][..., 0, 0, 0], expected["targets"])


def test_a_block_is_its_steps_stacked():
    feed = data.feed(_source(), 4, 0)
    block = feed(8, 3)
    for i in range(3):
        _equal({k: v[i] for k, v in block.items()}, feed(8 + i))
    assert np.array_equal(feed.indices(8, 3)[1], feed.indices(9))


def test_a_streaming_feed_reads_ahead_and_ends_its_thread():
    read = []
    inner = _source(streams=True)

    def fetch(indices):
        read.append(tuple(indices))
        return inner.fetch(indices)

    with data.feed(data.Source(inner.size, fetch), 4, 0) as feed:
        feed(0)
        feed.close()  # Waits for what it had begun, and starts anew below.
        ahead = len(read)
        assert 1 <= ahead <= 3
        _equal(feed(1), data.feed(_source(), 4, 0)(1))
    assert not [t for t in threading.enumerate() if t.name.startswith("jaxdl-feed")]


def test_what_is_foreseen_is_read_once_and_before_it_is_asked_for():
    read = []
    begun = threading.Event()
    inner = _source(streams=True)

    def fetch(indices):
        read.append(tuple(indices))
        begun.set()
        return inner.fetch(indices)

    with data.feed(data.Source(inner.size, fetch), 4, 0) as feed:
        feed.foresee(8, 2)
        assert begun.wait(30)
        _equal(feed(8, 2), data.feed(_source(), 4, 0)(8, 2))
        assert read.count(tuple(feed.indices(8, 2).reshape(-1))) == 1
    with data.feed(_source(), 4, 0) as resident:
        resident.foresee(0)  # there is nothing to be read


def test_trouble_on_the_thread_reaches_the_caller():
    def fetch(indices):
        raise ValueError("image 3 is corrupt")

    source = data.Source(10, fetch)
    with data.feed(source, 2, 0) as feed:
        for step in (0, 1):
            with pytest.raises(ValueError, match="image 3 is corrupt"):
                feed(step)
    with pytest.raises(ValueError, match="image 3 is corrupt"):
        next(iter(data.evaluation_feed(source, 2)))


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("batch", [1, 5, 23, 64])
@pytest.mark.parametrize("on_device", [False, True])
def test_evaluation_gives_every_example_once_in_order(streams, batch, on_device):
    passes = data.evaluation_feed(_source(streams=streams), batch, on_device=on_device)
    for _ in range(2):
        batches = list(passes)
        assert len(batches) == len(passes)
        assert all(b["inputs"].shape == (batch, 3, 2, 1) for b in batches)
        mask = np.concatenate([b["mask"] for b in batches])
        targets = np.concatenate([b["targets"] for b in batches])
        assert mask.sum() == 23
        np.testing.assert_array_equal(targets[mask == 1], np.arange(23))
        # Padding repeats a real example.
        assert set(targets[mask == 0]) <= {0}
    assert not [t for t in threading.enumerate() if t.name.startswith("jaxdl-feed")]


def test_kept_batches_are_read_once_where_there_is_room():
    read = []
    inner = _source()

    def fetch(indices):
        read.append(len(indices))
        return inner.fetch(indices)

    passes = data.evaluation_feed(data.Source(23, fetch), 5)
    expected = list(passes)
    size = sum(leaf.nbytes for batch in expected for leaf in batch.values())
    for most, passes_read in ((size, 1), (size - 1, 3)):
        kept = data.Kept(passes, most)
        next(iter(kept))  # a pass that was broken off
        read.clear()
        for _ in range(3):
            for one, other in zip(kept, expected, strict=True):
                _equal(one, other)
        assert len(read) == passes_read * len(expected)


def test_one_pass_of_batches():
    batches = list(data.evaluation_batches(_source(), 10))
    assert [int(b["mask"].sum()) for b in batches] == [10, 10, 3]


def test_put_says_which_axis_is_the_batch():
    seen = []

    def put(tree, axis):
        seen.extend((name, array.shape, axis) for name, array in tree.items())
        return jax.device_put(tree)

    for on_device in (False, True):
        feed = data.feed(_source(), 4, 0, put=put, on_device=on_device)
        feed(0), feed(0, 2)
    assert all(shape[axis] == 4 for _, shape, axis in seen)
    assert {axis for _, _, axis in seen} == {0, 1}


@pytest.mark.parametrize(
    ("batch", "seed", "message"),
    [
        (24, 0, "batch_size=24 is larger than the 23 training examples"),
        (0, 0, "batch_size=0 is not allowed"),
        (4, -1, "seed -1"),
    ],
)
def test_what_cannot_be_fed_is_refused(batch, seed, message):
    with pytest.raises(ValueError, match=message):
        data.feed(_source(), batch, seed)


def test_an_evaluation_batch_below_1_is_refused():
    with pytest.raises(ValueError, match="batch_size=0 is not allowed"):
        data.evaluation_feed(_source(), 0)


def test_evaluation_tells_each_examples_place_whatever_the_batches():
    for size in (5, 23, 40):
        batches = list(data.evaluation_feed(_source(), size))
        places = np.concatenate([b["position"] for b in batches])
        real = np.concatenate([b["mask"] for b in batches]) > 0
        assert places[real].tolist() == list(range(23))
