"""Generation: what may be drawn and how often, and that caches change nothing."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import chisquare, entropy

from jaxdl.batch import example_keys
from jaxdl.generation import adjust, generate, reading_plan, sample, window_start
from jaxdl.models import RecurrentLM, TransformerLM
from tests.quick import draw_variables, jit

KEY = jax.random.key(0)
CLASSES = 9
LOGITS = np.random.default_rng(0).normal(size=(4, CLASSES)).astype(np.float32) * 2


@pytest.fixture(scope="module")
def shares():
    """Probabilities of what is drawn, in float64."""
    run = jit(adjust)

    def of(logits, temperature=1.0, top_k=0, top_p=1.0):
        return softmax(np.asarray(run(logits, temperature, top_k, top_p), float), -1)

    return of


def test_nothing_is_changed_where_nothing_is_asked(shares):
    np.testing.assert_allclose(shares(LOGITS), softmax(LOGITS, -1), atol=1e-6)


def test_entropy_grows_with_the_temperature_from_greedy_to_even(shares):
    temperatures = (0.0, 0.1, 0.2, 0.5, 1.0, 1.2, 3.0, 1e4)
    surprise = np.array([entropy(shares(LOGITS, t), axis=-1) for t in temperatures])
    assert (np.diff(surprise, axis=0) > 0).all()
    np.testing.assert_array_equal(surprise[0], 0)
    np.testing.assert_allclose(surprise[-1], np.log(CLASSES), atol=1e-4)
    greedy = shares(LOGITS, 0.0)
    np.testing.assert_array_equal(greedy.argmax(-1), LOGITS.argmax(-1))


def test_each_example_may_have_a_temperature_of_its_own(shares):
    temperatures = np.array([0.0, 0.5, 1.0, 2.0], np.float32)
    together = shares(LOGITS, temperatures)
    for row, logits, temperature in zip(together, LOGITS, temperatures, strict=True):
        alone = shares(np.tile(logits, (4, 1)), np.full(4, temperature, np.float32))
        np.testing.assert_allclose(row, alone[0], atol=1e-6)


@given(st.integers(0, 10**6), st.floats(0.01, 0.99), st.integers(0, CLASSES))
@settings(max_examples=60, deadline=None)
def test_the_smallest_set_that_adds_up_is_kept(shares, seed, top_p, top_k):
    # Few different values, so that many tie.
    logits = np.random.default_rng(seed).integers(0, 4, (4, CLASSES)).astype(np.float32)
    found = shares(logits, 1.0, top_k, top_p)
    for row, before in zip(found, logits, strict=True):
        order = np.argsort(-before, kind="stable")[: top_k or None]
        known = np.sort(softmax(before[order].astype(float)))[::-1]
        sums = np.cumsum(known)
        least = int(np.searchsorted(sums, top_p)) + 1
        kept = np.flatnonzero(row)
        near = np.abs(sums - top_p).min() < 1e-5  # float32 may see it otherwise
        assert near or len(kept) == least
        assert set(kept) == set(order[: len(kept)])
        np.testing.assert_allclose(row[kept], softmax(before[kept].astype(float)), 1e-5)


def test_draws_are_as_frequent_as_they_are_probable():
    count, logits = 20_000, jnp.asarray(LOGITS[0])

    @jit
    def draws(key):
        keys = example_keys(key, jnp.arange(count))
        return sample(keys, jnp.tile(logits, (count, 1)), temperature=0.7, top_k=5)

    drawn = np.bincount(draws(KEY), minlength=CLASSES)
    kept = np.argsort(-LOGITS[0])[:5]
    assert drawn.sum() == drawn[kept].sum() == count
    expected = softmax(LOGITS[0, kept] / 0.7)
    assert chisquare(drawn[kept], expected / expected.sum() * count).pvalue > 1e-3


@given(st.integers(1, 30), st.integers(1, 40), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_every_token_is_written_once_from_a_window_that_fits(prompt, length, most):
    total = prompt + length
    plan = reading_plan(prompt, total, most)
    written = plan["token"][plan["new"] == 1]
    np.testing.assert_array_equal(written, np.arange(prompt - 1, total - 1))
    assert plan["time"].max() < most
    held = {}
    for token, time, new in zip(*plan.values(), strict=True):
        held[int(time)] = int(token)
        if new:
            start = window_start(int(token), most)
            assert [held[i] for i in range(time + 1)] == list(range(start, token + 1))
            assert time + 1 >= min(token + 1, most - most // 2)
    # Once the window is full a token costs two reads (three, of the smallest odd one).
    factor = most / max(1, most // 2)
    assert len(written) <= len(plan["token"]) <= factor * total + most


MODELS = {
    "transformer": TransformerLM(
        classes=CLASSES, width=8, layers=1, heads=2, max_length=6
    ),
    "lstm": RecurrentLM(classes=CLASSES, width=6, layers=2),
}
PROMPT, LENGTH = 4, 12


@pytest.mark.parametrize("name", MODELS)
def test_what_is_written_is_what_asking_anew_for_every_token_gives(name):
    model = MODELS[name]
    options = {
        "temperature": np.array([0.0, 1.3], np.float32),
        "top_k": 6,
        "top_p": 0.9,
    }
    prompt = np.random.default_rng(1).integers(2, CLASSES, (2, PROMPT))
    params = draw_variables(model, prompt)["params"]
    params = jax.tree.map(lambda a: 2 * a, params)  # surer of itself
    new = generate(model, params, prompt, LENGTH, KEY, **options, forbidden=(0, 1))
    text = np.concatenate([prompt, new], axis=1)
    assert new.shape == (2, LENGTH)
    assert new.min() > 1
    assert len(np.unique(text[1])) > 3

    run = jit(lambda tokens: model.apply({"params": params}, tokens))
    draw = jit(partial(sample, **options))
    size = getattr(model, "max_length", PROMPT + LENGTH)
    for at in range(PROMPT - 1, PROMPT + LENGTH - 1):
        start = window_start(at, getattr(model, "max_length", None))
        window = np.zeros((2, size), int)  # what stands behind changes nothing
        window[:, : at + 1 - start] = text[:, start : at + 1]
        logits = np.array(run(window)[:, at - start])
        logits[:, :2] = -np.inf
        keys = example_keys(jax.random.fold_in(KEY, at), jnp.arange(2))
        np.testing.assert_array_equal(draw(keys, logits), text[:, at + 1])

    # An example draws the same beside others or alone, and another seed otherwise.
    other = generate(
        model, params, prompt, LENGTH, jax.random.key(5), **options, forbidden=(0, 1)
    )
    np.testing.assert_array_equal(other[0], new[0])  # greedy
    assert (other[1] != new[1]).any()


def test_nothing_to_begin_with_and_nothing_to_write_are_refused():
    with pytest.raises(ValueError, match="a prompt of 0 tokens and a length of 3"):
        generate(MODELS["lstm"], {}, np.zeros((1, 0), int), 3, KEY)
    with pytest.raises(ValueError, match="length of 0: both are at least 1"):
        generate(MODELS["lstm"], {}, np.zeros((1, 1), int), 0, KEY)
