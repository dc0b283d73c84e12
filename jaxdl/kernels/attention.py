"""Attention by the compiled kernel, which keeps the scores of a few queries in a core's
cache and never writes them to memory.

Reverse mode runs by the kernel once; what is differentiated again, by JAX.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxdl.kernels.calls import Axes, call

Heads = Float[Array, "batch time heads features"]
Groups = Float[Array, "batch time groups features"]

# Of every query the logarithm of the sum of its scores' exponentials.
_SPREAD = "b h q"


def _axes(queries: Heads, keys: Groups) -> tuple[str, str, str]:
    """Of queries and of keys, and which can be taken apart: sequences, and heads that
    have keys of their own."""
    if queries.shape[2] == keys.shape[2]:
        return "b q h f", "b k h f", "bh"
    return "b q h f", "b k g f", "b"


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def attend(queries: Heads, keys: Groups, values: Groups, causal: bool) -> Heads:
    """softmax(queries keys^T / sqrt(features)) values, head by head.

    float32 or float64, all alike; heads is a multiple of groups.
    """
    return _saved(queries, keys, values, causal)[0]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _forward(causal: bool, *operands: Array) -> tuple[Heads, Array]:
    """The value, and of every query its spread."""
    q, k, split = _axes(*operands[:2])
    axes = Axes((q, k, k), (q, _SPREAD), split)
    out, spread = call("jaxdl_attention", axes, *operands, causal=causal)
    return out, spread


@_forward.defjvp
def _(causal: bool, primals: Any, tangents: Any) -> Any:
    """By the formula. Spreads are for ``_gradients``, whose own rule needs none."""
    out, spread = _forward(causal, *primals)
    _, slope = jax.jvp(partial(formula, causal=causal), primals, tangents)
    return (out, spread), (slope, jnp.zeros_like(spread))


def _saved(queries: Heads, keys: Groups, values: Groups, causal: bool) -> Any:
    out, spread = _forward(causal, queries, keys, values)
    return out, (queries, keys, values, out, spread)


def _pulled(causal: bool, saved: Any, slope: Heads) -> Any:
    return _gradients(causal, *saved, slope)


attend.defvjp(_saved, _pulled)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _gradients(causal: bool, *operands: Array) -> Any:
    q, k, split = _axes(*operands[:2])
    axes = Axes((q, k, k, q, _SPREAD, q), (q, k, k), split)
    return tuple(call("jaxdl_attention_gradient", axes, *operands, causal=causal))


@_gradients.defjvp
def _(causal: bool, primals: Any, tangents: Any) -> Any:
    """By the formula: the saved value and sums are functions of the first three."""

    def plain(queries: Heads, keys: Groups, values: Groups, slope: Heads) -> Any:
        run = partial(formula, causal=causal)
        return jax.vjp(run, queries, keys, values)[1](slope)

    used = (0, 1, 2, 5)
    through = jax.jvp(plain, [primals[i] for i in used], [tangents[i] for i in used])
    return _gradients(causal, *primals), through[1]


def formula(queries: Heads, keys: Groups, values: Groups, causal: bool) -> Heads:
    """The same by JAX's own operations."""
    groups, time = keys.shape[2], queries.shape[1]
    split = queries.reshape(*queries.shape[:2], groups, -1, queries.shape[-1])
    scores = jnp.einsum("bqghf,bkgf->bghqk", split, keys) * queries.shape[-1] ** -0.5
    if causal:
        seen = jnp.arange(keys.shape[1]) <= jnp.arange(time)[:, None]
        scores = jnp.where(seen, scores, -jnp.inf)
    weights = jax.nn.softmax(scores, axis=-1)
    return jnp.einsum("bghqk,bkgf->bqghf", weights, values).reshape(queries.shape)
