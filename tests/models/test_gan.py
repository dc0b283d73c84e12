"""DCGAN: shapes of every size, ranges, spectral norms, and what it refuses."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl import models
from jaxdl.batch import Context, example_keys
from jaxdl.models import gan
from jaxdl.models.apply import forward
from jaxdl.models.gan import DCGAN, draw_latents, halvings
from tests import quick

SHAPE = (6, 8, 3)
TINY = DCGAN(SHAPE, latents=3, channels=2)


def initial(model):
    return models.init(model, jax.random.key(0), jnp.zeros((1, *model.shape)))


def drawn(model):
    variables = dict(quick.draw_variables(model, jnp.zeros((1, *model.shape))))
    return variables.pop("params"), variables


def made(model, images=5):
    """Images and scores of a model as it is initialised."""
    params, state = initial(model)
    keys = jax.random.split(jax.random.key(1), images)
    z = draw_latents(keys, model.latents, model.latent_distribution)
    x, _ = forward(model, "generate")(params, state, z, Context(), None)
    scores, _ = forward(model)(params, state, x, Context(), None)
    return x, scores


@settings(max_examples=12, deadline=None)
@given(
    height=st.integers(3, 24).map(lambda n: 2 * n),
    width=st.integers(3, 24).map(lambda n: 2 * n),
    channels=st.sampled_from([1, 3]),
    kernel=st.integers(2, 5),
    downsampling=st.sampled_from(gan.DOWNSAMPLING),
)
def test_images_and_scores_have_the_shapes_asked_for(
    height, width, channels, kernel, downsampling
):
    model = DCGAN(
        (height, width, channels),
        latents=3,
        channels=1,
        kernel_size=kernel,
        checkerboard=kernel % 2 == 1,
        downsampling=downsampling,
    )
    images, scores = jax.eval_shape(partial(made, model))
    assert images.shape == (5, height, width, channels)
    assert scores.shape == (5,)


@pytest.mark.parametrize(
    ("sides", "count"), [((8, 8), 1), ((28, 28), 2), ((32, 64), 3), ((64, 64), 4)]
)
def test_sides_are_halved_while_they_are_even_and_large(sides, count):
    assert halvings(*sides) == count


@pytest.mark.parametrize(
    ("output", "low"), [("tanh", -1.0), ("sigmoid", 0.0)], ids=["tanh", "sigmoid"]
)
def test_pixels_lie_in_the_range_that_the_model_says(output, low):
    model = dataclasses.replace(TINY, output=output)
    assert model.pixel_range == (low, 1.0)
    last, _ = gan.OUTPUTS[output]
    ends = last(jnp.array([-50.0, 50.0]))
    np.testing.assert_allclose(ends, model.pixel_range, atol=1e-6)


def test_latents_belong_to_their_keys_and_have_the_moments_of_their_distribution():
    keys = example_keys(jax.random.key(0), jnp.arange(4000))
    draw, other = (
        quick.jit(partial(draw_latents, size=3, distribution=name))
        for name in gan.DISTRIBUTIONS
    )
    normal, uniform = draw(keys), other(keys)
    for z, deviation in ((normal, 1.0), (uniform, 3**-0.5)):
        assert abs(float(z.mean())) < 0.03
        assert float(z.std()) == pytest.approx(deviation, rel=0.03)
    assert float(jnp.abs(uniform).max()) <= 1.0 < float(jnp.abs(normal).max())
    again = draw(keys[::-1])
    np.testing.assert_array_equal(again, normal[::-1])


def test_spectral_norm_makes_every_weights_largest_singular_value_one():
    model = dataclasses.replace(TINY, spectral_norm=True)
    params, state = drawn(model)
    x = np.random.default_rng(1).normal(size=(2, *SHAPE)).astype(np.float32)
    look = quick.jit(partial(forward(model), context=Context(training=True), key=None))
    for _ in range(60):
        _, state = look(params, state, x)
    for name, layer in params["discriminator"].items():
        matrix = np.asarray(layer["kernel"]).reshape(-1, layer["kernel"].shape[-1])
        expected = np.linalg.svd(matrix, compute_uv=False)[0]
        kept = {
            key.split("/")[-1]: value
            for group in state["batch_stats"]["discriminator"].values()
            for key, value in group.items()
            if key.startswith(f"{name}/")
        }
        assert float(kept["sigma"]) == pytest.approx(expected, rel=1e-4), name
        # The image of u is v sigma: u is the right singular vector.
        image = matrix @ np.asarray(kept["u"])[0]
        assert np.linalg.norm(image) == pytest.approx(expected, rel=1e-4)
    scores, _ = look(params, state, x)
    double = {
        **params,
        "discriminator": jax.tree.map(
            lambda leaf: 2 * leaf if leaf.ndim > 1 else leaf, params["discriminator"]
        ),
    }
    np.testing.assert_allclose(look(double, state, x)[0], scores, rtol=1e-4, atol=1e-6)


def test_evaluation_leaves_the_model_state_and_needs_no_key():
    model = dataclasses.replace(TINY, spectral_norm=True)
    params, state = drawn(model)
    look = quick.jit(partial(forward(model), context=Context(), key=None))
    _, after = look(params, state, jnp.ones((2, *SHAPE)))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), after, state))


def test_bfloat16_computes_in_it_and_gives_float32():
    model = dataclasses.replace(TINY, dtype="bfloat16")
    images, scores = jax.eval_shape(partial(made, model))
    assert (images.dtype, scores.dtype) == (jnp.float32, jnp.float32)
    params, _ = jax.eval_shape(partial(initial, model))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


def test_the_table_of_layers_holds_both_players():
    params, state = jax.eval_shape(partial(initial, TINY))
    rows = models.layer_table(TINY, {"params": params, **state}, jnp.zeros((1, *SHAPE)))
    assert {row.path.split("/")[0] for row in rows} == set(params)
    assert sum(row.parameters for row in rows) == models.count_parameters(params)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"shape": (8, 8)}, r"makes images .height, width, channels., not \(8, 8\)"),
        ({"shape": (9, 9, 1)}, "9 x 9 pixels cannot be halved"),
        ({"output": "relu"}, "output is 'relu': give tanh or sigmoid"),
        ({"downsampling": "mean"}, "give strided or max_pool"),
        ({"activation": "tanh"}, "give leaky_relu or relu"),
        ({"latent_distribution": "beta"}, "give gaussian or uniform"),
        ({"latents": 0}, "latents is 0: give 1 or more"),
    ],
)
def test_a_field_out_of_its_range_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        models.create("dcgan", **{"shape": (8, 8, 1), **fields})


def test_a_kernel_that_the_stride_does_not_divide_is_refused_unless_wanted():
    odd = dataclasses.replace(TINY, kernel_size=5)
    with pytest.raises(ValueError, match="not divisible by the strides"):
        jax.eval_shape(partial(made, odd))
    wanted = dataclasses.replace(odd, checkerboard=True)
    assert jax.eval_shape(partial(made, wanted))[0].shape == (5, *SHAPE)
