"""Convolution: every lowering equals the compiler's, in value and derivatives."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from jaxdl.layers import Conv, SeparableConv, to_nchw, to_nhwc
from jaxdl.layers.convolution import LOWERINGS, XLA, Choice, Geometry, convolve
from jaxdl.layers.windows import window_pads

KEY = jax.random.key(0)

# Spatial sizes, channels in and out, kernel, strides, padding, dilation, groups.
CASES = [
    ((7,), 2, 3, (3,), (2,), "SAME", (1,), 1),
    ((6, 5), 1, 4, (3, 3), (1, 1), "SAME", (1, 1), 1),
    ((7, 8), 3, 4, (3, 2), (2, 1), "VALID", (1, 1), 1),
    ((7, 6), 4, 6, (3, 3), (1, 2), [(0, 2), (1, 1)], (2, 1), 2),
    ((4, 5), 2, 3, (3, 3), (1, 1), 2, (1, 1), 1),
    ((5, 5), 3, 6, (2, 2), (1, 1), 1, (1, 1), 3),
    ((4, 5, 4), 2, 2, (2, 3, 2), (1, 2, 1), "SAME", (1, 1, 1), 1),
]
PURE = [name for name in LOWERINGS if name != "compiled"]  # tests/kernels has that
CHOICES = [
    *(Choice(name, name, name) for name in ("im2col", "shifted")),
    Choice(kernel_gradient="im2col"),
    Choice("shifted", "im2col", "xla"),
]


def draw(case, batch=2):
    sizes, inputs, outputs, kernel, strides, padding, dilation, groups = case
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(batch, *sizes, inputs)))
    w = jnp.asarray(random.normal(size=(*kernel, inputs // groups, outputs)))
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    pads = window_pads(sizes, extent, strides, padding)
    return x, w, Geometry(strides, pads, dilation, groups)


def close(ours, theirs):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9),
        ours,
        theirs,
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{len(case[0])}d-{case[-1]}")
def test_lowerings_are_equal_in_value_and_gradients(case):
    with jax.enable_x64(True):
        x, w, geometry = draw(case)

        @jax.jit
        def every_choice(x, w):
            def run(x, w, choice):
                y = convolve(x, w, geometry, choice)
                return jnp.sum(jnp.sin(y)), y

            both = jax.value_and_grad(run, argnums=(0, 1), has_aux=True)
            return [both(x, w, choice) for choice in (XLA, *CHOICES)]

        expected, *others = every_choice(x, w)
        for other in others:
            close(other, expected)


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_lowerings_are_equal_under_vmap_and_scan(choice):
    with jax.enable_x64(True):
        x, w, geometry = draw(CASES[2])
        kernels = jnp.stack([w, 2 * w, w - 1])

        @partial(jax.jit, static_argnums=1)
        def gradient(w, choice):
            return jax.grad(lambda w: (convolve(x, w, geometry, choice) ** 2).sum())(w)

        expected = jnp.stack([gradient(k, XLA) for k in kernels])
        close(jax.vmap(lambda k: gradient(k, choice))(kernels), expected)
        scanned = jax.lax.scan(
            lambda carry, k: (carry, gradient(k, choice)), 0, kernels
        )
        close(scanned[1], expected)


@pytest.mark.parametrize("choice", CHOICES[:3], ids=str)
def test_first_and_second_derivatives_in_both_modes(choice):
    with jax.enable_x64(True):
        x, w, geometry = draw(CASES[1], batch=1)

        @jax.jit
        def run(x, w):
            return jnp.sin(convolve(x, w, geometry, choice))

        check_grads(run, (x, w), order=2, modes=["fwd", "rev"])


def test_constant_images_cost_no_input_gradient():
    """The symbolic zero of a first layer's images must not become a convolution."""
    x, w, geometry = draw(CASES[1])
    choice = Choice(kernel_gradient="im2col")
    gradient = jax.grad(lambda w: convolve(x, w, geometry, choice).sum())
    text = str(jax.make_jaxpr(gradient)(w))
    assert text.count("conv_general_dilated[") == 1  # the value


