"""Gates, the learning rule, and that one line cannot part XOR."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl import analysis
from jaxdl.analysis import perceptron
from tests.quick import jit

numbers = st.floats(-5, 5, width=32)


@pytest.mark.parametrize("name", perceptron.GATES)
def test_truth_tables_of_set_weights(name):
    said = perceptron.GATES[name](perceptron.INPUTS)
    np.testing.assert_array_equal(said, perceptron.TRUTH[name])


def test_xor_of_two_layers():
    said = perceptron.xor(perceptron.INPUTS)
    np.testing.assert_array_equal(said, perceptron.TRUTH["XOR"])


@pytest.mark.parametrize("name", perceptron.GATES)
def test_gates_are_learned(name):
    learned = analysis.learn_perceptron(perceptron.INPUTS, perceptron.TRUTH[name])
    assert learned.accuracy[-1] == 1
    said = learned.perceptron(perceptron.INPUTS)
    np.testing.assert_array_equal(said, perceptron.TRUTH[name])
    # Once all is right nothing changes any more.
    np.testing.assert_array_equal(learned.path.weights[-1], learned.path.weights[-2])


def test_xor_is_never_learned_by_one():
    learned = analysis.learn_perceptron(
        perceptron.INPUTS, perceptron.TRUTH["XOR"], epochs=200
    )
    assert learned.accuracy.max() <= 0.75


@settings(deadline=None, max_examples=200)
@given(numbers, numbers, numbers)
def test_no_line_parts_xor(first, second, bias):
    scores = perceptron.INPUTS @ np.array([first, second]) + bias
    right = np.mean((scores > 0) == perceptron.TRUTH["XOR"])
    assert right <= 0.75


def test_all_gates_but_xor_and_its_opposite_are_linear():
    """Of the 16 functions of two bits a perceptron learns 14."""
    tables = jnp.array(list(itertools.product((0.0, 1.0), repeat=4)))
    learn = jit(jax.vmap(partial(analysis.learn_perceptron, perceptron.INPUTS)))
    accuracy = np.asarray(learn(tables).accuracy[:, -1])
    assert np.sum(accuracy == 1) == 14
    assert accuracy.min() <= 0.75


def test_separable_data_converges_and_the_pocket_keeps_the_best():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)).astype(np.float32)
    margin = x @ np.array([1.0, -2.0, 0.5]) + 0.3
    x, targets = x[np.abs(margin) > 0.3], (margin[np.abs(margin) > 0.3] > 0) * 1.0
    learned = analysis.learn_perceptron(x, targets, epochs=100)
    assert learned.accuracy[-1] == 1
    flipped = np.where(np.arange(len(targets)) < 5, 1 - targets, targets)
    noisy = analysis.learn_perceptron(x, flipped, epochs=30)
    found = np.mean(noisy.best(jnp.asarray(x)) == flipped)
    assert found == pytest.approx(float(noisy.accuracy.max()))
    assert found < 1


def test_a_boundary_is_where_the_function_changes():
    found = analysis.decision_boundary(
        perceptron.GATES["OR"], (-0.5, -0.5), (1.5, 1.5), places=21
    )
    column, row = np.meshgrid(found.x, found.y)
    off = np.abs(0.5 * column + 0.5 * row - 0.2) > 1e-6
    expected = column + row > 0.4
    np.testing.assert_array_equal(found.values[off], expected[off])
