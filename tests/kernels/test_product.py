"""The compiled product equals the compiler's, in value and all derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxdl import kernels
from tests.kernels.agreement import close

pytestmark = pytest.mark.usefixtures("compiled")

# Rows, inputs, outputs. Between them: one of each, fewer and more than a tile of
# registers has rows and a panel columns, what leaves a part of either, inputs in
# several parts, rows far apart in memory, products that several threads share by rows
# or by columns.
SIZES = [
    (1, 1, 1),
    (5, 7, 3),
    (13, 40, 33),
    (25, 2, 600),
    (100, 1100, 17),
    (64, 513, 70),
    (601, 33, 600),
    (40, 520, 520),
]


def draw(*shapes, dtype="float64"):
    random = np.random.default_rng(0)
    return [jnp.asarray(random.normal(size=shape), dtype) for shape in shapes]


def outcome(run):
    """Value and both gradients, of something that is not linear."""

    def loss(x, kernel):
        y = run(x, kernel)
        return jnp.sum(jnp.sin(y)), y

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_equals_the_compilers_in_value_and_gradients(sizes):
    rows, inputs, outputs = sizes
    with jax.enable_x64(True):
        operands = draw((rows, inputs), (inputs, outputs))
        close(
            outcome(kernels.product)(*operands), outcome(jnp.matmul)(*operands), 1e-10
        )


def test_in_float32_too():
    operands = draw((128, 784), (784, 100), dtype="float32")
    ours, theirs = (outcome(run)(*operands) for run in (kernels.product, jnp.matmul))
    close(ours, theirs, 1e-3)  # sums of 784 products of size 1: about 28


def test_derivatives_of_both_modes_and_second_order():
    with jax.enable_x64(True):

        def run(x, kernel):
            return jnp.sin(kernels.product(x, kernel))

        operands = draw((3, 4), (4, 5))
        check_grads(jax.jit(run), operands, order=2, modes=["fwd", "rev"])


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (2, 1)], ids=str)
def test_members_are_one_call(axes):
    with jax.enable_x64(True):
        x, kernel = draw((14, 9), (9, 35))
        operands = [
            one if axis is None else jnp.stack([one, 2 * one, one - 1], axis)
            for one, axis in zip((x, kernel), axes, strict=True)
        ]
        ours, theirs = (
            jax.jit(jax.vmap(outcome(run), axes))(*operands)
            for run in (kernels.product, jnp.matmul)
        )
        close(ours, theirs, 1e-11)
        text = str(jax.make_jaxpr(jax.vmap(kernels.product, axes))(*operands))
        assert text.count("kind=") == 1


def test_rows_do_not_see_each_other_nor_members():
    """The same bits, whatever else is computed beside."""
    x, kernel = draw((130, 700), (700, 200), dtype="float32")
    whole = jax.jit(kernels.product)(x, kernel)
    for rows in (1, 7, 64):
        part = jax.jit(kernels.product)(x[:rows], kernel)
        np.testing.assert_array_equal(part, whole[:rows])
    many = jax.jit(jax.vmap(kernels.product, (0, None)))(jnp.stack([x, x + 1]), kernel)
    np.testing.assert_array_equal(many[0], whole)


def test_scanned_products_equal_single_ones():
    with jax.enable_x64(True):
        x, kernel = draw((14, 9), (9, 35))
        stack = jnp.stack([kernel, kernel + 1])
        run = outcome(kernels.product)
        _, scanned = jax.lax.scan(lambda c, k: (c, run(x, k)[1]), 0, stack)
        single = [run(x, k)[1] for k in stack]
        jax.tree.map(
            np.testing.assert_array_equal,
            scanned,
            jax.tree.map(lambda *a: jnp.stack(a), *single),
        )


def test_what_is_no_number_stays_so():
    x, kernel = draw((13, 40), (40, 33), dtype="float32")
    found = kernels.product(x.at[3, 5].set(jnp.nan), kernel.at[0, 7].set(jnp.inf))
    assert jnp.isnan(found[3]).all()
    assert jnp.isinf(found[jnp.arange(13) != 3, 7]).all()
    assert jnp.isfinite(found[0, :7]).all()


def test_types_must_agree():
    with pytest.raises(TypeError, match="one type"):
        kernels.product(jnp.ones((2, 3)), jnp.ones((3, 4), "bfloat16"))
