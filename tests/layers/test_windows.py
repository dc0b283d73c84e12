"""Output sizes, padding and receptive fields of sliding windows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from jaxdl.layers import Conv, avg_pool, conv_output_size, receptive_field
from jaxdl.layers.windows import window_pads


@pytest.mark.parametrize(
    ("size", "padding", "stride", "kernel", "expected"),
    [(4, 1, 1, 3, 4), (7, 0, 2, 3, 3), (28, 2, 3, 5, 10), (31, 2, 3, 5, 11)],
)
def test_the_books_output_sizes(size, padding, stride, kernel, expected):
    assert conv_output_size(size, kernel, stride, padding, exact=True) == expected


def test_a_division_that_leaves_pixels_is_floored_or_refused():
    assert conv_output_size(8, 3, 2) == 3
    with pytest.raises(ValueError, match="leaves 1 of 8 pixels"):
        conv_output_size(8, 3, 2, exact=True)


@settings(deadline=None, max_examples=40)
@given(
    size=st.integers(1, 40),
    kernel=st.integers(1, 7),
    stride=st.integers(1, 4),
    padding=st.one_of(
        st.sampled_from(["SAME", "VALID"]),
        st.integers(0, 3),
        st.tuples(st.integers(0, 3), st.integers(0, 3)),
    ),
)
def test_the_formula_is_what_lax_does(size, kernel, stride, padding):
    try:
        ours = conv_output_size(size, kernel, stride, padding)
    except ValueError:
        before, after = padding if isinstance(padding, tuple) else (padding, padding)
        assert padding == "VALID" or size + before + after < kernel
        return
    pads = window_pads(
        [size], [kernel], [stride], padding if isinstance(padding, str) else [padding]
    )
    out = jax.eval_shape(
        lambda x, w: lax.conv_general_dilated(x, w, (stride,), pads),
        jnp.zeros((1, 1, size)),
        jnp.zeros((1, 1, kernel)),
    )
    assert out.shape == (1, 1, ours)


@pytest.mark.parametrize(
    ("padding", "message"),
    [("FULL", "unknown padding 'FULL'"), ([1], "names 1 axes"), (0, "does not fit")],
)
def test_bad_padding_is_one_clear_line(padding, message):
    with pytest.raises(ValueError, match=message) as error:
        window_pads([4, 4], [5, 5], [1, 1], padding)
    assert "\n" not in str(error.value)


def test_two_3x3_see_what_one_5x5_sees_with_fewer_weights():
    assert receptive_field([(3, 1)] * 2) == receptive_field([(5, 1)]) == 5
    assert receptive_field([(3, 1)] * 3) == 7

    def weights(kernel):
        conv = Conv(1, (kernel, kernel), use_bias=False)
        shapes = jax.eval_shape(conv.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
        return shapes["params"]["kernel"].size

    assert (2 * weights(3), weights(5)) == (18, 25)


@settings(deadline=None, max_examples=5)
@given(
    layers=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), max_size=3),
)
def test_the_receptive_field_is_where_the_gradient_arrives(layers):
    @jax.jit
    @jax.grad
    def gradient(x):
        for kernel, stride in layers:
            x = avg_pool(x, kernel, stride)
        return x[0, 0, 0]

    seen = np.flatnonzero(gradient(jnp.ones((1, 80, 1)))[0, :, 0])
    assert seen[-1] + 1 == receptive_field(layers)
