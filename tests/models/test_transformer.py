"""Transformers: their arithmetic, what they are blind to, and their caches."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from jaxdl.batch import Context
from jaxdl.layers import masked_mean
from jaxdl.models import (
    TransformerEncoder,
    TransformerLM,
    TransformerSequenceToSequence,
    attention_maps,
    count_parameters,
    precision,
)
from jaxdl.models.transformer import Block
from tests.quick import draw_variables, jit

KEY = jax.random.key(0)
SMALL = {"width": 8, "layers": 1, "heads": 2}


def tokens(*shape, seed=0, most=7):
    drawn = np.random.default_rng(seed).integers(1, most, shape)
    return jnp.asarray(drawn, jnp.int32)


def norm(params, x):
    x = x - x.mean(-1, keepdims=True)
    x = x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
    return x * params["scale"] + params["bias"]


def formula(p, x):
    """A causal block of two heads of 4, written out; x is [2, 5, 8]."""
    y, a = norm(p["norm"], x), p["attention"]
    query, key, value = (
        (y @ a[name]["kernel"]).reshape(2, 5, 2, 4)
        for name in ("query", "key", "value")
    )
    scores = jnp.einsum("bqhf,bkhf->bhqk", query, key) / 2
    scores = jnp.where(jnp.tril(jnp.ones((5, 5), bool)), scores, -jnp.inf)
    found = jnp.einsum("bhqk,bkhf->bqhf", jax.nn.softmax(scores), value)
    expected = x + found.reshape(2, 5, 8) @ a["output"]["kernel"]
    y = norm(p["dense_norm"], expected)
    y = jax.nn.gelu(y @ p["dense_in"]["kernel"] + p["dense_in"]["bias"])
    expected += y @ p["dense_out"]["kernel"] + p["dense_out"]["bias"]
    return expected


def test_a_block_is_its_formula():
    block = Block(width=8, heads=2, causal=True)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 8)), jnp.float32)
    p = draw_variables(block, x, Context())["params"]
    found, _ = jit(block.apply)({"params": p}, x, Context())
    np.testing.assert_allclose(found, jit(formula)(p, x), atol=1e-5)


def encoder(positions="rotary"):
    """Of tokens; compiled for every shape it is given."""
    model = TransformerEncoder(classes=3, vocabulary=7, positions=positions, **SMALL)
    variables = draw_variables(model, tokens(1, 4))
    return jit(lambda x: model.apply(variables, x))


@pytest.fixture(scope="module")
def run():
    """An encoder with rotary positions."""
    return encoder()


def test_without_positions_order_does_not_matter():
    run, x = encoder("none"), tokens(3, 6)
    shuffled = x[:, jnp.array([3, 0, 5, 1, 4, 2])]
    np.testing.assert_allclose(run(x), run(shuffled), atol=1e-5)
    assert np.abs(run(x) - run(tokens(3, 6, seed=1))).max() > 1e-3


@pytest.mark.parametrize("positions", ["rotary", "learned", "sinusoidal"])
def test_with_positions_order_matters(positions):
    x = jnp.array([[1, 2, 3, 4, 5, 6]])
    both = encoder(positions)(jnp.concatenate([x, x[:, ::-1]]))
    assert np.abs(both[0] - both[1]).max() > 1e-5


@given(st.integers(1, 8), st.integers(0, 4), st.integers(0, 100))
@settings(max_examples=15, deadline=None)
def test_padding_changes_nothing(run, length, before, seed):
    x = tokens(1, length, seed=seed)
    # Two sizes, whatever the length: each is compiled once.
    short = np.pad(x, ((0, 0), (0, 8 - length)))
    long = np.pad(x, ((0, 0), (before, 12 - before - length)))
    np.testing.assert_allclose(run(long), run(short), atol=1e-5)


def test_an_example_of_padding_alone_is_a_finite_constant(run):
    logits = run(jnp.zeros((2, 8), jnp.int32))
    assert np.isfinite(logits).all()
    np.testing.assert_array_equal(logits[0], logits[1])
    np.testing.assert_array_equal(
        masked_mean(jnp.ones((1, 3, 2)), jnp.array([[True, False, False]])), [[1, 1]]
    )


def test_gradients_of_an_encoder_of_features_in_float64(monkeypatch):
    monkeypatch.setitem(precision.DTYPES, "float64", jnp.float64)
    fields = {"classes": 2, "heads": 2, "width": 4, "layers": 1, "dtype": "float64"}
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 2)))
        model = TransformerEncoder(**fields)
        params = draw_variables(model, x, dtype=np.float64)["params"]

        def loss(params, model=model):
            return jnp.sum(jnp.sin(model.apply({"params": params}, x)))

        check_grads(
            jax.jit(loss), (params,), 1, ("rev",), atol=1e-6, rtol=1e-6, eps=1e-6
        )
        again = TransformerEncoder(**fields, remat=True)
        kept, rematerialised = (
            jit(jax.grad(partial(loss, model=m)))(params) for m in (model, again)
        )
        jax.tree.map(
            partial(np.testing.assert_allclose, atol=1e-12), kept, rematerialised
        )


def language_model(positions="rotary", **fields):
    model = TransformerLM(
        classes=7, max_length=8, positions=positions, **{**SMALL, **fields}
    )
    return model, draw_variables(model, tokens(1, 4))


@pytest.mark.parametrize(
    ("positions", "layers"), [("rotary", 2), ("learned", 1), ("sinusoidal", 1)]
)
def test_the_future_changes_nothing_and_a_cache_gives_the_same(positions, layers):
    model, variables = language_model(positions, layers=layers, kv_heads=1)
    x = tokens(2, 8)
    run = jit(model.apply)
    whole = run(variables, x)
    changed = run(variables, x.at[:, 5:].set(tokens(2, 3, seed=1)))
    np.testing.assert_allclose(changed[:, :5], whole[:, :5], atol=1e-6)
    assert np.abs(changed[:, 5:] - whole[:, 5:]).max() > 1e-3

    decode = jit(lambda *to: model.apply(variables, *to, method="decode"))
    caches = model.apply(variables, 2, method="start")
    parts, start = [], 0
    for stop in (4, 5, 6, 7, 8):  # several tokens at once, then one by one
        logits, caches = decode(x[:, start:stop], caches, start)
        parts.append(logits)
        start = stop
    np.testing.assert_allclose(jnp.concatenate(parts, 1), whole, atol=1e-5)


def test_tied_weights_are_one_table():
    tied, variables = language_model()
    free, more = language_model(tied=False)
    table = variables["params"]["embedding"]["table"]["embedding"]
    counts = [count_parameters(v["params"]) for v in (variables, more)]
    assert counts[1] - counts[0] == table.size + 7  # the output's weights and biases
    same = {**more["params"], "output": {"kernel": table.T, "bias": jnp.zeros(7)}}
    same["embedding"] = variables["params"]["embedding"]
    same["decoder"] = variables["params"]["decoder"]
    x = tokens(2, 5)
    np.testing.assert_allclose(
        jit(free.apply)({"params": same}, x),
        jit(tied.apply)(variables, x),
        atol=1e-5,
    )


def test_half_precision_computes_and_float32_comes_out():
    model, variables = language_model(dtype="bfloat16")
    logits = jit(model.apply)(variables, tokens(1, 4))
    assert logits.dtype == jnp.float32
    exact = jit(model.clone(dtype="float32").apply)(variables, tokens(1, 4))
    assert 0 < np.abs(logits - exact).max() < 0.1


def test_an_encoder_decoder_reads_all_of_the_source_and_none_of_the_future():
    model = TransformerSequenceToSequence(
        classes=7, vocabulary=6, max_length=8, **SMALL
    )
    source, target = tokens(2, 5, most=6), tokens(2, 6)
    variables = draw_variables(model, {"source": source, "target": target})
    run = jit(lambda s, t: model.apply(variables, {"source": s, "target": t}))
    whole = run(source, target)
    changed = run(source, target.at[:, 4:].set(1))
    np.testing.assert_allclose(changed[:, :4], whole[:, :4], atol=1e-6)
    other = run(source.at[:, -1].set(source[:, -1] % 5 + 1), target)
    assert np.abs(other[:, 0] - whole[:, 0]).max(axis=-1).min() > 1e-4
    padded = run(jnp.pad(source, ((0, 0), (0, 3))), target)
    np.testing.assert_allclose(padded, whole, atol=1e-5)

    decode = jit(lambda *to: model.apply(variables, *to, method="decode"))
    state = jit(partial(model.apply, method="start"))(variables, source)
    for time in range(6):
        logits, state = decode(target[:, time : time + 1], state, time)
        np.testing.assert_allclose(logits[:, 0], whole[:, time], atol=1e-5)

    maps = jit(partial(attention_maps, model))(
        variables["params"], {"source": source, "target": target}
    )
    assert set(maps) == {
        "encoder/blocks_0/attention",
        "decoder/blocks_0/attention",
        "decoder/blocks_0/cross_attention",
    }
    crossed = maps["decoder/blocks_0/cross_attention"]
    assert crossed.shape == (2, 2, 6, 5)
    np.testing.assert_allclose(crossed.sum(-1), 1, rtol=1e-5)
    assert not np.triu(maps["decoder/blocks_0/attention"][0, 0], 1).any()


def test_no_layers_is_refused():
    with pytest.raises(ValueError, match="0 layers: give 1 or more"):
        language_model(layers=0)
