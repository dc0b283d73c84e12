"""Sequence models: padding, order, float features, their options."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl import models
from jaxdl.batch import Context
from jaxdl.models.sequences import multi_hot
from tests.quick import draw_variables, jit

KEY = jax.random.key(0)
WORDS, CLASSES = 12, 3
SMALL = {"width": 4, "hidden": 5}
VARIANTS = {
    "bag_of_words": ("bag_of_words", {"hidden": (4,)}),
    "conv1d": ("conv1d", {**SMALL, "pool": 2}),
    "conv1d_mean": ("conv1d", {**SMALL, "separable": True, "pooling": "mean"}),
    "conv1d_gru": ("conv1d_gru", SMALL),
    "rnn": ("rnn", {**SMALL, "pooling": "max"}),
    "lstm": ("lstm", {**SMALL, "layers": 2, "bidirectional": True}),
    "gru": ("gru", {**SMALL, "pooling": "mean"}),
    "reversed": ("gru", {**SMALL, "reverse": True}),
}


def initialized(model, inputs):
    return draw_variables(model, inputs)["params"]


@partial(jit, static_argnums=0)
def logits(model, params, inputs):
    return models.forward(model)(params, {}, inputs, Context(), None)[0]


@pytest.fixture(scope="module", params=VARIANTS)
def text_model(request):
    name, options = VARIANTS[request.param]
    model = models.create(name, classes=CLASSES, vocabulary=WORDS, **options)
    return request.param, model, initialized(model, jnp.zeros((1, 4), jnp.int32))


def tokens(lengths, time):
    rows = np.zeros((len(lengths), time), np.int32)
    rng = np.random.default_rng(sum(lengths))
    for row, length in zip(rows, lengths, strict=True):
        row[:length] = rng.integers(1, WORDS, length)
    return rows


@settings(deadline=None, max_examples=4)
@given(lengths=st.tuples(*[st.integers(0, 7)] * 3))
def test_padded_to_any_length_the_logits_are_the_same(text_model, lengths):
    _, model, params = text_model
    short = tokens(lengths, 7)
    expected = logits(model, params, short)
    assert expected.shape == (3, CLASSES)
    assert np.all(np.isfinite(expected))
    wide = np.pad(short, ((0, 0), (0, 6)))
    np.testing.assert_allclose(logits(model, params, wide), expected, atol=1e-6)


def test_order_matters_to_all_but_the_bag_of_words(text_model):
    name, model, params = text_model
    rows = tokens((7, 7, 7), 7)
    turned = logits(model, params, rows[:, ::-1])
    plain = logits(model, params, rows)
    if name == "bag_of_words":
        np.testing.assert_array_equal(turned, plain)
        twice = np.concatenate([rows, rows], axis=1)
        np.testing.assert_array_equal(logits(model, params, twice), plain)
    else:
        assert np.max(np.abs(turned - plain)) > 1e-3


def test_reversed_a_network_reads_the_reversed_text():
    forwards, backwards = (
        models.create("lstm", classes=2, vocabulary=WORDS, **SMALL, reverse=reverse)
        for reverse in (False, True)
    )
    rows = tokens((7, 7), 7)
    params = initialized(forwards, rows)
    np.testing.assert_allclose(
        logits(backwards, params, rows[:, ::-1]),
        logits(forwards, params, rows),
        rtol=1e-5,
        atol=1e-6,
    )


def test_multi_hot_is_which_tokens_occur():
    rows = jnp.array([[3, 1, 3, 0], [0, 0, 0, 0]])
    expected = [[0, 1, 0, 1, 0], [0, 0, 0, 0, 0]]
    np.testing.assert_array_equal(multi_hot(rows, 5), expected)


FLOATS = ("conv1d", "conv1d_gru", "lstm")


@pytest.mark.parametrize("name", FLOATS)
def test_features_are_taken_as_they_are(name):
    model = models.create(name, classes=1, hidden=4, dtype="bfloat16")
    x = jnp.ones((2, 9, 3))
    params = initialized(model, x)
    found = logits(model, params, x)
    assert found.shape == (2, 1)
    assert found.dtype == jnp.float32
    assert "embedding" not in params
    with pytest.raises(ValueError, match=r"takes features .* the input is \(2, 9\)"):
        initialized(model, x[..., 0])


def test_depthwise_separable_has_the_published_number_of_weights():
    options = {"classes": 2, "hidden": 8, "layers": 1, "kernel_size": 5}
    sizes = {}
    for separable in (False, True):
        model = models.create("conv1d", **options, separable=separable)
        params = initialized(model, jnp.ones((1, 6, 3)))
        head = models.count_parameters(params["output"])
        sizes[separable] = models.count_parameters(params) - head - 8  # biases
    assert sizes == {False: 5 * 3 * 8, True: 5 * 3 + 3 * 8}


@pytest.mark.parametrize("name", ["conv1d_gru", "lstm"])
def test_dropout_draws_by_example_and_leaves_finite_gradients(name):
    options = {"hidden": 4, "width": 4, "recurrent_dropout": 0.3}
    model = models.create(name, classes=2, vocabulary=WORDS, **options)
    rows = tokens((7, 0, 4), 7)
    params = initialized(model, rows)

    def loss(params, rows, position):
        context = Context(training=True, dropout=0.5, position=position)
        found, _ = models.forward(model)(params, {}, rows, context, KEY)
        return jnp.sum(found**2), found

    slopes = jit(jax.grad(loss, has_aux=True))
    gradients, found = slopes(params, rows, jnp.arange(3))
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(gradients))
    order = jnp.array([2, 0, 1])
    _, moved = slopes(params, rows[order], order)
    np.testing.assert_allclose(moved, found[order], rtol=1e-5, atol=1e-6)
    assert np.max(np.abs(found - logits(model, params, rows))) > 1e-3


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lstm", {"pooling": "sum"}, "unknown pooling 'sum': give last, max, mean"),
        ("lstm", {"layers": -1}, "layers is -1: give 1 or more"),
        ("gru", {"reverse": True, "bidirectional": True}, "leave reverse out"),
        ("conv1d", {"pooling": "last"}, "unknown pooling 'last': give max or mean"),
        ("conv1d", {"kernel_size": -2}, "kernel_size is -2: give 1 or more"),
        ("bag_of_words", {"vocabulary": 0}, "a bag of words needs a vocabulary"),
    ],
)
def test_errors_are_one_clear_line(name, options, message):
    model = models.create(name, **{"classes": 2, "vocabulary": WORDS, **options})
    with pytest.raises(ValueError, match=message) as error:
        initialized(model, jnp.ones((1, 4), jnp.int32))
    assert "\n" not in str(error.value)


def test_tokens_must_be_integers():
    model = models.create("lstm", classes=2, vocabulary=WORDS)
    with pytest.raises(ValueError, match="integer tokens .* input is float32"):
        initialized(model, jnp.ones((1, 4)))


def test_fields_are_what_a_command_line_names():
    for name in ("lstm", "gru", "rnn", "conv1d", "conv1d_gru"):
        fields = {f.name for f in dataclasses.fields(models.create(name, classes=2))}
        assert {"classes", "vocabulary", "width", "hidden", "layers"} <= fields
