"""Numeric derivatives are the books' figures; a wrong backward pass is named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl import analysis
from tests.quick import jit


def test_derivatives_of_a_parabola():
    """The books': 0.19999999999090 and 0.29999999998 for 0.2 and 0.3."""

    def parabola(x):
        return 0.01 * x**2 + 0.1 * x

    assert analysis.numeric_derivative(parabola, 5) == pytest.approx(
        0.1999999999990898, abs=1e-15
    )
    assert analysis.numeric_derivative(parabola, 10) == pytest.approx(0.3, abs=1e-11)


@pytest.mark.parametrize(
    ("point", "expected"), [((3, 4), (6, 8)), ((0, 2), (0, 4)), ((3, 0), (6, 0))]
)
def test_gradients_of_a_sum_of_squares(point, expected):
    def squares(x):
        return np.sum(x["both"] ** 2)

    found = analysis.numeric_gradient(squares, {"both": np.array(point, float)})
    np.testing.assert_allclose(found["both"], expected, atol=1e-9)
    automatic = jax.grad(squares)({"both": jnp.array(point, float)})
    np.testing.assert_array_equal(automatic["both"], expected)


@settings(deadline=None, max_examples=20)
@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3))
def test_the_central_difference_is_exact_for_quadratics(a, b, x):
    slope = analysis.numeric_derivative(lambda x: a * x * x + b * x, x)
    assert slope == pytest.approx(2 * a * x + b, abs=1e-9)


def test_the_central_difference_errs_by_the_square_of_the_step():
    errors = [
        abs(analysis.numeric_derivative(np.exp, 1.0, h) - np.e) for h in (1e-2, 1e-3)
    ]
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.01)


@jax.custom_vjp
def doubled(x):
    return 2 * x


def layers(params):
    """Two layers, the second of which is multiplied by ``doubled``."""
    hidden = jnp.tanh(params["first"]["kernel"] @ jnp.arange(1.0, 4.0))
    return jnp.sum(jnp.sin(doubled(params["second"]) @ hidden))


def arguments():
    rng = np.random.default_rng(3)
    return {"first": {"kernel": rng.normal(size=(4, 3))}, "second": rng.normal(size=4)}


def plant(backward):
    doubled.defvjp(lambda x: (2 * x, None), lambda _, slope: (backward(slope),))


def test_a_right_backward_pass_passes():
    plant(lambda slope: 2 * slope)
    found = analysis.gradient_check(layers, arguments(), entries=None, jit=jit)
    assert found.error < 1e-8
    assert found.wrong() == ()
    # A direction and every entry of each leaf.
    assert len(found.slopes) == (1 + 12) + (1 + 4)


def test_a_wrong_entry_is_found_and_named():
    plant(lambda slope: 2 * slope.at[2].multiply(1 + 1e-5))
    found = analysis.gradient_check(layers, arguments(), entries=None, jit=jit)
    assert found.wrong() == ("second",)
    assert found.worst.leaf == "second"
    assert found.worst.index == (2,)
    assert found.worst.error == pytest.approx(1e-5, rel=1e-2)
    assert found.error >= found.worst.error
    assert "second at index [2]" in str(found)


def test_a_wrong_leaf_is_found_by_its_direction_alone():
    """Whatever entries are drawn, all of them take part in the direction."""
    plant(lambda slope: 2 * slope.at[0].add(1e-3))
    for seed in range(3):
        found = analysis.gradient_check(
            layers, arguments(), entries=1, seed=seed, jit=jit
        )
        assert found.wrong() == ("second",)


def test_a_gradient_that_is_not_finite_is_infinitely_wrong():
    plant(lambda slope: slope * jnp.nan)
    found = analysis.gradient_check(layers, arguments(), jit=jit)
    assert found.error == np.inf
    assert found.worst.leaf == "second"


def test_a_gradient_of_ones_own_is_checked():
    def squares(x):
        return jnp.sum(x**2)

    at = np.arange(1.0, 4.0)
    right = analysis.gradient_check(squares, at, gradient=lambda x: 2 * x, jit=jit)
    wrong = analysis.gradient_check(squares, at, gradient=lambda x: x, jit=jit)
    assert right.error < 1e-9
    assert wrong.error == pytest.approx(0.5)
    assert wrong.worst.leaf == "the argument"


def test_integers_are_left_alone_and_kinks_stepped_around():
    """At a distance of 3e-6 from the kink of a ReLU only the shortest step is right."""
    at = {"values": np.array([3e-6, 1.0]), "count": np.array(2)}
    found = analysis.gradient_check(
        lambda t: t["count"] * jnp.sum(jax.nn.relu(t["values"])),
        at,
        entries=None,
        jit=jit,
    )
    assert {slope.leaf for slope in found.slopes} == {"values"}
    assert found.error < 1e-6
    with_long_steps = analysis.gradient_check(
        lambda t: jnp.sum(jax.nn.relu(t)), at["values"], entries=None, steps=(1e-4,)
    )
    assert with_long_steps.error > 0.1
