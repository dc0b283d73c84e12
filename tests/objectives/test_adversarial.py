"""The objectives of two players: published losses, penalties, noise and padding."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxdl import models, objectives
from jaxdl.batch import Context
from jaxdl.layers import BatchNorm, Dropout
from jaxdl.models.apply import forward
from jaxdl.models.gan import draw_latents
from jaxdl.objectives.adversarial import GAMES, Networks
from tests import quick

SHAPE, LATENTS, BATCH = (2, 2, 1), 3, 6
KEY = jax.random.key(5)


class Maker(nn.Module):
    """Latents to images, with batch norm."""

    @nn.compact
    def __call__(self, z, context: Context = Context()):
        x = BatchNorm()(nn.Dense(4, use_bias=False)(z), context)
        return jnp.tanh(x).reshape(-1, *SHAPE)


class Critic(nn.Module):
    """Images to scores, with dropout and something of a state."""

    @nn.compact
    def __call__(self, x, context: Context = Context()):
        seen = self.variable("batch_stats", "seen", jnp.zeros, ())
        if context.training and not self.is_initializing():
            seen.value = seen.value + 1
        x = Dropout()(jnp.tanh(nn.Dense(5)(x.reshape(len(x), -1))), context)
        return nn.Dense(1)(x)[:, 0]


class Pair(nn.Module):
    """Both."""

    def setup(self):
        self.generator, self.discriminator = Maker(), Critic()

    def generate(self, z, context: Context = Context()):
        return self.generator(z, context)

    def discriminate(self, x, context: Context = Context()):
        return self.discriminator(x, context)

    def __call__(self, x, context: Context = Context()):
        self.generate(jnp.zeros((1, LATENTS)))
        return self.discriminate(x, context)


NETWORKS = Networks(
    forward(Pair(), "generate"),
    forward(Pair(), "discriminate"),
    partial(draw_latents, size=LATENTS),
)


@pytest.fixture(scope="module")
def initial():
    return quick.jit(
        lambda: models.init(Pair(), jax.random.key(0), jnp.zeros((1, *SHAPE)))
    )()


def batch(seed=0):
    draw = np.random.default_rng(seed)
    return {"inputs": draw.normal(size=(BATCH, *SHAPE)).astype(np.float32)}


def players(loss="non_saturating", **options):
    return objectives.adversarial(NETWORKS, loss=loss, **options)


def run(objective, initial, data, hyper=None, training=True):
    params, state = initial
    call = quick.jit(partial(objective, training=training))
    return call(params, state, hyper or {}, data, KEY)


def test_losses_are_those_of_the_papers():
    scores = jnp.array([-2.0, -0.3, 0.0, 1.5])
    noise = jnp.array([0.0, 0.1, 0.2, 0.3])
    cross = optax.losses.sigmoid_binary_cross_entropy
    game = GAMES["non_saturating"]
    np.testing.assert_allclose(
        game.real(scores, noise), cross(scores, 1 - noise), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        game.generated(scores, noise), cross(scores, noise), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        game.generator(scores), -jnp.log(jax.nn.sigmoid(scores)), rtol=1e-5
    )
    squares = GAMES["least_squares"]
    np.testing.assert_allclose(squares.real(scores, noise)[1], 0.5 * 1.2**2)
    np.testing.assert_allclose(squares.generated(scores, noise)[1], 0.5 * 0.4**2)
    np.testing.assert_allclose(squares.generator(scores)[3], 0.5 * 0.5**2)
    hinge = GAMES["hinge"]
    np.testing.assert_allclose(hinge.real(scores, noise), [3.0, 1.3, 1.0, 0.0])
    np.testing.assert_allclose(hinge.generated(scores, noise), [0.0, 0.7, 1.0, 2.5])
    earth = GAMES["wasserstein"]
    total = earth.real(scores, noise) + earth.generated(scores[::-1], noise)
    np.testing.assert_allclose(total, scores[::-1] - scores)
    for name in ("hinge", "wasserstein"):
        np.testing.assert_allclose(GAMES[name].generator(scores), -scores)


@pytest.mark.parametrize("loss", GAMES)
def test_gradients_are_those_of_differences(initial, loss):
    """Of each player by its own parameters, penalty and noise on labels included."""
    params, state = initial
    hyper = {"label_noise": 0.1}
    if loss == "wasserstein":
        hyper = {"gradient_penalty": 2.0}
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), params)
        game = players(loss)

        def total(maker, critic):
            parts = []
            for name, own in (("generator", maker), ("discriminator", critic)):
                objective = getattr(game, name)
                everything = {**wide, name: own}
                pair, _ = objective(everything, state, hyper, batch(), KEY, True)
                parts.append(pair[0])
            return sum(parts)

        own = (wide["generator"], wide["discriminator"])
        quick.check_slopes(total, own, rtol=1e-3)


def test_the_penalty_is_the_slope_that_a_linear_critic_has():
    weights = jnp.arange(1.0, 5.0)

    def linear(params, state, x, context, key):
        return x.reshape(len(x), -1) @ params["discriminator"], state

    def make(params, state, z, context, key):
        return jnp.tanh(z[:, :1]) * jnp.ones((len(z), 4)), state

    networks = Networks(make, linear, NETWORKS.draw)
    critic = objectives.adversarial(networks, loss="wasserstein").discriminator
    data = {"inputs": batch()["inputs"].reshape(BATCH, 4)}
    without, with_penalty = (
        critic({"discriminator": weights}, {}, hyper, data, KEY, True)[0][0]
        for hyper in ({}, {"gradient_penalty": 3.0})
    )
    slope = np.linalg.norm(weights)
    expected = 3.0 * (slope - 1) ** 2 * BATCH
    assert float(with_penalty - without) == pytest.approx(expected, rel=1e-4)


def test_each_player_changes_its_own_model_state_alone(initial):
    game = players()
    before = initial[1]["batch_stats"]
    _, (made, _) = run(game.generator, initial, batch())
    _, (criticized, _) = run(game.discriminator, initial, batch())
    assert float(made["batch_stats"]["discriminator"]["seen"]) == 0
    assert float(criticized["batch_stats"]["discriminator"]["seen"]) == 1
    mean = before["generator"]["BatchNorm_0"]["mean"]
    assert jnp.any(made["batch_stats"]["generator"]["BatchNorm_0"]["mean"] != mean)
    kept = criticized["batch_stats"]["generator"]["BatchNorm_0"]["mean"]
    np.testing.assert_array_equal(kept, mean)


@pytest.mark.parametrize("training", [True, False])
def test_padding_counts_nothing_even_nan(initial, training):
    hyper = {"label_noise": 0.1, "gradient_penalty": 2.0, "dropout": 0.2}
    mask = jnp.arange(BATCH) < 4
    inputs = batch()["inputs"]
    short, padded = (
        {"inputs": inputs.copy(), "mask": mask.astype(jnp.float32)} for _ in range(2)
    )
    padded["inputs"][4:] = np.nan
    for objective in players("wasserstein"):

        def total(params, data, objective=objective):
            return objective(params, initial[1], hyper, data, KEY, training)[0]

        grad = quick.jit(jax.value_and_grad(total, has_aux=True))
        (one, slopes), (two, others) = (
            grad(initial[0], data) for data in (short, padded)
        )
        assert float(two[1]) == 4
        np.testing.assert_allclose(two[0], one[0], rtol=1e-5)
        for a, b in zip(jax.tree.leaves(slopes), jax.tree.leaves(others), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_noise_belongs_to_places_in_the_batch(initial):
    """In evaluation the sum over two halves, as masks cut them, is that of the whole;
    the same image twice meets other noise."""
    data = {**batch(), "position": jnp.arange(BATCH), "mask": jnp.ones(BATCH)}
    first = (jnp.arange(BATCH) < 2).astype(jnp.float32)
    order = jnp.arange(BATCH)[::-1]
    for objective in players():
        call = quick.jit(partial(objective, training=False))

        def total(objective_call, *initial, **changes):
            pair, _ = objective_call(*initial, {}, {**data, **changes}, KEY)
            return float(pair[0])

        total = partial(total, call, *initial)
        whole = total()
        halves = total(mask=first) + total(mask=1 - first)
        assert halves == pytest.approx(whole, rel=1e-5)
        turned = total(position=order, inputs=data["inputs"][::-1])
        assert turned == pytest.approx(whole, rel=1e-5)
        assert abs(total(position=order + 7) - whole) > 1e-3


def test_noise_on_labels_and_penalties_are_of_training_alone(initial):
    critic = players().discriminator
    found = {}
    for training in (True, False):
        call = quick.jit(partial(critic, training=training))
        for noise in (0.0, 0.4):
            hyper = {"label_noise": noise, "gradient_penalty": 10 * noise}
            found[training, noise] = float(call(*initial, hyper, batch(), KEY)[0][0])
    assert found[False, 0.0] == found[False, 0.4]
    assert found[True, 0.0] != found[True, 0.4]


def test_an_unknown_loss_says_which_there_are():
    with pytest.raises(ValueError, match="'vanilla': give one of non_saturating, lea"):
        players("vanilla")
