"""The compiled LSTM equals its formula, in value and all derivatives."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxdl import kernels
from jaxdl.batch import Context
from jaxdl.kernels.lstm import formula
from jaxdl.layers import Recurrent
from tests.kernels.agreement import close

pytestmark = pytest.mark.usefixtures("compiled")

# Steps, sequences, units: more and fewer sequences than go together, units that whole
# vectors hold and not.
CASES = [(5, 3, 6), (4, 70, 32), (3, 33, 20)]


def draw(case, dtype="float64"):
    time, batch, units = case
    random = np.random.default_rng(0)
    shapes = [(batch, time, 4 * units), (units, 4 * units), *[(batch, units)] * 2]
    operands = [jnp.asarray(random.normal(size=shape), dtype) for shape in shapes]
    operands[1] /= units**0.5
    return operands, jnp.asarray(random.random((batch, time)) > 0.3, dtype)


def outcome(run, reverse, real):
    """Value and gradients, of something that is not linear."""

    def loss(*operands):
        found = run(reverse, *operands, real)
        return sum(jnp.sum(jnp.sin(part)) for part in found), found

    return jax.value_and_grad(loss, argnums=(0, 1, 2, 3), has_aux=True)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_the_formula_in_value_and_gradients(case, reverse):
    with jax.enable_x64(True):
        operands, real = draw(case)
        ours, theirs = (
            jax.jit(outcome(run, reverse, real))(*operands)
            for run in (kernels.lstm, formula)
        )
        close(ours, theirs, 1e-12)


@pytest.mark.parametrize("size", [0.01, 1, 30])
def test_in_float32_too_for_small_and_saturated_gates(size):
    (projected, *rest), real = draw(CASES[1], "float32")
    ours, theirs = (
        jax.jit(outcome(run, False, real))(size * projected, *rest)
        for run in (kernels.lstm, formula)
    )
    close(ours, theirs, 3e-5)


def test_derivatives_of_second_order():
    with jax.enable_x64(True):
        operands, real = draw((3, 2, 2))
        run = jax.jit(lambda *o: kernels.lstm(False, *o, real))
        check_grads(run, operands, order=2, modes=["rev"])


def test_what_is_not_a_number_is_not_hidden():
    (projected, *rest), real = draw(CASES[0], "float32")
    projected = projected.at[0, 1, 2].set(jnp.nan)
    hiddens, _ = kernels.lstm(False, projected, *rest, jnp.ones_like(real))
    assert jnp.isnan(hiddens[0, 1:]).any()
    assert jnp.isfinite(hiddens[1:]).all()


def test_members_with_weights_of_their_own_are_one_call():
    with jax.enable_x64(True):
        operands, real = draw(CASES[0])
        members = [jnp.stack([x, x / 2]) for x in operands]
        ours, theirs = (
            jax.jit(jax.vmap(outcome(run, True, real)))(*members)
            for run in (kernels.lstm, formula)
        )
        close(ours, theirs, 1e-12)


def test_the_layer_takes_it_unless_the_hidden_state_drops_out(monkeypatch):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5, 4)), "float32")
    valid = jnp.asarray([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 1, 1]], bool)
    layer = Recurrent(6)
    variables = layer.init(jax.random.key(0), x, Context())

    def run(layer=layer):
        found = partial(layer.apply, variables, x, Context(), valid)
        return found(), str(jax.make_jaxpr(found)())

    ours, traced = run()
    assert "jaxdl_lstm" in traced
    monkeypatch.setattr(kernels, "supports", lambda dtype: False)
    theirs, traced = run()
    assert "jaxdl_lstm" not in traced
    close(ours, theirs, 1e-6)
