"""Encoder-decoders: what may be known of source and target, and what is written."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from jaxdl import models
from jaxdl.batch import Context
from jaxdl.models.sequence_to_sequence import source_attention, write_greedily

KEY = jax.random.key(0)
CLASSES, VOCABULARY, SOURCE, TARGET = 6, 7, 5, 4
SMALL = {"classes": CLASSES, "vocabulary": VOCABULARY, "width": 8}
ARGUMENTS = {
    "lstm_seq2seq": SMALL,
    "lstm_attention_seq2seq": SMALL,
    "transformer_seq2seq": {**SMALL, "layers": 1, "heads": 2, "max_length": 5},
}


def tokens(seed, *shape, below):
    return jax.random.randint(jax.random.key(seed), shape, 1, below, jnp.int32)


INPUTS = {
    "source": tokens(1, 3, SOURCE, below=VOCABULARY).at[1, 3:].set(0),
    "target": tokens(2, 3, TARGET, below=CLASSES),
}


def drawn(model, dtype=np.float32):
    """Parameters without compiling what initialises them."""
    shapes = jax.eval_shape(model.init, KEY, INPUTS)["params"]
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: rng.normal(0, leaf.shape[0] ** -0.5, leaf.shape).astype(dtype),
        shapes,
    )


class Compiled:
    """A model with parameters, and the functions that tests share."""

    def __init__(self, name):
        self.name, self.model = name, models.create(name, **ARGUMENTS[name])
        self.params = drawn(self.model)
        self.apply = jax.jit(lambda inputs: self._call(inputs))
        self.start = jax.jit(lambda source: self._call(source, method="start"))
        self.decode = jax.jit(lambda *to: self._call(*to, method="decode"))

    def _call(self, *inputs, method="__call__"):
        return self.model.apply({"params": self.params}, *inputs, method=method)


@cache
def compiled(name):
    return Compiled(name)


@pytest.fixture(scope="module", params=list(ARGUMENTS))
def made(request):
    return compiled(request.param)


def test_logits_of_each_token_are_float32(made):
    logits = made.apply(INPUTS)
    assert logits.shape == (3, TARGET, CLASSES)
    assert logits.dtype == jnp.float32
    assert np.isfinite(logits).all()


@settings(deadline=None, max_examples=8)
@given(st.integers(0, TARGET - 1), st.integers(0, 10**6))
def test_no_token_of_the_target_is_known_before_it_is_read(made, place, seed):
    changed = tokens(seed, 3, TARGET, below=CLASSES)
    later = jnp.arange(TARGET) >= place
    target = jnp.where(later, changed, INPUTS["target"])
    before, after = made.apply(INPUTS), made.apply({**INPUTS, "target": target})
    np.testing.assert_allclose(before[:, :place], after[:, :place], atol=1e-6)


def test_every_token_of_the_source_is_known_and_padding_is_not(made):
    logits = made.apply(INPUTS)
    for place in range(SOURCE):
        source = INPUTS["source"].at[0, place].set(INPUTS["source"][0, place] % 6 + 1)
        moved = np.abs(made.apply({**INPUTS, "source": source}) - logits).max((1, 2))
        assert moved[0] > 1e-5
        np.testing.assert_allclose(moved[1:], 0, atol=1e-6)
    short = {name: value[1:2] for name, value in INPUTS.items()}
    cut = {**short, "source": short["source"][:, :3]}
    np.testing.assert_allclose(made.apply(cut), logits[1:2], atol=1e-5)


def test_a_source_of_padding_alone_gives_numbers(made):
    nothing = {**INPUTS, "source": jnp.zeros_like(INPUTS["source"])}
    assert np.isfinite(made.apply(nothing)).all()


def test_writing_token_by_token_is_the_whole_at_once(made):
    state, parts = made.start(INPUTS["source"]), []
    for time in range(TARGET):
        token = INPUTS["target"][:, time : time + 1]
        logits, state = made.decode(token, state, time)
        parts.append(logits)
    whole = made.apply(INPUTS)
    np.testing.assert_allclose(jnp.concatenate(parts, axis=1), whole, atol=1e-5)


def test_what_is_written_is_the_likeliest_after_what_was_written(made):
    """A loop without state or cache writes the same; nothing follows an end."""
    begin, never = 1, (0, 1)
    write = jax.jit(
        lambda params, end: write_greedily(
            made.model,
            params,
            INPUTS["source"],
            length=TARGET,
            begin=begin,
            end=end,
            never=never,
        )
    )
    endless = np.asarray(write(made.params, CLASSES))
    target = np.full((3, TARGET), begin, np.int32)
    for time in range(TARGET):
        logits = np.array(made.apply({**INPUTS, "target": target})[:, time])
        logits[:, list(never)] = -np.inf
        if time + 1 < TARGET:
            target[:, time + 1] = logits.argmax(1)
        np.testing.assert_array_equal(endless[:, time], logits.argmax(1))
    end = int(endless[0, 1])
    for row, whole in zip(np.asarray(write(made.params, end)), endless, strict=True):
        stop = list(whole).index(end) if end in whole else TARGET
        np.testing.assert_array_equal(row[: stop + 1], whole[: stop + 1])
        assert not row[stop + 1 :].any()


def test_attention_to_the_source_adds_up_to_one_where_it_may_look(made):
    weights = jax.jit(partial(source_attention, made.model))(made.params, INPUTS)
    if made.name == "lstm_seq2seq":
        assert weights is None
        return
    assert weights.shape == (3, TARGET, SOURCE)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    assert not np.any(weights[1, :, 3:])
    assert (np.asarray(weights[0]) > 0).all()


def test_dropout_of_the_lstm_is_drawn_by_example():
    made = compiled("lstm_attention_seq2seq")

    @jax.jit
    def run(rate, position, key):
        context = Context(True, None, position, rate)
        return made.model.apply(
            {"params": made.params}, INPUTS, context, rngs={"dropout": key}
        )

    places = jnp.arange(3)
    dropped = run(0.5, places, KEY)
    np.testing.assert_array_equal(run(0.5, places, KEY), dropped)
    np.testing.assert_allclose(run(0.0, places, KEY), made.apply(INPUTS), atol=1e-6)
    other = run(0.5, places.at[2].set(7), KEY)
    np.testing.assert_array_equal(other[:2], dropped[:2])
    assert np.abs(other[2] - dropped[2]).max() > 1e-3


def test_gradients_of_the_lstm_with_attention_in_float64():
    model = models.LSTMSequenceToSequence(CLASSES, VOCABULARY, 2, attention=True)
    params = drawn(model, np.float64)
    with jax.enable_x64(True):

        @jax.jit
        def loss(params):
            return jnp.sum(model.apply({"params": params}, INPUTS) ** 2)

        check_grads(loss, (params,), order=1, modes=["rev"])


def test_half_precision_keeps_float32_parameters_and_logits():
    model = models.create("lstm_attention_seq2seq", **SMALL, dtype="bfloat16")
    logits, variables = jax.eval_shape(model.init_with_output, KEY, INPUTS)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert logits.dtype == jnp.float32
