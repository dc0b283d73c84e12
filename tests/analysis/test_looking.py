"""What networks look at: on networks that are known to look somewhere."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl import analysis, models
from jaxdl.layers import Conv, max_pool
from tests.quick import draw_variables, jit

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 8, 8, 1)).astype(np.float32)


def test_saliency_of_a_linear_model_is_its_weights():
    weights = RNG.normal(size=(8, 8, 3)).astype(np.float32)

    def scores(x):
        return jnp.einsum("bhwc,hwk->bk", x, weights)

    found = jit(partial(analysis.saliency, scores))(IMAGES, jnp.array([0, 2]))
    np.testing.assert_allclose(found[0], np.abs(weights[..., 0]), rtol=1e-6)
    np.testing.assert_allclose(found[1], np.abs(weights[..., 2]), rtol=1e-6)


class Bright(nn.Module):
    """Class 0 counts what is bright, class 1 what is dark."""

    @nn.compact
    def __call__(self, x):
        maps = nn.Conv(2, (1, 1), use_bias=False, name="maps")(x)
        return jnp.mean(nn.relu(maps), axis=(1, 2))


def test_grad_cam_lights_up_where_the_class_is():
    variables = {"params": {"maps": {"kernel": jnp.array([[[[1.0, -1.0]]]])}}}
    x = jnp.zeros((2, 8, 8, 1)).at[:, 1, 2].set(3.0).at[:, 5, 6].set(-2.0)
    found = np.asarray(
        jit(lambda x, c: analysis.grad_cam(Bright(), variables, x, c, "maps"))(
            x, jnp.array([0, 1])
        )
    )
    assert found.shape == (2, 8, 8)
    assert np.unravel_index(found[0].argmax(), (8, 8)) == (1, 2)
    assert np.unravel_index(found[1].argmax(), (8, 8)) == (5, 6)
    # A single place gives the score: the weight is its slope's mean, 1 / 64 of 1 / 64.
    assert found[0].max() == pytest.approx(3 / 64**2)
    assert np.count_nonzero(found) == 2


def test_grad_cam_of_a_model_of_jaxdl_and_its_refusal():
    model = models.create("simple_cnn", classes=3, blocks=(((2, 3, 1),),), hidden=(4,))
    variables = draw_variables(model, IMAGES)
    assert analysis.convolutions(model, variables, IMAGES) == ("Conv_0",)
    found = analysis.grad_cam(model, variables, IMAGES, jnp.array([0, 1]), "Conv_0")
    assert found.shape == (2, 8, 8)
    assert found.min() >= 0
    for layer in ("Dense_0", "Conv_7"):
        with pytest.raises(ValueError, match=f"'{layer}' puts out no .* Conv_0"):
            analysis.grad_cam(model, variables, IMAGES, jnp.array([0, 1]), layer)


def test_the_most_exciting_image_of_a_linear_unit_is_its_weights():
    """weights . x - decay / 2 |x|^2 is largest at weights / decay."""
    weights = RNG.normal(size=(4, 4, 1)).astype(np.float32)
    found = analysis.maximise_activation(
        lambda x: jnp.sum(x * weights), jnp.zeros((4, 4, 1)), steps=300, decay=1.0
    )
    np.testing.assert_allclose(found.image, weights, atol=1e-2)
    assert found.values[-1] > found.values[0]


class Stacked(nn.Module):
    """Convolutions and pooling of given (kernel, stride), with or without bends."""

    sizes: tuple

    @nn.compact
    def __call__(self, x):
        for kernel, stride in self.sizes:
            x = Conv(3, (kernel, kernel), stride, padding="VALID")(x)
        return x


@pytest.mark.parametrize(
    "sizes", [((3, 1),), ((3, 1), (3, 1)), ((5, 2), (3, 1)), ((2, 2), (3, 2), (2, 1))]
)
def test_receptive_field_by_formula_and_by_gradient(sizes):
    images = RNG.normal(size=(2, 25, 25, 1)).astype(np.float32)
    model = Stacked(sizes)
    variables = draw_variables(model, images)
    found = analysis.receptive_field_by_gradient(
        partial(model.apply, variables), images
    )
    assert found == (analysis.receptive_field(sizes),) * 2


def test_what_max_pooling_hides_other_images_show():
    images = RNG.normal(size=(200, 9, 9, 1)).astype(np.float32)
    found = analysis.receptive_field_by_gradient(
        lambda x: max_pool(x, 3, 1), jnp.asarray(images)
    )
    assert found == (3, 3)
    none = analysis.receptive_field_by_gradient(jnp.zeros_like, jnp.asarray(images))
    assert none == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "size"),
    [((4, 3, 1, 1), 4), ((7, 3, 2, 0), 3), ((28, 5, 3, 2), 10), ((31, 5, 3, 2), 11)],
)
def test_output_sizes_of_the_books(arguments, size):
    assert analysis.conv_output_size(*arguments) == size
    side, kernel, stride, padding = arguments
    made = jax.eval_shape(
        Conv(1, (kernel, kernel), stride, padding=padding).init_with_output,
        jax.random.key(0),
        jnp.zeros((1, side, side, 1)),
    )
    assert made[0].shape[1] == size


def test_filters_are_images():
    params = {"a": {"kernel": RNG.normal(size=(3, 3, 1, 4))}}
    found = analysis.filters(params, "a")
    assert found.shape == (4, 3, 3, 1)
    np.testing.assert_array_equal(found[2, ..., 0], params["a"]["kernel"][..., 0, 2])
    deep = {"b": {"kernel": RNG.normal(size=(3, 3, 5, 4))}}
    assert analysis.filters(deep, "b").shape == (4, 3, 3, 1)
