"""One-hot and k-hot rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import MultiLabelBinarizer

from jaxdl.data import k_hot, one_hot


@given(st.lists(st.integers(0, 6), max_size=20))
@settings(max_examples=30, deadline=None)
def test_one_hot_equals_rows_of_the_identity(labels):
    rows = one_hot(labels, 7)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, np.eye(7)[np.array(labels, int)])


@given(st.lists(st.lists(st.integers(0, 4), max_size=6), max_size=8))
@settings(max_examples=30, deadline=None)
def test_k_hot_equals_scikit_learn(labels):
    expected = MultiLabelBinarizer(classes=range(5)).fit_transform(labels)
    np.testing.assert_array_equal(k_hot(labels, 5), expected.reshape(-1, 5))


@pytest.mark.parametrize("wrong", [-1, 3])
def test_labels_out_of_range_are_refused(wrong):
    for encode, labels in ((one_hot, [0, wrong]), (k_hot, [[0], [1, wrong]])):
        with pytest.raises(ValueError, match=f"label {wrong} is out of range.*0 to 2"):
            encode(labels, 3)


def test_labels_must_be_integers():
    with pytest.raises(ValueError, match="labels are float64"):
        one_hot([0.5], 3)
