"""Transposed convolution: Flax's in value, quicker in gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl.layers import ConvTranspose
from tests import quick

# Kernel and stride of each axis, size of each axis, padding.
CASES = [
    ((4, 4), (2, 2), (3, 2), "SAME"),
    ((5, 3), (2, 1), (2, 3), "SAME"),
    ((2, 5), (3, 4), (2, 2), "SAME"),
    ((4, 2), (2, 3), (2, 3), "VALID"),
    ((3,), (2,), (4,), "VALID"),
]


def both(kernel, strides, padding):
    options = {"kernel_size": kernel, "strides": strides, "padding": padding}
    return ConvTranspose(2, **options), nn.ConvTranspose(2, **options)


def inputs(size, seed=0, dtype=np.float32, batch=2):
    draw = np.random.default_rng(seed)
    return jnp.asarray(draw.normal(size=(batch, *size, 3)), dtype)


@pytest.mark.parametrize(("kernel", "strides", "size", "padding"), CASES)
def test_value_and_gradients_are_those_of_flax(kernel, strides, size, padding):
    with jax.enable_x64(True):
        ours, theirs = both(kernel, strides, padding)
        x = inputs(size, dtype=np.float64)
        weights = np.random.default_rng(1).normal(size=(*kernel, 3, 2))
        params = {"params": {"kernel": jnp.asarray(weights), "bias": jnp.ones(2)}}

        def look(module):
            def squares(params, x):
                y = module.apply(params, x)
                return jnp.sum(jnp.sin(y)), y

            slopes = jax.value_and_grad(squares, (0, 1), has_aux=True)
            return quick.jit(slopes)(params, x)

        (_, y), slopes = look(ours)
        (_, expected), others = look(theirs)
        assert y.shape == expected.shape
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
        for a, b in zip(*map(jax.tree.leaves, (slopes, others)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_gradients_of_first_and_second_order_are_those_of_differences():
    with jax.enable_x64(True):
        module = ConvTranspose(2, (4,), 2, use_bias=False)
        kernel, x = jnp.ones((4, 3, 2)), inputs((3,), dtype=np.float64)

        def value(kernel, x):
            y = module.apply({"params": {"kernel": kernel}}, x)
            return jnp.sum(jnp.sin(y))

        def slope(kernel, x):
            slopes = jax.grad(value, (0, 1))(kernel, x)
            return sum(jnp.sum(jnp.sin(part)) for part in slopes)

        quick.check_slopes(value, (kernel, x))
        quick.check_slopes(slope, (kernel, x))


@settings(max_examples=15, deadline=None)
@given(
    kernel=st.integers(1, 5),
    stride=st.integers(1, 4),
    size=st.integers(1, 5),
    padding=st.sampled_from(["SAME", "VALID"]),
)
def test_sizes_are_those_of_flax(kernel, stride, size, padding):
    ours, theirs = both((kernel,), (stride,), padding)
    x = jax.ShapeDtypeStruct((2, size, 3), jnp.float32)

    def slope(x):
        y, params = ours.init_with_output(jax.random.key(0), x)
        return y, jax.grad(lambda p, x: ours.apply(p, x).sum(), (0, 1))(params, x)

    y, slopes = jax.eval_shape(slope, x)
    assert (
        y.shape
        == jax.eval_shape(theirs.init_with_output, jax.random.key(0), x)[0].shape
    )
    assert slopes[1].shape == x.shape


def test_members_and_blocks_of_a_scan_are_each_their_own():
    module = ConvTranspose(2, (4, 4), 2)
    x = inputs((3, 3))
    initial = quick.jit(lambda seed: module.init(jax.random.key(seed), x))
    params = [initial(seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)

    def slope(p):
        return jax.grad(lambda p: jnp.sum(jnp.sin(module.apply(p, x))))(p)

    expected = [quick.jit(slope)(p) for p in params]
    mapped = quick.jit(jax.vmap(slope))(stacked)
    scanned = quick.jit(lambda many: jax.lax.map(slope, many))(stacked)
    for i, one in enumerate(expected):
        for got in (mapped, scanned):
            for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(one), strict=True):
                np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-4)


def test_ones_lie_evenly_where_the_stride_divides_the_kernel_and_not_elsewhere():
    """Odena et al. 2016: how often each output is touched."""

    def touched(kernel, stride):
        module = ConvTranspose(1, (kernel,), stride, use_bias=False)
        ones = {"params": {"kernel": jnp.ones((kernel, 1, 1))}}
        y = module.apply(ones, jnp.ones((1, 8, 1)))[0, :, 0]
        return set(np.asarray(y)[kernel:-kernel].tolist())

    assert touched(4, 2) == {2.0}
    assert touched(6, 3) == {2.0}
    assert touched(5, 2) == {2.0, 3.0}


def test_it_computes_in_the_dtype_asked_for_with_parameters_of_float32():
    module = ConvTranspose(2, (4, 4), 2, dtype=jnp.bfloat16)
    y, params = jax.eval_shape(
        module.init_with_output, jax.random.key(0), inputs((3, 3))
    )
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


def test_a_kernel_that_the_stride_does_not_divide_is_refused_where_asked():
    with pytest.raises(ValueError, match=r"\(5, 5\) is not divisible .*\(2, 2\)"):
        ConvTranspose(2, (5, 5), 2, divisible=True)
    assert ConvTranspose(2, (4, 4), 2, divisible=True).features == 2
    with pytest.raises(ValueError, match="'REFLECT': give SAME or VALID"):
        ConvTranspose(2, (4, 4), 2, padding="REFLECT")
    with pytest.raises(ValueError, match="takes .batch, 2 spatial axes"):
        ConvTranspose(2, (4, 4), 2).init(jax.random.key(0), jnp.zeros((1, 3, 3)))
