"""Recurrent layers: Flax's cells, padding, streaming, dropout, gradients."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl.batch import Context
from jaxdl.layers import Bidirectional, Recurrent
from jaxdl.layers.recurrent import CELLS
from tests.quick import check_slopes, draw_variables, jit

KEY = jax.random.key(0)
EVALUATION = Context()
INPUTS, HIDDEN = 3, 4


def sequences(batch=3, time=7, key=KEY):
    return jax.random.normal(key, (batch, time, INPUTS))


def filled(made):
    return draw_variables(made, sequences(), EVALUATION)


@pytest.fixture(scope="module", params=CELLS)
def layer(request):
    """A layer of each cell, and its parameters."""
    made = Recurrent(HIDDEN, request.param)
    return made, filled(made)


@partial(jit, static_argnums=0)
def run(made, variables, x, valid=None, carry=None):
    return made.apply(variables, x, EVALUATION, valid, carry)


def of_flax(cell, params):
    """Flax's cell of the same kind, with the same parameters."""
    blocks = CELLS[cell].gates
    kernels = jnp.split(params["kernel"], blocks, axis=1)
    recurrent = jnp.split(params["recurrent_kernel"], blocks, axis=1)
    biases = jnp.split(params["bias"], blocks)
    if cell == "rnn":
        inner = {"i": {"kernel": kernels[0], "bias": biases[0]}}
        return nn.SimpleCell(HIDDEN), {**inner, "h": {"kernel": recurrent[0]}}
    if cell == "lstm":
        inner = {f"i{n}": {"kernel": k} for n, k in zip("ifgo", kernels, strict=True)}
        for name, kernel, bias in zip("ifgo", recurrent, biases, strict=True):
            inner[f"h{name}"] = {"kernel": kernel, "bias": bias}
        return nn.OptimizedLSTMCell(HIDDEN), inner
    inner = {f"h{n}": {"kernel": k} for n, k in zip("rzn", recurrent, strict=True)}
    for name, kernel, bias in zip("rzn", kernels, biases, strict=True):
        inner[f"i{name}"] = {"kernel": kernel, "bias": bias}
    inner["hn"]["bias"] = params["recurrent_bias"]
    return nn.GRUCell(HIDDEN), inner


@pytest.mark.parametrize("reverse", [False, True])
def test_equal_to_flax(layer, reverse):
    made, variables = layer
    cell, inner = of_flax(made.cell, variables["params"])
    x = sequences()
    flax = nn.RNN(cell, reverse=reverse, keep_order=True, return_carry=True)
    carry, expected = jit(flax.apply)({"params": {"cell": inner}}, x)
    made = made.clone(reverse=reverse)
    outputs, ours = run(made, variables, x)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    # Flax's LSTM hands on (memory, hidden), ours (hidden, memory).
    theirs = carry[::-1] if made.cell == "lstm" else (carry,)
    for got, wanted in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=5)
@given(
    lengths=st.lists(st.sampled_from([0, 2, 5]), min_size=2, max_size=2),
    before=st.integers(0, 3),
    reverse=st.booleans(),
)
def test_padding_never_matters(layer, lengths, before, reverse):
    """Valid steps give what each sequence alone gives, wherever the padding is and
    whatever it holds; padding gives 0."""
    made, variables = layer[0].clone(reverse=reverse), layer[1]
    x = jnp.full((2, 10, INPUTS), jnp.nan)
    valid = np.zeros((2, 10), bool)
    for row, length in enumerate(lengths):
        valid[row, before : before + length] = True
        alone = sequences(1, 6, jax.random.key(row))[0, :length]
        x = x.at[row, before : before + length].set(alone)
    outputs, carry = run(made, variables, x, valid)
    np.testing.assert_array_equal(np.asarray(outputs)[~valid], 0.0)
    for row, length in enumerate(lengths):
        if not length:
            assert all(np.all(np.asarray(c[row]) == 0) for c in carry)
            continue
        alone = x[row : row + 1, before : before + length]
        expected, last = run(made, variables, alone)
        found = outputs[row, before : before + length]
        np.testing.assert_allclose(found, expected[0], rtol=1e-5, atol=1e-6)
        for got, wanted in zip(carry, last, strict=True):
            np.testing.assert_allclose(got[row], wanted[0], rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=3)
