"""The compiled layer norm equals its formula, in value and all derivatives."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxdl import kernels
from jaxdl.kernels.layer_norm import formula
from tests.kernels.agreement import close

pytestmark = pytest.mark.usefixtures("compiled")

# Examples, places, features: fewer than a vector holds, no multiple, and enough numbers
# for several threads.
CASES = [(2, 17, 3), (3, 5, 37), (4, 64, 128)]
EPSILON = 1e-3


def draw(case, dtype="float64"):
    random = np.random.default_rng(0)
    x = 3 + random.normal(size=case)
    scale, bias = random.normal(size=(2, case[-1]))
    return [jnp.asarray(part, dtype) for part in (x, scale, bias)]


def outcome(run):
    """Value and gradients, of something that is not linear."""

    def loss(*operands):
        found = run(*operands, EPSILON)
        return jnp.sum(jnp.sin(found)), found

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_the_formula_in_value_and_gradients(case):
    with jax.enable_x64(True):
        operands = draw(case)
        ours, theirs = outcome(kernels.layer_norm), outcome(formula)
        close(ours(*operands), theirs(*operands), 1e-11)


def test_in_float32_it_is_right_beside_a_large_mean():
    x, scale, bias = draw((4, 8, 40), "float32")
    x = 1000 + x
    exact = np.asarray(x, np.float64)
    apart = exact - exact.mean(-1, keepdims=True)
    expected = apart / np.sqrt(exact.var(-1, keepdims=True) + EPSILON)
    found = kernels.layer_norm(x, scale, bias, EPSILON)
    np.testing.assert_allclose(found, expected * scale + bias, rtol=1e-3, atol=1e-3)


def test_derivatives_of_second_order():
    with jax.enable_x64(True):
        operands = draw((2, 3, 4))
        run = jax.jit(lambda *o: jnp.sin(kernels.layer_norm(*o, EPSILON)))
        check_grads(run, operands, order=2, modes=["rev"])


def test_members_are_one_call():
    with jax.enable_x64(True):
        operands = draw(CASES[0])
        many = [jnp.stack([a, 2 * a, a - 1]) for a in operands]
        for lies in ((0, 0, 0), (0, None, None), (None, 0, 0)):
            pairs = zip(operands, many, lies, strict=True)
            given = [b if on == 0 else a for a, b, on in pairs]
            ours, theirs = (
                jax.vmap(outcome(run), lies) for run in (kernels.layer_norm, formula)
            )
            close(ours(*given), theirs(*given), 1e-11)
        run = jax.vmap(partial(kernels.layer_norm, epsilon=EPSILON))
        assert str(jax.make_jaxpr(run)(*many)).count("jaxdl_kernel") == 1
