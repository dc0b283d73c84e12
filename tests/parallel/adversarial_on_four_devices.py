"""The contract for two players: one step function, equal in every way of running it.

Run by ``test_adversarial_ways.py`` in a process of its own with four virtual devices.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import models, objectives, optimizers, parallel, train
from jaxdl.models.apply import forward
from jaxdl.models.gan import DCGAN, draw_latents
from jaxdl.objectives.adversarial import Networks

STEPS, BATCH, SHAPE = 4, 16, (6, 6, 1)
# All that can differ: batch norm, dropout, spectral norm, noise, padding.
MODEL = DCGAN(SHAPE, latents=3, channels=2, spectral_norm=True)
NETWORKS = Networks(
    forward(MODEL, "generate"),
    forward(MODEL, "discriminate"),
    partial(draw_latents, size=3),
)
PLAYERS = objectives.adversarial(NETWORKS, loss="least_squares")
HYPER = {"label_noise": 0.1, "dropout": 0.3}
# Not Adam: it would scale the rounding of gradients near zero up to whole updates.
OPTIMIZER = optimizers.make("momentum", weight_decay=0.01)
STEP = train.make_adversarial_step(
    *PLAYERS, OPTIMIZER, critic_updates=2, clip_norm=1.0, on_nonfinite="skip"
)
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


@jax.jit
def state(seed):
    params, model_state = models.init(
        MODEL, jax.random.key(seed), jnp.zeros((1, *SHAPE))
    )
    return train.create_adversarial_state(
        params,
        OPTIMIZER,
        model_state,
        hyper={"learning_rate": 5e-2, "weight_decay": 0.01, **HYPER},
        seed=seed,
        ema_decay=0.9,
        classifier={"weights": jnp.ones(3)},
    )


def batches():
    """Batches that end in padding of NaN, unlike from device to device."""
    draw = np.random.default_rng(0)
    inputs = draw.uniform(-1, 1, size=(STEPS, BATCH, *SHAPE)).astype(np.float32)
    mask = np.ones((STEPS, BATCH), np.float32)
    mask[:, -3:] = 0.0
    mask[2, 3:] = 0.0  # whole devices with nothing but padding
    inputs[mask == 0] = np.nan
    return {"inputs": inputs, "mask": mask}


def at(tree, i):
    return {name: x[i] for name, x in tree.items()}


def one_by_one(step, first):
    """The last state and the losses of both players."""
    now, rows = first, []
    for i in range(STEPS):
        now, told = step(now, at(batches(), i))
        rows.append(told)
    return now, losses(jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows))


def losses(told):
    names = ("generator_loss", "discriminator_loss")
    return np.stack([np.asarray(told[n].total / told[n].count) for n in names])


def assert_equal(got, expected):
    np.testing.assert_allclose(got[1], expected[1], **CLOSE)
    for name in ("params", "ema", "model_state"):
        one, two = (jax.tree.leaves(getattr(s, name)) for s in (got[0], expected[0]))
        for a, b in zip(one, two, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def reference():
    return one_by_one(parallel.jit(STEP, donate=False), state(0))


def test_training_moves_both_players(reference):
    final, seen = reference
    assert np.isfinite(seen).all()
    for player in final.params:
        moved = jax.tree.map(
            lambda a, b: bool(jnp.any(a != b)),
            final.params[player],
            state(0).params[player],
        )
        assert np.mean(jax.tree.leaves(moved)) > 0.8, player


def test_a_sharded_step_equals_one_device(reference):
    way = parallel.placement("data", jax.devices())
    compiled = way.step(STEP)
    got = one_by_one(lambda s, b: compiled(s, way.put(b, 0)), way.whole(state(0)))
    assert_equal(got, reference)


def test_a_block_of_scanned_steps_on_replicas_equals_the_steps_in_turn(reference):
    way = parallel.placement("pmap", jax.devices())
    block = way.block(STEP)
    final, told = block(way.whole(state(0)), way.put(batches(), 1))
    assert_equal((final, losses(told)), reference)
