"""Compiled maximum pooling and its gradient equal JAX's, ties included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxdl import kernels
from jaxdl.kernels.pooling import formula
from jaxdl.layers import max_pool
from tests.kernels.agreement import close

pytestmark = pytest.mark.usefixtures("compiled")

# Images, height, width, channels: even and odd sizes; fewer channels than a vector
# holds, more, and whole vectors.
CASES = [(2, 4, 6, 3), (1, 5, 7, 30), (3, 2, 3, 16)]


def draw(case, dtype="float64", steps=3):
    """Of few different numbers: most windows have ties."""
    random = np.random.default_rng(0)
    return jnp.asarray(random.integers(0, steps, size=case), dtype)


def outcome(run):
    def loss(x):
        y = run(x)
        return jnp.sum(jnp.sin(y + jnp.arange(y.size).reshape(y.shape))), y

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_the_formula_to_the_bit(case, dtype):
    with jax.enable_x64(True):
        x = draw(case, dtype)
        (_, ours), slope = outcome(kernels.max_pool)(x)
        (_, theirs), expected = outcome(formula)(x)
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(slope, expected)


def test_what_is_not_a_number_stays():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    for place in range(4):
        found = kernels.max_pool(x.at[0, place // 2, place % 2].set(jnp.nan))
        assert np.isnan(found[0, 0, 0, 0])
        assert np.isnan(found).sum() == 1


def test_derivatives_of_second_order():
    with jax.enable_x64(True):
        x = jax.random.normal(jax.random.key(0), (1, 4, 5, 2), "float64")
        run = jax.jit(lambda x: jnp.sin(kernels.max_pool(x)))
        check_grads(run, (x,), order=2, modes=["rev"])


def test_members_are_one_call():
    x = jnp.stack([draw(CASES[0], "float32", steps) for steps in (2, 5, 9)])
    ours, theirs = (jax.vmap(outcome(run)) for run in (kernels.max_pool, formula))
    close(ours(x), theirs(x), 1e-6)
    text = str(jax.make_jaxpr(jax.vmap(outcome(kernels.max_pool)))(x))
    assert text.count("jaxdl_kernel") == 2  # forward and gradient


def test_the_layer_takes_it_where_windows_are_2_by_2():
    x = draw((2, 6, 6, 3), "float32")

    def called(**options):
        run = jax.grad(lambda x: jnp.sum(max_pool(x, **options)))
        return "jaxdl_pool_gradient" in str(jax.make_jaxpr(run)(x))

    assert called(window=2)
    assert called(window=2, padding="SAME")
    assert not called(window=3)
    assert not called(window=2, strides=1)
    assert not called(window=2, padding=((0, 2), (0, 2)))
