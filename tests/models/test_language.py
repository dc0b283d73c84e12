"""Recurrent language models, and how far back a model looks."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxdl import models
from jaxdl.models import RecurrentLM, precision
from jaxdl.models.lags import gradient_by_lag
from tests.quick import draw_variables, jit

TOKENS = np.random.default_rng(0).integers(1, 7, (2, 6))


@pytest.mark.parametrize(("cell", "tied"), [("lstm", True), ("gru", False)])
def test_the_future_changes_nothing_and_carries_give_the_same(cell, tied):
    model = RecurrentLM(classes=7, cell=cell, width=5, layers=2, tied=tied)
    variables = draw_variables(model, TOKENS)
    run = jit(model.apply)
    whole = run(variables, TOKENS)
    changed = TOKENS.copy()
    changed[:, 4:] = 1
    np.testing.assert_allclose(run(variables, changed)[:, :4], whole[:, :4], atol=1e-6)

    decode = jit(partial(model.apply, method="decode"))
    carries = model.apply(variables, 2, method="start")
    for start in (0, 3):
        part = TOKENS[:, start : start + 3]
        logits, carries = decode(variables, part, carries, start)
        np.testing.assert_allclose(logits, whole[:, start : start + 3], atol=1e-5)


def test_gradients_in_float64(monkeypatch):
    monkeypatch.setitem(precision.DTYPES, "float64", jnp.float64)
    with jax.enable_x64(True):
        model = RecurrentLM(classes=5, width=3, dtype="float64")
        tokens = TOKENS[:1, :3] % 5
        params = draw_variables(model, tokens, dtype=np.float64)["params"]
        check_grads(
            jax.jit(lambda p: jnp.sin(model.apply({"params": p}, tokens)).sum()),
            (params,),
            order=1,
            modes=("rev",),
            atol=1e-6,
            rtol=1e-6,
            eps=1e-6,
        )


def test_models_are_made_by_name():
    for name in ("lstm_lm", "gru_lm"):
        model = models.create(name, classes=4, width=3, tied=False)
        assert model.cell == name.removesuffix("_lm")
    with pytest.raises(ValueError, match="gru_lm has no option 'heads'"):
        models.create("gru_lm", classes=4, heads=2)
    with pytest.raises(ValueError, match="0 layers: give 1 or more"):
        draw_variables(RecurrentLM(classes=4, layers=0), TOKENS)


def test_gradients_by_lag_are_those_of_the_embeddings():
    targets = np.array([3, 5])

    def loss(params, tokens):
        logits = model.apply({"params": params}, tokens)[:, -1]
        return -jax.nn.log_softmax(logits)[np.arange(2), targets]

    # The first token occurs nowhere else, so its row of the table is its embedding
    # there (untied: the table is no output layer).
    model = RecurrentLM(classes=9, cell="gru", width=4, tied=False)
    tokens = TOKENS.copy()
    tokens[:, 0] = [7, 8]
    params = draw_variables(model, tokens)["params"]
    norms = jit(partial(gradient_by_lag, model))(params, tokens, targets)
    assert norms.shape == (6,)
    slopes = jit(jax.jacrev(loss))(params, tokens)["embedding"]["table"]["embedding"]
    # The embedding is the row times the root of the width.
    each = [np.linalg.norm(slopes[i, tokens[i, 0]]) / 2 for i in range(2)]
    np.testing.assert_allclose(norms[-1], np.mean(each), rtol=1e-4)
