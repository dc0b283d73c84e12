"""Kernels whose operands lie over eight devices: run by ``test_over_devices.py``."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxdl import kernels
from jaxdl.kernels.attention import formula as attention
from jaxdl.kernels.layer_norm import formula as layer_norm
from jaxdl.kernels.lstm import formula as lstm
from jaxdl.kernels.normalization import formula as normalized
from jaxdl.kernels.pooling import formula as pooled
from jaxdl.kernels.updates import adam_formula, sums_formula
from tests.kernels.agreement import close

DEVICES = jax.make_mesh((8,), ("devices",), axis_types=(AxisType.Auto,))
BOTH = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)


def test_the_kernels_are_there():
    assert kernels.load()
    assert jax.device_count() == 8


def draw(*shapes):
    random = np.random.default_rng(0)
    return [jnp.asarray(random.normal(size=shape), "float32") for shape in shapes]


def over(mesh, x, *axes):
    return jax.device_put(x, NamedSharding(mesh, PartitionSpec(*axes)))


def outcome(run):
    """Value and gradients."""

    def loss(*operands):
        found = run(*operands)
        return sum(jnp.sum(jnp.sin(part)) for part in jax.tree.leaves(found)), found

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))


@pytest.mark.parametrize(
    ("mesh", "axes"),
    [(DEVICES, ("devices",)), (BOTH, ("data", None, "model"))],
    ids=["sequences", "sequences and heads"],
)
def test_attention_stays_where_it_lies(mesh, axes):
    operands = draw(*[(8, 5, 2, 4)] * 3)
    laid = [over(mesh, x, *axes) for x in operands]
    (ours, found), slopes = outcome(partial(kernels.attend, causal=True))(*laid)
    (theirs, expected), other = outcome(partial(attention, causal=True))(*operands)
    close((ours, found, slopes), (theirs, expected, other), 1e-5)
    assert found.sharding.is_equivalent_to(laid[0].sharding, 4)
    assert slopes[0].sharding.is_equivalent_to(laid[0].sharding, 4)


def test_an_lstm_stays_where_it_lies():
    projected, kernel, hidden, memory = draw((16, 3, 24), (6, 24), (16, 6), (16, 6))
    rest = hidden, memory, jnp.ones((16, 3))
    laid = over(DEVICES, projected, "devices")

    def run(room, projected, kernel):
        return room(False, projected, kernel, *rest)

    (ours, found), slopes = outcome(partial(run, kernels.lstm))(laid, kernel)
    (theirs, expected), other = outcome(partial(run, lstm))(projected, kernel)
    close((ours, found, slopes), (theirs, expected, other), 1e-5)
    assert found[0].sharding.is_equivalent_to(laid.sharding, 3)


@pytest.mark.parametrize(
    ("mesh", "x_lies", "kernel_lies", "y_lies"),
    [
        (DEVICES, ("devices",), (), ("devices",)),
        (DEVICES, (), (None, "devices"), (None, "devices")),
        (BOTH, ("data",), (None, "model"), ("data", "model")),
        (BOTH, ("data", "model"), ("model",), ("data",)),
        (BOTH, (("data", "model"),), (("data", "model"),), (("data", "model"),)),
    ],
    ids=["rows", "outputs", "rows and outputs", "rows and inputs", "weights in shares"],
)
def test_a_product_stays_where_it_lies(mesh, x_lies, kernel_lies, y_lies):
    x, kernel = draw((16, 24), (24, 40))
    laid = over(mesh, x, *x_lies), over(mesh, kernel, *kernel_lies)
    (ours, found), slopes = outcome(kernels.product)(*laid)
    (theirs, expected), other = outcome(jnp.matmul)(x, kernel)
    close((ours, found, slopes), (theirs, expected, other), 1e-4)
    whole = NamedSharding(mesh, PartitionSpec(*y_lies))
    assert found.sharding.is_equivalent_to(whole, 2)


def test_what_no_axis_of_the_mesh_can_say_is_gathered():
    """Features cut by eight become, reshaped, images cut 4 x 2."""
    x, kernel = draw((1, 4 * 2 * 3), (2, 2, 3, 5))

    def run(x, kernel):
        window, size = kernels.Window(1, 1, 0, 0), (4, 2)
        return kernels.convolve(x.reshape(1, 4, 2, 3), kernel, window, size)

    (_, expected), other = outcome(run)(x, kernel)
    (_, found), slopes = outcome(run)(over(DEVICES, x, None, "devices"), kernel)
    close((found, slopes), (expected, other), 1e-5)


def test_batch_norm_stays_where_it_lies():
    x, center, factor, shift = draw((16, 18, 5), (5,), (5,), (5,))
    laid = over(DEVICES, x, "devices")

    def run(room, x, factor):
        means, squares = kernels.moments(x)
        return room(x, means.mean(0) + center, factor, shift), squares

    ours = outcome(partial(run, kernels.scale_and_shift))
    close(ours(laid, factor), outcome(partial(run, normalized))(x, factor), 1e-5)
    (_, (y, squares)), (slope, _) = ours(laid, factor)
    assert y.sharding.is_equivalent_to(laid.sharding, 3)
    assert squares.sharding.is_equivalent_to(laid.sharding, 2)
    assert slope.sharding.is_equivalent_to(laid.sharding, 3)
    text = ours.lower(laid, factor).compile().as_text()
    assert "all-gather" not in text


def test_layer_norm_stays_where_it_lies():
    x, scale, bias = draw((16, 18, 5), (5,), (5,))
    laid = over(DEVICES, x, "devices")

    def run(room, x, scale):
        return room(x, scale, bias, 1e-6)

    ours = outcome(partial(run, kernels.layer_norm))
    close(ours(laid, scale), outcome(partial(run, layer_norm))(x, scale), 1e-4)
    (_, y), (slope, _) = ours(laid, scale)
    assert y.sharding.is_equivalent_to(laid.sharding, 3)
    assert slope.sharding.is_equivalent_to(laid.sharding, 3)
    assert "all-gather" not in ours.lower(laid, scale).compile().as_text()


def test_a_convolution_with_a_bias_stays_where_it_lies():
    x, kernel, bias = draw((16, 4, 4, 2), (3, 3, 2, 5), (5,))
    laid = over(DEVICES, x, "devices")

    def run(x, kernel):
        return kernels.convolve(x, kernel, kernels.Window(1, 1, 0, 0), (2, 2), bias)

    (_, y), slopes = outcome(run)(laid, kernel)
    (_, expected), other = outcome(run)(x, kernel)
    close((y, slopes), (expected, other), 1e-5)
    assert y.sharding.is_equivalent_to(laid.sharding, 4)
    assert slopes[0].sharding.is_equivalent_to(laid.sharding, 4)
    assert "all-gather" not in outcome(run).lower(laid, kernel).compile().as_text()


def test_pooling_stays_where_it_lies():
    x, factor = draw((16, 6, 7, 5), (5,))
    laid = over(DEVICES, x, "devices")

    def run(room, x, factor):
        return room(x * factor)

    ours = outcome(partial(run, kernels.max_pool))
    close(ours(laid, factor), outcome(partial(run, pooled))(x, factor), 1e-5)
    (_, y), (slope, _) = ours(laid, factor)
    assert y.sharding.is_equivalent_to(laid.sharding, 4)
    assert slope.sharding.is_equivalent_to(laid.sharding, 4)
    assert "all-gather" not in ours.lower(laid, factor).compile().as_text()


@pytest.mark.parametrize(
    ("mesh", "lies", "leading"),
    [
        (DEVICES, [("devices",), (), (None, "devices"), ()], 0),
        (BOTH, [("data", "model"), ("model",), (), ()], 0),
        (BOTH, [(("data", "model"),), (), (), ()], 0),
        (DEVICES, [("devices",)] * 4, 1),
        (BOTH, [("data", None, "model"), ("data", "model"), ("data",), ("data",)], 1),
    ],
    ids=["shares", "two axes", "of both", "members", "members and features"],
)
def test_what_adam_moves_stays_where_it_lies(mesh, lies, leading):
    shapes = [(16, 8), (8,), (3, 16), ()]
    shapes = [(8,) * leading + shape for shape in shapes]
    gradient, params, mu, nu = (draw(*shapes) for _ in range(4))
    old = kernels.Moments(params, mu, [jnp.square(x) + 1 for x in nu])
    told = kernels.Numbers(*map(jnp.float32, (0.3, 1, 0.2, 0.1, 0.01, 0.2)))
    told = told._replace(moves=jnp.asarray(True))
    decays = (True, False, True, False)

    def run(adam, sums, gradient, old):
        def one(gradient, old):
            return adam(kernels.Adam(), decays, gradient, old, told), sums(
                gradient, told.factor
            )

        return (jax.vmap(one) if leading else one)(gradient, old)

    def laid(arrays):
        return [over(mesh, x, *axes) for x, axes in zip(arrays, lies, strict=True)]

    placed = laid(gradient), kernels.Moments(*map(laid, old))
    ours = jax.jit(partial(run, kernels.adam, kernels.sums_of_squares))
    made, sums = ours(*placed)
    expected, other = run(adam_formula, sums_formula, gradient, old)
    close((made, sums), (expected, other), 1e-5)
    for arrays in made:
        for found, own in zip(arrays, placed[1].params, strict=True):
            assert found.sharding.is_equivalent_to(own.sharding, own.ndim)
    assert "all-gather" not in ours.lower(*placed).compile().as_text()
