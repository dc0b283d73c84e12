"""The scan of recurrent layers against the plain one, which JAX differentiates."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.layers.recurrence import Weights, recur
from jaxdl.layers.recurrent import CELLS
from tests.quick import jit

TIME, BATCH, SIZE = 4, 3, 2


def plain(cell, reverse, projected, weights, start, real):
    """The same, step by step, without a backward pass of its own."""

    def step(carry, now):
        x, valid = now
        hidden = carry[0] if weights.kept is None else carry[0] * weights.kept
        recurrent = hidden @ weights.kernel
        if weights.bias is not None:
            recurrent = recurrent + weights.bias
        after = cell.step(x, recurrent, carry)
        if valid is None:
            return after, after[0]
        pairs = zip(after, carry, strict=True)
        held = tuple(jnp.where(valid, new, old) for new, old in pairs)
        return held, jnp.where(valid, after[0], 0.0)

    last, outputs = jax.lax.scan(step, start, (projected, real), reverse=reverse)
    return outputs, last


def drawn(cell, bare, seed=0):
    """Arguments in float64; ``bare`` leaves out what may be None."""
    draw = np.random.default_rng(seed).normal
    gates = cell.gates * SIZE
    weights = Weights(
        draw(size=(SIZE, gates)),
        None if bare else draw(size=gates),
        None if bare else draw(size=(BATCH, SIZE)),
    )
    real = np.array([[1, 1, 0, 0], [0, 1, 1, 1], [1, 1, 1, 1]], bool).T[..., None]
    start = tuple(draw(size=(BATCH, SIZE)) for _ in range(cell.states))
    projected = draw(size=(TIME, BATCH, gates))
    return (projected, weights, start), None if bare else real


def value_and_slopes(way, arguments, real):
    """The loss and its gradient by every argument."""

    def loss(arguments):
        outputs, last = way(*arguments, real)
        return sum(jnp.sum(jnp.sin(a)) for a in (outputs, *last))

    return jax.value_and_grad(loss)(arguments)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(("reverse", "bare"), [(False, True), (True, False)])
def test_equal_to_the_plain_scan(name, reverse, bare):
    """In value and in every gradient: projections, kernel, bias, dropout, start."""
    cell = CELLS[name]
    with jax.enable_x64():
        arguments, real = drawn(cell, bare)
        found, expected = (
            jit(partial(value_and_slopes, partial(way, cell, reverse)))(arguments, real)
            for way in (recur, plain)
        )
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-12), found, expected)


def test_members_and_blocks():
    """Under vmap, inside a scan, and computed again (remat): as one after another."""
    cell = CELLS["lstm"]
    with jax.enable_x64():
        pair = [drawn(cell, True, seed)[0] for seed in (0, 1)]
        stacked = jax.tree.map(lambda *x: np.stack(x), *pair)
        one = jax.checkpoint(partial(recur, cell, False))
        slopes = partial(value_and_slopes, one, real=None)
        alone = [jit(partial(value_and_slopes, partial(plain, cell, False)))] * 2
        expected = jax.tree.map(
            lambda *x: np.stack(x),
            *[f(a, None) for f, a in zip(alone, pair, strict=True)],
        )
        for found in (
            jit(jax.vmap(slopes))(stacked),
            jit(partial(jax.lax.map, slopes))(stacked),
        ):
            jax.tree.map(
                partial(np.testing.assert_allclose, rtol=1e-12), found, expected
            )


def test_half_precision_sums_in_one_product():
    """bfloat16 comes back as bfloat16, near what float32 gives."""
    cell = CELLS["gru"]
    (projected, weights, start), real = drawn(cell, True)
    single = jax.tree.map(jnp.float32, (projected, weights, start))
    half = (*jax.tree.map(jnp.bfloat16, single[:2]), single[2])
    way = jit(partial(value_and_slopes, partial(recur, cell, False)))
    found, expected = way(half, real)[1], way(single, real)[1]
    assert found[1].kernel.dtype == found[0].dtype == jnp.bfloat16
    np.testing.assert_allclose(
        found[1].kernel.astype(jnp.float32), expected[1].kernel, atol=0.05, rtol=0.05
    )
