"""Backward passes written by hand equal ``jax.vjp``; the books' shopping examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxdl.analysis import backpropagation as by_hand
from jaxdl.analysis import backpropagation_of_images as images_by_hand
from jaxdl.layers import max_pool
from tests.quick import jit

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)


def draw(*shape):
    return RNG.normal(size=shape)


def kernel(*shape):
    return {"kernel": draw(*shape), "bias": draw(shape[-1])}


ROWS = draw(6, 4)
IMAGES = draw(2, 7, 6, 3)
NODES = {
    "add": (by_hand.add, None, (draw(3, 2), draw(3, 2))),
    "multiply": (by_hand.multiply, None, (draw(3, 2), draw(3, 2))),
    "affine": (by_hand.affine, kernel(4, 5), ROWS),
    "relu": (by_hand.relu, None, ROWS),
    "sigmoid": (by_hand.sigmoid, None, ROWS),
    "softmax": (by_hand.softmax_with_loss(jnp.array([0, 3, 1, 1, 2, 0])), None, ROWS),
    "batch norm": (by_hand.batch_norm(), {"scale": draw(4), "bias": draw(4)}, ROWS),
    "dropout": (by_hand.dropout(0.4, KEY), None, ROWS),
    "convolution": (images_by_hand.convolution(3), kernel(3, 3, 3, 4), IMAGES),
    "convolution, stride 2, padding 1": (
        images_by_hand.convolution(3, 2, 1),
        kernel(3, 3, 3, 4),
        IMAGES,
    ),
    "pooling": (images_by_hand.max_pooling(2), None, IMAGES),
    "pooling, overlapping": (images_by_hand.max_pooling(3, 2), None, IMAGES),
    "flatten": (images_by_hand.flatten, None, IMAGES),
}


@pytest.mark.parametrize("name", NODES)
def test_backward_is_the_vjp_of_forward(name):
    node, params, x = NODES[name]
    with jax.enable_x64(True):

        @jit
        def both(params, x):
            y, pull, kept = jax.vjp(node.forward, params, x, has_aux=True)
            slope = jnp.sin(jnp.arange(y.size, dtype=y.dtype) + 1).reshape(y.shape)
            return pull(slope), node.backward(kept, slope)

        expected, found = both(params, x)
        assert jax.tree.structure(expected) == jax.tree.structure(found)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13),
            expected,
            found,
        )
        assert ravel_pytree(found)[0].dtype == jnp.float64
        assert np.any(ravel_pytree(found)[0] != 0)


def test_two_apples_and_a_tax():
    """Price 220; slopes 2.2 by a price, 110 by the number, 200 by the tax."""
    multiply = by_hand.multiply
    apples, kept_apples = multiply.forward(None, (100.0, 2.0))
    price, kept_price = multiply.forward(None, (apples, 1.1))
    _, (by_apples, by_tax) = multiply.backward(kept_price, 1.0)
    _, (by_apple, by_number) = multiply.backward(kept_apples, by_apples)
    expected = (220, 2.2, 110, 200)
    assert (price, by_apple, by_number, by_tax) == pytest.approx(expected)


def test_apples_oranges_and_a_tax():
    """Price 715; slopes 2.2, 110, 3.3, 165 by prices and numbers, 650 by the tax."""
    multiply, add = by_hand.multiply, by_hand.add
    apples, kept_apples = multiply.forward(None, (100.0, 2.0))
    oranges, kept_oranges = multiply.forward(None, (150.0, 3.0))
    both, kept_both = add.forward(None, (apples, oranges))
    price, kept_price = multiply.forward(None, (both, 1.1))
    _, (by_both, by_tax) = multiply.backward(kept_price, 1.0)
    _, (by_apples, by_oranges) = add.backward(kept_both, by_both)
    _, found = multiply.backward(kept_apples, by_apples)
    _, more = multiply.backward(kept_oranges, by_oranges)
    assert price == pytest.approx(715)
    assert (*found, *more, by_tax) == pytest.approx((2.2, 110, 3.3, 165, 650))


def test_a_network_of_all_nodes_has_the_gradients_of_jax():
    nodes = [
        images_by_hand.convolution(3, padding=1),
        by_hand.relu,
        images_by_hand.max_pooling(2),
        images_by_hand.flatten,
        by_hand.affine,
        by_hand.batch_norm(),
        by_hand.sigmoid,
        by_hand.dropout(0.3, KEY),
        by_hand.affine,
        by_hand.softmax_with_loss(jnp.array([0, 2])),
    ]
    params = [kernel(3, 3, 3, 2), None, None, None, kernel(18, 4)]
    params += [{"scale": draw(4), "bias": draw(4)}, None, None, kernel(4, 3), None]

    def loss(params, x):
        for node, own in zip(nodes, params, strict=True):
            x, _ = node.forward(own, x)
        return x

    with jax.enable_x64(True):

        @jit
        def found(params, x):
            ours = by_hand.value_and_gradients(nodes, params, x)
            return ours, jax.value_and_grad(loss, (0, 1))(params, x)

        (value, slopes, by_x), (expected, automatic) = jax.device_get(
            found(params, IMAGES)
        )
    assert float(value) == pytest.approx(float(expected), rel=1e-13)
    ours, theirs = (
        np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])
        for tree in ((slopes, by_x), automatic)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
    assert np.linalg.norm(ours) > 0.1


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), (3, 2)])
def test_convolution_by_im2col_is_that_of_lax(stride, padding):
    params = kernel(3, 3, 3, 4)
    y, _ = images_by_hand.convolution(3, stride, padding).forward(params, IMAGES)
    expected = jax.lax.conv_general_dilated(
        IMAGES,
        params["kernel"],
        (stride, stride),
        [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    np.testing.assert_allclose(y, expected + params["bias"], atol=1e-4)


def test_pooling_is_the_layers():
    y, _ = images_by_hand.max_pooling(3, 2).forward(None, IMAGES)
    np.testing.assert_array_equal(y, max_pool(jnp.asarray(IMAGES), 3, 2))


@pytest.mark.parametrize(("size", "stride", "padding"), [(3, 1, 0), (2, 2, 1)])
def test_col2im_is_the_transpose_of_im2col(size, stride, padding):
    """<im2col x, w> = <x, col2im w> for all x and w."""
    images = IMAGES.astype(np.float32)
    rows = images_by_hand.im2col(images, size, stride, padding)
    w = draw(*rows.shape).astype(np.float32)
    back = images_by_hand.col2im(w, images.shape, size, stride, padding)
    assert np.sum(rows * w) == pytest.approx(float(np.sum(IMAGES * back)), rel=1e-4)


def test_the_shapes_of_im2col():
    """The books': 1 or 10 images of 3 channels, 7x7, windows of 5x5."""
    for batch in (1, 10):
        rows = images_by_hand.im2col(jnp.zeros((batch, 7, 7, 3)), 5)
        assert rows.reshape(-1, rows.shape[-1]).shape == (9 * batch, 75)
