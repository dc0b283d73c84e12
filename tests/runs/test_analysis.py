"""What went wrong, and what layers put out."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jaxdl.runs import analysis

PROBABILITIES = arrays.arrays(
    np.float64, st.tuples(st.integers(1, 12), st.just(3)), elements=st.floats(0, 1)
)


@given(p=PROBABILITIES, seed=st.integers(0, 99), count=st.integers(0, 15))
@settings(max_examples=50, deadline=None)
def test_the_worst_are_those_with_the_least_probability_of_the_truth(p, seed, count):
    targets = np.random.default_rng(seed).integers(0, 3, len(p))
    found = analysis.worst(p, targets, count)
    true = [p[i, t] for i, t in enumerate(targets)]
    expected = sorted(range(len(p)), key=lambda i: (true[i], i))[:count]
    assert found.tolist() == expected


def test_nan_is_worst_of_all_and_jax_arrays_will_do():
    p = jnp.array([[0.9, 0.1], [jnp.nan, 0.5], [0.0, 1.0]])
    assert analysis.worst(p, jnp.array([0, 0, 0]), 2).tolist() == [1, 2]


def test_misclassified_are_those_whose_largest_is_another():
    p = np.array([[0.6, 0.4], [0.4, 0.6], [0.3, 0.7]])
    assert analysis.misclassified(p, np.array([0, 0, 1])).tolist() == [1]


def test_nearest_neighbours_know_the_class_where_classes_lie_apart():
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, 40)
    points = rng.normal(scale=0.1, size=(40, 2)) + classes[:, None]
    shares = [
        analysis.knn_accuracy(points[:30], classes[:30], points[30:], targets)
        for targets in (classes[30:], (classes[30:] + 1) % 3)
    ]
    assert shares == [1.0, 0.0]
    # Fewer examples than neighbours: all of them are asked.
    assert analysis.knn_accuracy(points[:1], classes[:1], points[:1], classes[:1]) == 1
