"""Stored examples, fetched by index."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl.data.source import in_memory

SIZE = 7


@given(
    st.lists(st.integers(-SIZE, SIZE - 1), max_size=9),
    st.sampled_from(["uint8", "int32", "float64", "bool", "U3", "object"]),
    st.sampled_from([(), (3,), (2, 0), (2, 3, 1)]),
)
@settings(max_examples=60, deadline=None)
def test_rows_are_those_that_indexing_gives(indices, dtype, shape):
    values = np.arange(SIZE * int(np.prod(shape))).reshape(SIZE, *shape).astype(dtype)
    at = np.array(indices, np.int32)
    found = in_memory(values, np.arange(SIZE)).fetch(at)
    assert found["inputs"].dtype == values.dtype
    np.testing.assert_array_equal(found["inputs"], values[at])
    np.testing.assert_array_equal(found["targets"], np.arange(SIZE)[at])


@pytest.mark.parametrize("index", [SIZE, -SIZE - 1])
def test_an_index_outside_is_refused(index):
    with pytest.raises(IndexError):
        in_memory(np.zeros(SIZE), np.zeros(SIZE)).fetch(np.array([0, index]))
