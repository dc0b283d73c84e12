"""The variational bounds, on a model whose evidence is known exactly.

Images x = W z + b + noise of one variance, z standard normal: log p(x) is that of a
normal distribution, and the posterior of z is normal too.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import stats

from jaxdl import metrics, models, optimizers, parallel, train
from jaxdl.batch import context, positions
from jaxdl.data.binarize import binarize
from jaxdl.data.feed import evaluation_feed
from jaxdl.data.source import in_memory
from jaxdl.distributions import Bernoulli, Gaussian
from jaxdl.objectives import Autoencoder, variational
from jaxdl.objectives.variational import importance_weighted_bound, negative_bound

PIXELS, LATENTS, VARIANCE = 5, 2, 0.5
RNG = np.random.default_rng(0)
W, B = RNG.normal(size=(LATENTS, PIXELS)), RNG.normal(size=PIXELS)
COVARIANCE = W.T @ W + VARIANCE * np.eye(PIXELS)
X = RNG.multivariate_normal(B, COVARIANCE, 64).astype(np.float32)
EVIDENCE = stats.multivariate_normal(B, COVARIANCE).logpdf(X)
KEY = jax.random.key(0)


def linear(error=0.0, spread=0.0):
    """The model with its exact posterior, moved and widened as asked.

    The true posterior's covariance is diagonal only if the rows of W are orthogonal:
    W is turned so that they are.
    """
    axes, sizes, rows = np.linalg.svd(W, full_matrices=False)
    turned = sizes[:, None] * rows
    precision = 1 + sizes**2 / VARIANCE

    def encode(params, model_state, x, told, key):
        mean = (x - B) @ turned.T / VARIANCE / precision + error
        log_variance = jnp.broadcast_to(-jnp.log(precision) + spread, mean.shape)
        return Gaussian(mean, log_variance), model_state

    def decode(params, model_state, z, told, key):
        mean = z @ turned + B
        return Gaussian(mean, jnp.full(mean.shape, np.log(VARIANCE))), model_state

    return Autoencoder(encode, decode, lambda batch, key, training: batch)


def bound(network, samples, key=KEY, x=X):
    batch = {"inputs": jnp.asarray(x)}
    run = jax.jit(importance_weighted_bound, static_argnums=(0, 6))
    return np.asarray(
        run(network, {}, {}, batch["inputs"], context(batch, {}, False), key, samples)
    )


def test_with_the_exact_posterior_every_bound_is_the_evidence():
    np.testing.assert_allclose(bound(linear(), 7), -EVIDENCE, rtol=1e-4)


def test_the_bound_with_the_exact_posterior_is_the_evidence_on_average():
    batch = {"inputs": jnp.asarray(np.repeat(X[:1], 40_000, axis=0))}
    (parts, _) = jax.jit(negative_bound, static_argnums=0)(
        linear(), {}, {}, batch["inputs"], context(batch, {}, False), KEY
    )
    total = np.asarray(parts.reconstruction + parts.kl, np.float64)
    error = total.std() / np.sqrt(len(total))
    assert abs(total.mean() + EVIDENCE[0]) < 4 * error < 0.1


def test_more_samples_come_closer_to_the_evidence():
    """Means over examples and keys of the gap to -log p(x): positive, and falling."""
    network = linear(error=0.6, spread=0.5)
    gaps = []
    for samples in (1, 8, 512):
        found = [bound(network, samples, jax.random.key(k)) for k in range(10)]
        gaps.append(float(np.mean(found + EVIDENCE)))
    assert gaps[0] > 3 * gaps[1] > 0.1
    assert abs(gaps[2]) < 0.03


def test_one_sample_is_an_estimate_of_the_negative_elbo():
    network = linear(error=0.6, spread=0.5)
    many = np.repeat(X[:1], 40_000, axis=0)
    batch = {"inputs": jnp.asarray(many)}
    parts, _ = jax.jit(negative_bound, static_argnums=0)(
        network, {}, {}, batch["inputs"], context(batch, {}, False), KEY
    )
    mean = np.mean(parts.reconstruction + parts.kl)
    one = bound(network, 1, jax.random.key(1), many)
    assert abs(mean - one.mean()) < 4 * one.std() / 200 + 0.02
    with pytest.raises(ValueError, match="of 0 samples: give 1"):
        bound(network, 0)


# A small network of its own, binary images, for what holds of any.
MODEL = models.create("vae_mlp", shape=(3, 3, 1), latents=2, hidden=(6,))


def prepare(batch, key, training):
    draws = jax.random.uniform(key, (3, 3, 1))
    return {**batch, "inputs": (batch["inputs"] > 0.3 + 0.2 * draws) * 1.0}


NETWORK = Autoencoder(
    models.forward(MODEL, "encode"), models.forward(MODEL, "decode"), prepare
)
OBJECTIVE = variational(NETWORK)
IMAGES = RNG.uniform(size=(8, 3, 3, 1)).astype(np.float32)
MASK = np.ones(8, np.float32)


@pytest.fixture(scope="module")
def params():
    shapes, model_state = jax.eval_shape(lambda: models.init(MODEL, KEY, IMAGES[:1]))
    assert model_state == {}
    return jax.tree.map(lambda s: RNG.normal(size=s.shape).astype(np.float32), shapes)


@jax.jit
def slope(params, hyper, batch, key):
    def summed(params):
        pair, (_, measured) = OBJECTIVE(params, {}, hyper, batch, key, True)
        return pair[0], (pair[1], measured)

    (total, (count, measured)), slopes = jax.value_and_grad(summed, has_aux=True)(
        params
    )
    return total, count, measured, slopes


def part(rows, images=IMAGES, mask=MASK):
    rows = np.asarray(rows)
    return {
        "inputs": images[rows],
        "mask": mask[rows],
        "position": rows.astype(np.int32),
    }


HYPER = {"kl_weight": jnp.float32(0.5)}


def test_sums_of_parts_in_any_order_are_the_sum_of_the_whole(params):
    whole = slope(params, HYPER, part(range(8)), KEY)
    order = [6, 0, 3, 1, 2, 7, 5, 4]
    first, second = MASK.copy(), MASK.copy()
    first[order[:3]], second[order[3:]] = 0, 0
    halves = [
        slope(params, HYPER, part(order, IMAGES, mask), KEY) for mask in (first, second)
    ]
    added = jax.tree.map(jnp.add, *halves)
    for a, b in zip(jax.tree.leaves(added), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_padding_counts_nothing_even_when_it_holds_nan(params):
    images, mask = IMAGES.copy(), MASK.copy()
    images[[2, 5]], mask[[2, 5]] = np.nan, 0
    padded = slope(params, HYPER, part(range(8), images, mask), KEY)
    mask_only = slope(params, HYPER, part(range(8), IMAGES, mask), KEY)
    assert float(padded[1]) == 6
    for a, b in zip(jax.tree.leaves(padded), jax.tree.leaves(mask_only), strict=True):
        assert np.all(np.isfinite(a))
        np.testing.assert_array_equal(a, b)


def test_the_loss_weighs_the_divergence_and_the_bound_does_not(params):
    _, _, half, _ = slope(params, HYPER, part(range(8)), KEY)
    _, _, one, _ = slope(params, {"kl_weight": jnp.float32(1)}, part(range(8)), KEY)
    half, one = metrics.read(half), metrics.read(one)
    parts = one["reconstruction"], one["kl"]
    assert half["loss"] == pytest.approx(parts[0] + 0.5 * parts[1], rel=1e-6)
    assert half["negative_elbo"] == pytest.approx(sum(parts), rel=1e-6)
    assert one["loss"] == one["negative_elbo"] == half["negative_elbo"]
    assert one["kl"] > 0


def test_gradients_are_those_of_finite_differences():
    """In float64, through the noise and both halves."""

    def encode(params, model_state, x, told, key):
        hidden = jnp.tanh(x @ params["encode"])
        return Gaussian(*jnp.split(hidden, 2, axis=-1)), model_state

    def decode(params, model_state, z, told, key):
        return Bernoulli(jnp.tanh(z @ params["decode"])), model_state

    plain = Autoencoder(encode, decode, lambda batch, key, training: batch)
    params = {"encode": RNG.normal(size=(9, 4)), "decode": RNG.normal(size=(2, 9))}
    batch = {"inputs": RNG.integers(0, 2, (8, 9)).astype(np.float64)}
    with jax.enable_x64(True):
        objective = variational(plain)
        check_grads(
            jax.jit(
                lambda p: objective(p, {}, {"kl_weight": 0.5}, batch, KEY, True)[0][0]
            ),
            (params,),
            order=1,
            modes=["rev"],
            atol=1e-6,
            rtol=1e-6,
        )


def test_without_a_key_nothing_can_be_drawn(params):
    plain = variational(NETWORK._replace(prepare=lambda batch, key, training: batch))
    with pytest.raises(ValueError, match="draws its latents: give a key"):
        plain(params, {}, {}, {"inputs": IMAGES}, None, False)


def test_a_step_runs_in_every_way_with_equal_results(params):
    """Scanned; or in microbatches and vmapped over KL weights: one trajectory."""
    optimizer = optimizers.make("sgd")

    def state(weight):
        hyper = {"learning_rate": 0.05, "kl_weight": weight}
        return train.create_state(params, optimizer, hyper=hyper, seed=3)

    warm = {"kl_weight": optimizers.schedule("constant", 4, warmup_steps=4)}
    step = train.make_step(OBJECTIVE, optimizer, schedules=warm)
    cut = train.make_step(OBJECTIVE, optimizer, schedules=warm, accumulate_steps=2)
    batch = {"inputs": IMAGES, "mask": MASK}
    batches = jax.tree.map(lambda x: np.stack([x] * 3), batch)
    scanned, told = jax.jit(parallel.scan(step))(state(1.0), batches)
    states = jax.tree.map(lambda *x: jnp.stack(x), state(0.0), state(1.0))
    both, _ = jax.jit(parallel.scan(parallel.vmap(cut)))(states, batches)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-4, atol=1e-5),
        both.params,
        scanned.params,
    )
    # A quarter, half, three quarters of the weight.
    parts = {name: np.asarray(told[name].total) for name in ("loss", "reconstruction")}
    weights = (parts["loss"] - parts["reconstruction"]) / told["kl"].total
    np.testing.assert_allclose(weights, [0.25, 0.5, 0.75], rtol=1e-3)


def test_evaluation_does_not_depend_on_the_size_of_its_batches(params):
    def drawn(batch, key, training):
        images = binarize(batch["inputs"], "stochastic", key, positions(batch))
        return {**batch, "inputs": images}

    objective = variational(NETWORK._replace(prepare=drawn))
    state = train.create_state(params, optimizers.make("sgd"))
    source = in_memory(IMAGES, np.zeros(8, np.int32))
    found = [
        train.measure(objective, evaluation_feed(source, size))(state)
        for size in (8, 3)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-5)
