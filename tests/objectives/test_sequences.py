"""The loss of a next token against its formula; padding counts nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from jaxdl.objectives import next_token

TARGETS = np.array([[3, 1, 2, 0], [2, 0, 0, 0], [1, 1, 1, 1]], np.int32)
LOGITS = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
OBJECTIVE = next_token(lambda params, model_state, inputs, context, key: (params, {}))


@pytest.fixture(scope="module")
def run():
    """Loss pair, metrics, and the gradient of the loss by the logits."""

    @jax.jit
    def both(logits, batch):
        def loss(logits):
            pair, (_, metrics) = OBJECTIVE(logits, {}, {}, batch, None, False)
            return pair[0], (pair, metrics)

        return jax.grad(loss, has_aux=True)(logits)

    return both


def test_the_loss_is_a_sum_over_tokens_and_counts_them(run):
    gradient, (pair, metrics) = run(LOGITS, {"inputs": TARGETS, "targets": TARGETS})
    log_p, real = log_softmax(LOGITS, axis=-1), TARGETS > 0
    costs = -np.take_along_axis(log_p, TARGETS[..., None], -1)[..., 0]
    np.testing.assert_allclose(pair, (costs[real].sum(), 8), rtol=1e-5)
    right = (LOGITS.argmax(-1) == TARGETS)[real]
    assert float(metrics["accuracy"].read()) == pytest.approx(right.mean())
    assert not np.any(gradient[~real])
    softmax = np.exp(log_p) - np.eye(5)[TARGETS]
    np.testing.assert_allclose(gradient[real], softmax[real], atol=1e-6)


def test_masked_examples_count_nothing_whatever_they_hold(run):
    inputs = np.where(np.arange(3)[:, None] == 2, np.nan, TARGETS)
    targets = np.where(np.arange(3)[:, None] == 2, 99, TARGETS).astype(np.int32)
    batch = {"inputs": inputs, "targets": targets, "mask": jnp.array([1.0, 1.0, 0.0])}
    gradient, masked = run(LOGITS, batch)
    two = {"inputs": TARGETS[:2], "targets": TARGETS[:2]}
    cut, alone = run(LOGITS[:2], two)
    np.testing.assert_allclose(
        jax.tree.leaves(masked), jax.tree.leaves(alone), rtol=1e-6
    )
    np.testing.assert_allclose(gradient[:2], cut, rtol=1e-6)
    assert not np.any(gradient[2])
