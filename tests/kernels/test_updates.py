"""The compiled Adam and its sums of squares equal their formulas."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxdl import kernels
from jaxdl.kernels.updates import adam_formula, sums_formula
from tests.kernels.agreement import close

pytestmark = pytest.mark.usefixtures("compiled")

CONSTANTS = kernels.Adam(b1=0.8, b2=0.95, eps=1e-4)
# A scalar, less than a vector, several pieces, and together enough for all threads.
SHAPES = [(), (3,), (7, 5, 3), (130, 700), (17,)]
DECAYS = (False, False, True, True, False)


def draw(shapes=SHAPES, dtype="float64", seed=0):
    """A gradient, and what it changes."""
    random = np.random.default_rng(seed)

    def arrays(draw):
        return [jnp.asarray(draw(size=shape), dtype) for shape in shapes]

    old = kernels.Moments(
        arrays(random.normal), arrays(random.normal), arrays(random.uniform)
    )
    return arrays(random.normal), old


def numbers(moves=True, rate=0.01):
    told = (0.3, moves, 0.36, 0.0975, rate, 0.2)
    return kernels.Numbers(*map(jnp.asarray, told))


def both(decays=DECAYS):
    return [partial(run, CONSTANTS, decays) for run in (kernels.adam, adam_formula)]


def test_equal_the_formulas():
    with jax.enable_x64(True):
        gradient, old = draw()
        ours, theirs = both()
        given = gradient, old, numbers()
        close(jax.jit(ours)(*given), theirs(*given), 1e-12)
        close(ours(*given), theirs(*given), 1e-12)
        factor = jnp.asarray(0.7)
        sums = kernels.sums_of_squares(gradient, factor)
        close(sums, sums_formula(gradient, factor), 1e-12)


def test_in_float32_too():
    gradient, old = draw(dtype="float32")
    ours, theirs = both()
    close(ours(gradient, old, numbers()), theirs(gradient, old, numbers()), 1e-5)
    sums = kernels.sums_of_squares(gradient, jnp.float32(1))
    exact = [np.square(np.asarray(x, np.float64)).sum() for x in gradient]
    np.testing.assert_allclose(sums, exact, rtol=1e-6)


def test_what_shall_not_move_stays_to_the_bit_whatever_the_gradient():
    gradient, old = draw(dtype="float32")
    gradient = [x * jnp.nan for x in gradient]
    made = both()[0](gradient, old, numbers(moves=False))
    jax.tree.map(np.testing.assert_array_equal, made, kernels.Moments(*old))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_a_sum_of_what_is_not_finite_is_not(bad):
    gradient, _ = draw(dtype="float32")
    gradient[3] = gradient[3].at[-1, -1].set(bad)
    sums = kernels.sums_of_squares(gradient, jnp.float32(1))
    assert np.isfinite(sums).tolist() == [True, True, True, False, True]


def test_members_are_one_call_whatever_they_share():
    with jax.enable_x64(True):
        gradient, old = draw(SHAPES[:3])
        many = [jnp.stack([x, -x, 2 * x]) for x in gradient]
        told = numbers()._replace(rate=jnp.asarray([0.1, 0.2, 0.3]))
        axes = (0, None, kernels.Numbers(None, None, None, None, 0, None))
        ours, theirs = (jax.vmap(run, axes) for run in both(DECAYS[:3]))
        close(ours(many, old, told), theirs(many, old, told), 1e-12)
        text = str(jax.make_jaxpr(ours)(many, old, told))
        assert text.count("jaxdl_adam") == 1
        twice = jax.vmap(jax.vmap(kernels.sums_of_squares, (0, None)), (0, 0))
        wide = [jnp.stack([x, 3 * x]) for x in many]
        factors = jnp.asarray([1.0, 2.0])
        other = jax.vmap(jax.vmap(sums_formula, (0, None)), (0, 0))
        close(twice(wide, factors), other(wide, factors), 1e-12)


def test_members_that_shall_not_move_stay_beside_those_that_do():
    gradient, old = draw([(5, 4), (5,)], "float32")
    told = numbers()._replace(moves=jnp.asarray([True, False]))
    axes = (None, None, kernels.Numbers(None, 0, None, None, None, None))
    made = jax.vmap(both((True, False))[0], axes)(gradient, old, told)
    for arrays, before in zip(made, old, strict=True):
        for after, own in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(after[1], own)
            assert not np.array_equal(after[0], own)


def test_derivatives_are_those_of_the_formulas():
    with jax.enable_x64(True):
        gradient, old = draw([(2, 3), ()])
        run = both((True, False))[0]

        @jax.jit
        def through(gradient, params, rate):
            told = numbers(rate=rate)
            return run(gradient, old._replace(params=params), told)

        given = gradient, old.params, jnp.asarray(0.1)
        check_grads(through, given, order=1, modes=["fwd", "rev"])
        given, sums = (gradient, jnp.asarray(0.5)), jax.jit(kernels.sums_of_squares)
        check_grads(sums, given, order=2, modes=["fwd", "rev"])


def test_parameters_and_moments_are_written_where_they_lie():
    """A loop's too: no array is copied."""
    gradient, old = draw([(40, 30), (30,)], "float32")
    ours = both((True, False))[0]

    def steps(old):
        def step(old, _):
            return ours(gradient, old, numbers()), None

        return jax.lax.scan(step, old, length=3)[0]

    compiled = jax.jit(steps, donate_argnums=0).lower(old).compile().as_text()
    copied = [line for line in compiled.splitlines() if " copy(" in line]
    assert not [line for line in copied if "[40,30]" in line]
    expected = old
    for _ in range(3):
        expected = both((True, False))[1](gradient, expected, numbers())
    close(jax.jit(steps)(old), expected, 1e-5)


def test_mixed_types_are_refused():
    with pytest.raises(TypeError, match="one type"):
        kernels.sums_of_squares([jnp.ones(3), jnp.ones(3, "bfloat16")], jnp.ones(()))
