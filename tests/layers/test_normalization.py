"""Batch norm: equal to Flax's unmasked, blind to padding, exact over devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.test_util import check_grads

from jaxdl.batch import DEVICES, Context
from jaxdl.layers import BatchNorm, batch_moments

KEY = jax.random.key(0)


def variables_for(x):
    variables = BatchNorm().init(KEY, x, Context(training=True))
    scale = jnp.linspace(0.5, 2.0, x.shape[-1])
    return {
        "params": {"scale": scale, "bias": scale - 1},
        "batch_stats": variables["batch_stats"],
    }


def train(params, stats, x, mask=None, **options):
    context = Context(training=True, mask=mask)
    variables = {"params": params, "batch_stats": stats}
    y, new = BatchNorm(**options).apply(variables, x, context, mutable=["batch_stats"])
    return y, new["batch_stats"]


@pytest.mark.parametrize(
    ("shape", "training"), [((6, 5), True), ((4, 3, 3, 2), True), ((6, 5), False)]
)
def test_equal_to_flax_where_nothing_is_masked(shape, training):
    x = 3 + 2 * jax.random.normal(KEY, shape)
    variables = variables_for(x)
    theirs = nn.BatchNorm(use_running_average=not training, momentum=0.9, epsilon=1e-5)
    ours_init = BatchNorm().init(KEY, x, Context(training=True))
    jax.tree.map(np.testing.assert_array_equal, ours_init, theirs.init(KEY, x))

    def run(layer, *arguments):
        def loss(params, x):
            y, state = layer.apply(
                {**variables, "params": params}, x, *arguments, mutable=["batch_stats"]
            )
            return jnp.sum(jnp.sin(y)), (y, state)

        gradients = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
        return gradients(variables["params"], x)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5),
        run(BatchNorm(), Context(training=training)),
        run(theirs),
    )


@pytest.mark.parametrize(
    ("mask", "garbage"),
    [
        ([0.0, 1, 1, 0, 1], 1e6),
        ([0.0, 1, 1, 0, 1], float("nan")),
        ([0.0] * 5, float("inf")),
    ],
)
def test_padding_changes_nothing_whatever_it_holds(mask, garbage):
    real = np.flatnonzero(mask)
    clean = jax.random.normal(KEY, (5, 3, 3, 2))
    mask = jnp.asarray(mask)
    dirty = jnp.where(mask[:, None, None, None] > 0, clean, garbage)
    variables = variables_for(clean)

    def run(x, mask, rows):
        def loss(params, x):
            y, stats = train(params, variables["batch_stats"], x, mask)
            return jnp.sum(jnp.sin(y[rows])), (y[rows], stats)

        gradients = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
        (by_params, by_x), (y, stats) = gradients(variables["params"], x)
        return by_params, by_x[rows], y, stats

    padded = run(dirty, mask, real)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(padded))
    if len(real):
        alone = run(clean[real], None, np.arange(len(real)))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5),
            padded,
            alone,
        )
    else:  # a batch of padding alone leaves the running averages
        jax.tree.map(np.testing.assert_array_equal, padded[3], variables["batch_stats"])


def test_devices_with_unequal_masks_are_one_batch():
    """A named vmap binds the device axis as pmap does."""
    x = jax.random.normal(KEY, (6, 3, 3, 2)) * jnp.arange(1, 7).reshape(6, 1, 1, 1)
    mask = jnp.array([1.0, 1, 1, 1, 0, 0])
    variables = variables_for(x)
    split = (3, 2, 3, 3, 2)

    @jax.jit
    def gradients(params, x, mask):
        def loss(params, x):
            y, stats = train(params, variables["batch_stats"], x, mask)
            real = mask[:, None, None, None]
            return jnp.sum(jnp.sin(y) * real), (y, stats)

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, x)

    (whole, whole_x), (y, stats) = gradients(variables["params"], x, mask)
    on_devices = jax.vmap(gradients, (None, 0, 0), axis_name=DEVICES)
    (parts, parts_x), (parts_y, parts_stats) = on_devices(
        variables["params"], x.reshape(split), mask.reshape(3, 2)
    )

    def close(a, b):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)

    close(parts_y.reshape(x.shape), y)
    jax.tree.map(lambda a, b: close(a, jnp.stack([b] * 3)), parts_stats, stats)
    jax.tree.map(lambda a, b: close(a.sum(0), b), parts, whole)
    close(parts_x.reshape(x.shape), whole_x)


def test_variance_survives_a_mean_far_from_zero():
    """E[x^2] - E[x]^2 loses every digit here: its error is 100%."""
    x = np.random.default_rng(0).normal(1000.0, 1.0, (64, 8, 8, 3)).astype(np.float32)
    (mean, var), count = batch_moments(jnp.asarray(x), None)
    np.testing.assert_allclose(mean, x.astype(np.float64).mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(var, x.astype(np.float64).var((0, 1, 2)), rtol=1e-4)
    assert count == 64 * 64


def test_gradients_are_the_finite_differences():
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        x = jnp.asarray(random.normal(size=(5, 2, 2, 3)))
        scale, bias = jnp.asarray(random.normal(size=(2, 3)))
        mask = jnp.array([1.0, 1, 0, 1, 1])
        stats = {"mean": jnp.zeros(3), "var": jnp.ones(3)}

        @jax.jit
        def run(x, scale, bias):
            y, _ = train({"scale": scale, "bias": bias}, stats, x, mask)
            return jnp.sin(y) * mask[:, None, None, None]

        check_grads(run, (x, scale, bias), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)


def test_output_has_mean_zero_and_variance_one_whatever_the_weights_scale():
    standard = jax.random.normal(KEY, (50, 4))
    stats = {"mean": jnp.zeros(4), "var": jnp.ones(4)}
    for scale in (1e-2, 1.0, 1e3):
        x = scale * (standard + 5)
        y, _ = train({}, stats, x, use_bias=False, use_scale=False)
        np.testing.assert_allclose(y.mean(0), 0.0, atol=1e-4)
        np.testing.assert_allclose(y.var(0), 1.0, rtol=0.11 if scale < 1 else 1e-3)


def test_half_precision_input_has_float32_statistics():
    x = jax.random.normal(KEY, (8, 4)).astype(jnp.bfloat16)
    variables = variables_for(x)
    y, stats = train(*variables.values(), x, dtype=jnp.bfloat16)
    assert y.dtype == jnp.bfloat16
    assert stats["mean"].dtype == stats["var"].dtype == jnp.float32


def test_zero_scale_starts_as_nothing():
    layer = BatchNorm(scale_init=nn.initializers.zeros_init())
    x = jax.random.normal(KEY, (4, 3))
    variables = layer.init(KEY, x, Context())
    y, _ = layer.apply(variables, x, Context(training=True), mutable=["batch_stats"])
    np.testing.assert_array_equal(y, 0.0)