@given(cut=st.sampled_from([1, 3, 6]))
def test_halves_with_the_carry_handed_over_are_the_whole(layer, cut):
    made, variables = layer
    x = sequences()
    whole, end = run(made, variables, x)
    first, carry = run(made, variables, x[:, :cut], None, made.initial_carry(3))
    second, last = run(made, variables, x[:, cut:], None, carry)
    np.testing.assert_allclose(
        jnp.concatenate([first, second], axis=1), whole, rtol=1e-5, atol=1e-6
    )
    for got, wanted in zip(last, end, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_the_past_does_not_see_the_future(layer):
    made, variables = layer
    x = sequences()
    changed = x.at[:, 4:].add(1.0)
    before, after = (run(made, variables, s)[0] for s in (x, changed))
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert np.all(np.any(np.asarray(before[:, 4:]) != after[:, 4:], axis=-1))


def test_gradients_in_float64(layer):
    made = layer[0].clone(recurrent_dropout=None)
    valid = jnp.array([[True, True, False], [True, True, True]])
    context = Context(training=True, dropout=0.5)
    with jax.enable_x64():
        x = np.random.default_rng(0).normal(size=(2, 3, INPUTS))
        variables = draw_variables(made, x, EVALUATION, dtype=np.float64)

        def total(variables, x):
            rngs = {"dropout": KEY}
            outputs, carry = made.apply(variables, x, context, valid, rngs=rngs)
            assert outputs.dtype == jnp.float64
            return sum(jnp.sum(jnp.sin(a)) for a in (outputs, *carry))

        check_slopes(total, (variables, x))


def test_initial_weights():
    for cell, kind in CELLS.items():
        made = Recurrent(6, cell)
        params = jit(made.init)(KEY, sequences(), EVALUATION)["params"]
        blocks = jnp.split(params["recurrent_kernel"], kind.gates, axis=1)
        for block in blocks:
            np.testing.assert_allclose(block.T @ block, np.eye(6), atol=1e-5)
        if cell == "lstm":
            forget = np.repeat([0.0, 1.0, 0.0, 0.0], 6)
            np.testing.assert_array_equal(params["bias"], forget)
            assert not np.allclose(blocks[0], blocks[1])
        else:
            np.testing.assert_array_equal(params["bias"], 0.0)


@partial(jit, static_argnums=0)
def dropped(layer, variables, x, context):
    return layer.apply(variables, x, context, rngs={"dropout": KEY})[0]


class TestRecurrentDropout:
    """One mask an example for all of time, on the state where it enters the step."""

    LAYER = Recurrent(HIDDEN, "rnn", recurrent_dropout=None)
    # The state is the input plus what is kept of the state before: small numbers, so
    # that tanh is the identity, add up where nothing drops.
    PARAMS = {
        "kernel": jnp.eye(HIDDEN),
        "recurrent_kernel": jnp.eye(HIDDEN),
        "bias": jnp.zeros(HIDDEN),
    }

    def drop(self, x, rate, position=None, training=True, layer=LAYER):
        context = Context(training=training, dropout=rate, position=position)
        return dropped(layer, {"params": self.PARAMS}, x, context)

    def test_one_mask_for_all_of_time(self):
        x = jnp.full((50, 5, HIDDEN), 1e-4)
        found = np.asarray(self.drop(x, 0.5)) / 1e-4
        # A unit that is dropped never remembers; a kept one doubles its state.
        doubled = np.array([1.0, 3.0, 7.0, 15.0, 31.0])
        kept = found[:, 1] > 2
        for unit in np.ndindex(50, HIDDEN):
            expected = doubled if kept[unit] else np.ones(5)
            np.testing.assert_allclose(found[unit[0], :, unit[1]], expected, rtol=1e-3)
        assert 0.35 < kept.mean() < 0.65
        assert len(np.unique(kept, axis=0)) > 10

    def test_masks_belong_to_examples(self):
        x = jnp.full((6, 3, HIDDEN), 1e-4)
        order = jnp.array([4, 0, 5, 2, 1, 3])
        whole = self.drop(x, 0.5, jnp.arange(6))
        np.testing.assert_array_equal(whole[order], self.drop(x, 0.5, order))

    def test_nothing_drops_in_evaluation_or_at_rate_zero(self):
        x = jnp.full((4, 3, HIDDEN), 1e-4)
        plain = self.drop(x, 0.5, training=False)
        np.testing.assert_allclose(self.drop(x, 0.0), plain, rtol=1e-6)  # traced
        never = Recurrent(HIDDEN, "rnn")
        np.testing.assert_allclose(self.drop(x, 0.5, layer=never), plain, rtol=1e-6)


def test_bidirectional_is_one_layer_each_way():
    made, x = Bidirectional(HIDDEN, "gru"), sequences()
    valid = jnp.arange(7) < jnp.array([7, 3, 5])[:, None]
    variables = filled(made)
    outputs, carries = run(made, variables, x, valid)
    for i, (name, reverse) in enumerate((("forward", False), ("backward", True))):
        one = Recurrent(HIDDEN, "gru", reverse)
        params = {"params": variables["params"][name]}
        expected, carry = run(one, params, x, valid)
        part = outputs[..., i * HIDDEN : (i + 1) * HIDDEN]
        np.testing.assert_allclose(part, expected, rtol=1e-6)
        np.testing.assert_allclose(carries[i][0], carry[0], rtol=1e-6)


def test_half_precision_computes_so_and_keeps_the_carry(layer):
    made, variables = layer
    half = made.clone(dtype=jnp.bfloat16)
    outputs, carry = run(half, variables, sequences())
    assert outputs.dtype == jnp.bfloat16
    assert all(state.dtype == jnp.float32 for state in carry)
    exact, _ = run(made, variables, sequences())
    np.testing.assert_allclose(outputs.astype(np.float32), exact, atol=0.05)


def test_an_unknown_cell_is_refused():
    with pytest.raises(ValueError, match="unknown cell 'lstn': give one of rnn, lstm"):
        Recurrent(HIDDEN, "lstn").init(KEY, sequences(), EVALUATION)
