"""Compiled sums of batch norm equal JAX's, in value and all derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxdl import kernels
from jaxdl.batch import Context
from jaxdl.kernels.normalization import formula
from jaxdl.layers import BatchNorm, normalization
from tests.kernels.agreement import close

pytestmark = pytest.mark.usefixtures("compiled")

# Images, places, channels: fewer and more than a vector holds, and no multiple of four.
CASES = [(2, 17, 3), (3, 64, 16), (1, 30, 37)]


def draw(case, dtype="float64"):
    random = np.random.default_rng(0)
    x = jnp.asarray(3 + random.normal(size=case), dtype)
    return x, *jnp.asarray(random.normal(size=(3, case[-1])), dtype)


def plain_moments(x):
    mean = x.mean(1)
    return mean, jnp.square(x - mean[:, None]).sum(1)


def outcome(run):
    """Value and gradients, of something that is not linear."""

    def loss(*operands):
        found = run(*operands)
        return sum(jnp.sum(jnp.sin(part)) for part in jax.tree.leaves(found)), found

    return lambda *operands: jax.jit(
        jax.value_and_grad(loss, argnums=range(len(operands)), has_aux=True)
    )(*operands)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equal_the_formulas_in_value_and_gradients(case):
    with jax.enable_x64(True):
        operands = draw(case)
        for ours, theirs, given in (
            (kernels.moments, plain_moments, operands[:1]),
            (kernels.scale_and_shift, formula, operands),
        ):
            close(outcome(ours)(*given), outcome(theirs)(*given), 1e-12)


def test_in_float32_the_variance_is_right_beside_a_large_mean():
    x = draw((4, 64, 5), "float32")[0] + 1000
    exact = np.asarray(x, np.float64)
    squares = kernels.moments(x)[1]
    expected = np.square(exact - exact.mean(1, keepdims=True)).sum(1)
    np.testing.assert_allclose(squares, expected, rtol=1e-4)


def test_derivatives_of_second_order():
    with jax.enable_x64(True):
        operands = draw((2, 3, 2))
        both = ["fwd", "rev"]
        run = jax.jit(lambda x: jnp.sin(kernels.moments(x)[1]))
        check_grads(run, operands[:1], order=2, modes=both)
        run = jax.jit(lambda *o: jnp.sin(kernels.scale_and_shift(*o)))
        check_grads(run, operands, order=2, modes=["rev"])


def test_members_are_one_call():
    with jax.enable_x64(True):
        operands = draw(CASES[0])
        many = [jnp.stack([a, 2 * a, a - 1]) for a in operands]
        ours, theirs = (
            jax.vmap(outcome(run)) for run in (kernels.scale_and_shift, formula)
        )
        close(ours(*many), theirs(*many), 1e-12)
        text = str(jax.make_jaxpr(jax.vmap(kernels.moments))(many[0]))
        assert text.count("jaxdl_kernel") == 1


@pytest.mark.parametrize("real", [(1, 1, 1, 1), (1, 0, 1, 0), (0, 0, 0, 0)])
def test_the_layer_is_the_same_without_them(real, monkeypatch):
    """Values, gradients and running averages, with padding that is not a number."""
    with jax.enable_x64(True):
        mask = jnp.asarray(real, "float64")
        x = draw((4, 20, 5))[0].reshape(4, 4, 5, 5)
        x = jnp.where(mask[:, None, None, None] > 0, x, jnp.nan)
        layer = BatchNorm()
        variables = layer.init(jax.random.key(0), x, Context())
        variables = jax.tree.map(lambda leaf: leaf.astype("float64"), variables)

        def run(x, params):
            context = Context(training=True, mask=mask)
            whole = {**variables, "params": params}
            y, new = layer.apply(whole, x, context, mutable="batch_stats")
            return jnp.where(mask[:, None, None, None] > 0, y, 0), new

        found = outcome(run)(x, variables["params"])
        text = str(jax.make_jaxpr(run)(x, variables["params"]))
        assert "jaxdl_moments" in text
        monkeypatch.setattr(normalization, "compilable", lambda *_: False)
        close(found, outcome(run)(x, variables["params"]), 1e-11)
