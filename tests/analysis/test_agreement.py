"""Clusters against classes, by hand."""

import numpy as np
import pytest

from jaxdl import analysis

CLASSES = np.array([0, 0, 0, 1, 1, 1])


def test_the_same_clusters_under_other_names():
    found = analysis.agreement([7, 7, 7, 2, 2, 2], CLASSES)
    assert found == pytest.approx((1, 1, 1, 1))


def test_one_example_astray():
    """Pairs together in both: 3 + 1; of 15: 4 + 9 alike are 0.4667 by chance."""
    found = analysis.agreement([0, 0, 0, 0, 1, 1], CLASSES)
    assert found.accuracy == found.purity == pytest.approx(5 / 6)
    together, clusters, classes = 3 + 1, 6 + 1, 3 + 3
    chance = clusters * classes / 15
    expected = (together - chance) / ((clusters + classes) / 2 - chance)
    assert found.rand_index == pytest.approx(expected)
    counts = np.array([[3, 0], [1, 2]]) / 6
    rows, columns = counts.sum(1, keepdims=True), counts.sum(0, keepdims=True)
    seen = counts > 0
    shared = np.sum(counts[seen] * np.log((counts / (rows * columns))[seen]))
    entropies = [-np.sum(part * np.log(part)) for part in (rows, columns)]
    assert found.mutual_information == pytest.approx(shared / np.mean(entropies))


def test_purity_alone_is_fooled_by_many_clusters():
    found = analysis.agreement(np.arange(6), CLASSES)
    assert found.purity == 1
    assert found.accuracy == pytest.approx(2 / 6)
    assert found.rand_index == pytest.approx(0)


def test_lengths_that_differ():
    with pytest.raises(ValueError, match="5 clusters of examples, 6 classes"):
        analysis.agreement(np.zeros(5), CLASSES)