@settings(deadline=None, max_examples=30)
@given(
    space=st.lists(st.integers(3, 9), min_size=1, max_size=3),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    padding=st.sampled_from(["SAME", "VALID", 2]),
    channels=st.sampled_from([(1, 4, 1), (4, 6, 2), (3, 6, 3)]),
    lowering=st.sampled_from(["auto", *PURE, CHOICES[-1]]),
)
def test_shapes_are_those_of_flax(
    space, kernel, stride, dilation, padding, channels, lowering
):
    window = (kernel,) * len(space)
    strides, groups = (stride,) * len(space), channels[2]
    assume(padding != "VALID" or min(space) > (kernel - 1) * dilation)
    ours = Conv(
        channels[1], window, strides, padding, dilation, groups, lowering=lowering
    )
    theirs = nn.Conv(
        channels[1],
        window,
        strides,
        padding,
        kernel_dilation=dilation,
        feature_group_count=groups,
    )
    x = jax.ShapeDtypeStruct((2, *space, channels[0]), jnp.float32)
    shapes = [jax.eval_shape(c.init_with_output, KEY, x) for c in (ours, theirs)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_equals_flax_with_the_same_parameters(axes):
    ours = Conv(3, (3,) * axes, 2)
    theirs = nn.Conv(3, (3,) * axes, 2)
    x = jax.random.normal(KEY, (2, *(5, 6, 4)[:axes], 1))
    # Unjitted: fused into two programs, the same draw may round to two last bits.
    y, variables = ours.init_with_output(KEY, x)
    expected, expected_variables = theirs.init_with_output(KEY, x)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, variables, expected_variables)


def test_padding_that_enlarges_is_explicit():
    """Or XLA on CPU takes a slow path for the kernel gradient."""
    x, w, geometry = draw(CASES[4])
    assert geometry.pads == ((2, 2), (2, 2))
    text = str(jax.make_jaxpr(lambda x, w: convolve(x, w, geometry))(x, w))
    assert "padding=((0, 0), (0, 0))" in text


def test_dtype_is_that_of_the_computation_and_parameters_stay_float32():
    conv = Conv(3, (2, 2), dtype=jnp.bfloat16)
    x = jnp.ones((1, 4, 4, 2))
    variables = conv.init(KEY, x)
    assert variables["params"]["kernel"].dtype == jnp.float32
    assert conv.apply(variables, x).dtype == jnp.bfloat16


def test_shifting_the_image_shifts_the_feature_map():
    conv = Conv(3, (3, 3), padding="VALID")
    x = jax.random.normal(KEY, (1, 12, 12, 2))
    variables = conv.init(jax.random.key(1), x)
    apply = jax.jit(conv.apply)
    y = apply(variables, x)
    for down, right in itertools.product((1, 3), (0, 2)):
        shifted = apply(variables, jnp.roll(x, (down, right), (1, 2)))
        np.testing.assert_allclose(
            shifted[:, down:, right:], y[:, : 10 - down, : 10 - right], atol=1e-5
        )


def test_channels_add_up_and_each_kernel_makes_one_map():
    x, w, geometry = draw(CASES[2])
    by_channel = [
        convolve(x[..., i : i + 1], w[:, :, i : i + 1], geometry) for i in range(3)
    ]
    np.testing.assert_allclose(convolve(x, w, geometry), sum(by_channel), atol=1e-5)
    np.testing.assert_allclose(
        convolve(x, w[..., 2:3], geometry)[..., 0],
        convolve(x, w, geometry)[..., 2],
        atol=1e-5,
    )


def test_separable_convolution_has_the_papers_weights_and_value():
    x = jax.random.normal(KEY, (2, 6, 6, 4))
    conv = SeparableConv(5, (3, 3), use_bias=False)
    variables = conv.init(jax.random.key(1), x)
    kernels = variables["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(kernels)) == 3 * 3 * 4 + 4 * 5
    depthwise, pointwise = (
        kernels["depthwise"]["kernel"],
        kernels["pointwise"]["kernel"],
    )
    full = jnp.einsum("hwzc,zzcd->hwcd", depthwise, pointwise)
    y = Conv(5, (3, 3), use_bias=False).apply({"params": {"kernel": full}}, x)
    np.testing.assert_allclose(conv.apply(variables, x), y, atol=1e-5)


def test_channels_first_and_last_are_each_others_inverse():
    x = jnp.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    assert to_nhwc(x).shape == (2, 4, 5, 3)
    assert to_nhwc(x)[1, 2, 3, 0] == x[1, 0, 2, 3]
    np.testing.assert_array_equal(to_nchw(to_nhwc(x)), x)


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({"lowering": "fft"}, (1, 5, 5, 2), "unknown lowering 'fft'"),
        ({"lowering": ("xla", "xla", "fft")}, (1, 5, 5, 2), "unknown lowering 'fft'"),
        ({}, (1, 5, 2), "takes .batch, 2 spatial axes, channels."),
        ({"feature_group_count": 3}, (1, 5, 5, 2), "3 groups do not divide 2"),
        ({"padding": "VALID"}, (1, 2, 5, 2), "does not fit"),
        ({"strides": (1, 1, 1)}, (1, 5, 5, 2), "names 3 axes"),
    ],
)
def test_errors_are_one_clear_line(options, shape, message):
    with pytest.raises(ValueError, match=message) as error:
        Conv(4, (3, 3), **options).init(KEY, jnp.zeros(shape))
    assert "\n" not in str(error.value)
