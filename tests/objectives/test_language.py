"""The language objective: surprise over tokens, padding left out, in any cut."""

import math

import jax.numpy as jnp
import numpy as np

from jaxdl import metrics
from jaxdl.objectives import language
from tests.quick import jit

RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(5, 5)).astype(np.float32)


def forward(params, model_state, inputs, context, key):
    """A bigram model: logits are the row of the token."""
    del context, key
    return params[inputs], model_state


def measure(batch, characters=True):
    objective = language(forward, characters)
    run = jit(lambda params, batch: objective(params, {}, {}, batch, None, False))
    pair, (_, measured) = run(TABLE, batch)
    return [float(x) for x in pair], metrics.read(measured)


def test_every_measure_of_surprise_is_of_the_tokens_that_are_there():
    inputs, targets = RNG.integers(1, 5, (2, 3, 4))
    targets[1, 2:] = 0
    mask = np.array([1.0, 1.0, 0.0])
    batch = {"inputs": inputs, "targets": targets, "mask": mask}
    (total, count), values = measure(batch)
    losses = np.log(np.exp(TABLE).sum(1))[inputs] - TABLE[inputs, targets]
    real = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], bool)
    assert count == 6
    np.testing.assert_allclose(total, losses[real].sum(), rtol=1e-5)
    loss = losses[real].mean()
    expected = {
        "loss": loss,
        "perplexity": math.exp(loss),
        "bits_per_character": loss / math.log(2),
    }
    assert values.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(values[name], value, rtol=1e-5)
    assert "bits_per_character" not in measure(batch, characters=False)[1]


def test_an_even_guess_costs_the_logarithm_of_how_many_there_are():
    batch = {"inputs": jnp.ones((2, 3), int), "targets": jnp.ones((2, 3), int)}
    run = jit(lambda p: language(forward)(p, {}, {}, batch, None, False)[1][1])
    values = metrics.read(run(np.zeros((5, 5), np.float32)))
    np.testing.assert_allclose(values["perplexity"], 5, rtol=1e-6)
    np.testing.assert_allclose(values["bits_per_character"], math.log2(5), rtol=1e-6)
