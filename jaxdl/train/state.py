"""State: everything a step changes, as one pytree of arrays."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Int, Key, PyTree


class State(struct.PyTreeNode):
    """What a training step reads and replaces.

    Attributes:
      step: how many steps were taken.
      params: the learned arrays.
      model_state: what a model carries but does not learn (batch statistics).
      opt_state: the optimizer's own.
      hyper: scalars that may vary without recompiling (learning_rate, dropout,
        weight_decay, ema_decay...), before any schedule.
      key: the base key; a step draws from ``fold_in(key, step)``.
      ema: moving average of params, or None.
    """

    step: Int[Array, ""]
    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    hyper: dict[str, Array]
    key: Key[Array, ""]
    ema: PyTree | None = None


def create_state(
    params: PyTree,
    optimizer: optax.GradientTransformation,
    model_state: PyTree | None = None,
    *,
    hyper: Mapping[str, Any] | None = None,
    seed: int | Array = 0,
    ema_decay: float | Array | None = None,
) -> State:
    """The state before the first step; pure, so ``vmap`` over seeds works.

    Args:
      params: pytree of float arrays.
      optimizer: the same transformation that ``make_step`` is given.
      model_state: the model's other collections; empty where it has none.
      hyper: numbers the run may vary, e.g. ``{"learning_rate": 1e-3}``.
      seed: of dropout, augmentation and every other draw of the training.
      ema_decay: keep a moving average of params with this decay in [0, 1);
        it becomes ``hyper["ema_decay"]``.
    """
    numbers = dict(hyper or {})
    if ema_decay is not None:
        numbers["ema_decay"] = ema_decay
    return State(
        step=jnp.zeros((), jnp.int32),
        params=params,
        model_state={} if model_state is None else model_state,
        opt_state=optimizer.init(params),
        hyper={k: jnp.asarray(v, jnp.float32) for k, v in numbers.items()},
        key=jax.random.key(seed),
        ema=None if ema_decay is None else jax.tree.map(jnp.copy, params),
    )


def evaluation_params(state: State) -> PyTree:
    """What is evaluated and kept: the moving average where there is one."""
    return state.params if state.ema is None else state.ema


def size_bytes(tree: PyTree) -> int:
    """Bytes of all arrays together."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


@jax.jit
def copied(tree: PyTree) -> PyTree:
    """Arrays of their own, which a step may donate. One program: one for each shape of
    an array took 0.2 s to compile."""
    return jax.tree.map(jnp.copy, tree)
