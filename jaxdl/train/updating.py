"""What becomes of parameters and moments: by Optax, or for Adam by a compiled kernel,
which reads and writes each once.

XLA on a CPU goes through them in a loop for the gradient, one for each moment and one
for the parameter: with the gradient's norm 2.1 ms for a VAE of 1.3 million parameters,
and not 0.7 (two cores of an Intel Xeon, jax 0.10.1, 2026-11-28).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeGuard

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PyTree

from jaxdl import kernels, optimizers
from jaxdl.train.norms import sum_of_squares
from jaxdl.train.state import State


class Gradient(NamedTuple):
    """The gradient is every leaf times the factor: what goes through them anyhow
    multiplies."""

    leaves: PyTree
    factor: Float[Array, ""]


def in_one_pass(
    optimizer: optax.GradientTransformation, state: State
) -> TypeGuard[optimizers.Adam]:
    """Whether the kernel does the update: Adam, for parameters of one type."""
    if not isinstance(optimizer, optimizers.Adam):
        return False
    moments = state.opt_state.inner_state[0]
    leaves = jax.tree.leaves((state.params, moments.mu, moments.nu))
    types = {leaf.dtype for leaf in leaves}
    whole = all(leaf.size for leaf in leaves)
    return len(types) == 1 and whole and kernels.supports(types.pop())


def squares(gradient: Gradient, by_kernel: bool) -> Sequence[Float[Array, ""]]:
    """The sum of squares of each array of the gradient, whose factor is 1 unless the
    kernel is used."""
    leaves = jax.tree.leaves(gradient.leaves)
    if not by_kernel:
        return [sum_of_squares(leaf) for leaf in leaves]
    factor = gradient.factor.astype(leaves[0].dtype)
    return list(kernels.sums_of_squares(leaves, factor))


def scaled(gradient: Gradient, scale: Float[Array, ""], by_kernel: bool) -> Gradient:
    """The gradient times ``scale``."""
    leaves, factor = gradient
    if by_kernel:
        return Gradient(leaves, factor * scale)
    return Gradient(jax.tree.map(lambda g: g * scale.astype(g.dtype), leaves), factor)


def updated(
    optimizer: optax.GradientTransformation,
    state: State,
    grads: PyTree,
    hyper: Mapping[str, Array],
    frozen: PyTree | None,
) -> tuple[PyTree, PyTree]:
    """Parameters and the optimizer's state after its update."""
    updates, opt_state = optimizer.update(
        grads, optimizers.with_hyper(state.opt_state, hyper), state.params
    )
    return optax.apply_updates(state.params, without(updates, frozen)), opt_state


def updated_in_one_pass(
    optimizer: optimizers.Adam,
    state: State,
    gradient: Gradient,
    hyper: Mapping[str, Array],
    moves: Bool[Array, ""],
) -> tuple[PyTree, PyTree]:
    """The same by the kernel; nothing changes where ``moves`` is false."""

    def count(old: Array) -> Array:
        return jnp.where(moves, optax.safe_increment(old), old)

    leaves, structure = jax.tree.flatten(state.params)
    before = state.opt_state
    told = optimizers.with_hyper(before, hyper).hyperparams
    moments, *rest = before.inner_state
    # What the moments have seen after this step: where it counts, one more.
    seen = optax.safe_increment(moments.count)
    numbers = kernels.Numbers(
        factor=gradient.factor,
        moves=moves,
        first=1 - jnp.asarray(optimizer.constants.b1, leaves[0].dtype) ** seen,
        second=1 - jnp.asarray(optimizer.constants.b2, leaves[0].dtype) ** seen,
        rate=told["learning_rate"],
        decay=told["weight_decay"],
    )
    mask = jax.tree.broadcast(optimizer.mask(state.params), state.params)
    trees = (gradient.leaves, moments.mu, moments.nu, mask)
    slopes, mu, nu, decays = map(jax.tree.leaves, trees)
    old = kernels.Moments(leaves, mu, nu)
    made = kernels.adam(optimizer.constants, tuple(decays), slopes, old, numbers)
    params, mu, nu = (jax.tree.unflatten(structure, arrays) for arrays in made)
    moments = moments._replace(count=count(moments.count), mu=mu, nu=nu)
    return params, before._replace(
        count=count(before.count),
        hyperparams={
            name: jnp.where(moves, told[name], old)
            for name, old in before.hyperparams.items()
        },
        inner_state=(moments, *rest),
    )


def without(tree: PyTree, frozen: PyTree | None) -> PyTree:
    """The tree, zero where it is frozen."""
    if frozen is None:
        return tree
    return jax.tree.map(lambda x, f: jnp.zeros_like(x) if f else x, tree, frozen)


def moving_average(
    state: State, hyper: Mapping[str, Array], params: PyTree
) -> PyTree | None:
    """Exponential moving average; the decay grows with the step as
    min(decay, (1 + t) / (10 + t)), so that it forgets the start (TensorFlow's
    ``ExponentialMovingAverage(num_updates)``)."""
    if state.ema is None:
        return None
    step = state.step.astype(jnp.float32)
    decay = jnp.minimum(hyper["ema_decay"], (1.0 + step) / (10.0 + step))
    return jax.tree.map(
        lambda old, new: old + (1.0 - decay).astype(old.dtype) * (new - old),
        state.ema,
        params,
    )
