"""Variational autoencoders: shapes of any size, and arithmetic of the smallest."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl.batch import Context
from jaxdl.distributions import Bernoulli, Gaussian
from jaxdl.models import AUTOENCODERS, count_parameters, create, forward, layer_table
from jaxdl.models.vae import upsample

KEY = jax.random.key(0)


def shapes_of(model, *shape):
    return jax.eval_shape(model.init_with_output, KEY, jnp.zeros(shape))


def random_variables(model, *shape):
    """Quicker than compiling ``init``."""
    rng, (_, shapes) = np.random.default_rng(0), shapes_of(model, 1, *shape)
    return jax.tree.map(lambda s: rng.normal(size=s.shape).astype("float32"), shapes)


@settings(deadline=None, max_examples=12)
@given(
    name=st.sampled_from(sorted(AUTOENCODERS)),
    size=st.tuples(st.integers(1, 19), st.integers(1, 19), st.sampled_from([1, 3])),
    latents=st.integers(1, 5),
    decoder=st.sampled_from(["bernoulli", "gaussian"]),
)
def test_images_of_any_size_come_back_in_their_shape(name, size, latents, decoder):
    given_ = {"shape": list(size), "latents": latents, "decoder": decoder}
    model = create(name, **json.loads(json.dumps({**given_, "hidden": [4]})))
    images, variables = shapes_of(model, 2, *size)
    assert images.shape == (2, *size)
    assert set(variables) == {"params"}

    posterior, likelihood = jax.eval_shape(
        lambda v, x: (
            model.apply(v, x, method="encode"),
            model.apply(v, jnp.zeros((2, latents)), method="decode"),
        ),
        variables,
        jnp.zeros((2, *size)),
    )
    assert isinstance(posterior, Gaussian)
    assert posterior.mean.shape == posterior.log_variance.shape == (2, latents)
    assert isinstance(likelihood, Gaussian if decoder == "gaussian" else Bernoulli)
    assert {leaf.shape for leaf in likelihood} == {(2, *size)}


def test_the_dense_ones_parameters_are_those_of_its_layers():
    _, variables = shapes_of(create("vae_mlp", shape=(8, 8, 1)), 1, 8, 8, 1)
    widths = [64, 500, 500, 40], [20, 500, 500, 64]
    expected = sum(
        a * b + b for one in widths for a, b in zip(one[:-1], one[1:], strict=True)
    )
    assert count_parameters(variables["params"]) == expected


@pytest.fixture(scope="module", params=["vae_mlp", "vae_cnn"])
def small(request):
    """A small model of 5 x 6 images, its parameters, and images."""
    channels = (2, 3) if request.param == "vae_cnn" else ()
    sizes = {"shape": (5, 6, 1), "latents": 3, "hidden": (7,), "channels": channels}
    model = create(request.param, decoder="gaussian", **sizes)
    x = np.random.default_rng(0).uniform(size=(4, 5, 6, 1)).astype(np.float32)
    return model, random_variables(model, 5, 6, 1), x


def test_the_call_is_the_mean_image_at_the_mean_latents(small):
    model, variables, x = small
    params = variables["params"]
    encode, decode, whole = (
        jax.jit(forward(model, method)) for method in ("encode", "decode", "__call__")
    )
    told = Context()
    posterior, state = encode(params, {}, x, told, None)
    likelihood, _ = decode(params, {}, posterior.mean, told, None)
    images, _ = whole(params, {}, x, told, None)
    assert state == {}
    np.testing.assert_allclose(images, likelihood.mean, rtol=1e-5)
    # An image is encoded for itself: in another order, the same.
    turned, _ = encode(params, {}, x[::-1], told, None)
    np.testing.assert_allclose(turned.mean, posterior.mean[::-1], atol=1e-6)
    np.testing.assert_allclose(
        turned.log_variance, posterior.log_variance[::-1], atol=1e-6
    )


def test_all_pixels_share_one_variance_that_has_a_floor(small):
    model, variables, _ = small

    def log_variance(scale):
        changed = {**variables["params"], "pixels": {"scale": jnp.float32(scale)}}
        likelihood = model.apply(
            {"params": changed}, jnp.zeros((1, 3)), method="decode"
        )
        return np.unique(likelihood.log_variance)

    np.testing.assert_allclose(log_variance(0.1), [-3.0])
    np.testing.assert_allclose(log_variance(-99.0), [-2 * np.log(512)], rtol=1e-6)


def test_dropout_comes_through_the_context_of_either_half():
    model = create("vae_mlp", shape=(2, 2, 1), latents=4, hidden=(40,))
    params = random_variables(model, 2, 2, 1)["params"]

    @partial(jax.jit, static_argnums=0)
    def both(training):
        told = Context(training, dropout=0.5)
        x = {"encode": jnp.ones((3, 2, 2, 1)), "decode": jnp.ones((3, 4))}
        return [forward(model, m)(params, {}, x[m], told, KEY)[0][0] for m in x]

    for half in both(True):
        assert len(np.unique(half.reshape(3, -1), axis=0)) == 3
    for half in both(False):
        assert len(np.unique(half.reshape(3, -1), axis=0)) == 1


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_half_precision_keeps_float32_parameters_and_distributions(name):
    model = create(
        name, shape=(6, 6, 3), latents=2, decoder="gaussian", dtype="bfloat16"
    )
    images, variables = shapes_of(model, 2, 6, 6, 3)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert images.dtype == jnp.float32
    rows = layer_table(model, variables, jnp.zeros((1, 6, 6, 3)))
    assert sum(row.parameters for row in rows) == count_parameters(variables["params"])


def test_what_does_not_fit_is_one_line():
    model = create("vae_mlp", shape=(4, 4, 1), decoder="beta")
    with pytest.raises(ValueError, match="unknown decoder 'beta': give bernoulli or"):
        shapes_of(model, 1, 4, 4, 1)
    with pytest.raises(ValueError, match=r"takes \[batch, height, width, channels\]"):
        shapes_of(create("vae_cnn", shape=(4, 4, 1)), 1, 16)
    with pytest.raises(ValueError, match="vae_mlp has no option 'classes'"):
        create("vae_mlp", shape=(4, 4, 1), classes=2)


def test_upsampling_repeats_pixels_and_cuts():
    x = jnp.arange(4.0).reshape(1, 2, 2, 1)
    expected = [[0, 0, 1], [0, 0, 1], [2, 2, 3]]
    np.testing.assert_array_equal(upsample(x, (3, 3))[0, ..., 0], expected)
