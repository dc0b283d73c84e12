"""Batches of members are those that each would see alone."""

import numpy as np
import pytest

from jaxdl import data
from jaxdl.data.members import join, shared
from jaxdl.data.source import Source, in_memory


def source(size, start=0, stream=False):
    held = in_memory(
        np.arange(start, start + size, dtype=np.int32)[:, None],
        np.arange(size, dtype=np.int32),
    )
    return Source(size, held.fetch) if stream else held


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("count", [None, 3])
def test_training_batches_equal_each_members_own(stream, count):
    sources = [source(10, 0, stream), source(13, 100, stream), source(7, 200)]
    seeds = (5, 6, 5)
    with data.members_feed(sources, 4, seeds) as feed:
        found = feed(2, count)
    axis = 0 if count is None else 1
    assert found["inputs"].shape[axis : axis + 2] == (3, 4)
    for member, (own, seed) in enumerate(zip(sources, seeds, strict=True)):
        with data.feed(own, 4, seed) as alone:
            expected = alone(2, count)
        for name, rows in expected.items():
            mine = np.take(np.asarray(found[name]), member, axis=axis)
            np.testing.assert_array_equal(mine, rows)


def test_a_shared_source_is_kept_once_and_measured_once():
    one = source(10)
    joined, starts = join([one, one])
    assert joined is one
    assert starts == [0, 0]
    batches = list(data.members_passes([one, one], 4))
    assert [b["inputs"].shape for b in batches] == [(4, 1)] * 3


def test_evaluation_counts_every_example_of_every_member_once():
    sources = [source(10), source(13, 100)]
    assert not shared(sources)
    passes = data.members_passes(sources, 4)
    assert len(passes) == 4
    batches = list(passes)
    for member, own in enumerate(sources):
        rows = [b["inputs"][member][np.asarray(b["mask"][member]) > 0] for b in batches]
        np.testing.assert_array_equal(
            np.concatenate(rows), own.fetch(np.arange(own.size))["inputs"]
        )
        places = [b["position"][member] for b in batches]
        assert np.concatenate(places).tolist() == list(range(16))


def test_a_batch_larger_than_a_members_part_is_refused():
    with pytest.raises(ValueError, match="batch_size=8 is larger than the 7"):
        data.members_feed([source(10), source(7)], 8, (0, 1))
