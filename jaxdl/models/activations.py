"""Activation functions by name."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxdl.layers.softplus import softplus

Activation = Callable[[Float[Array, "*shape"]], Float[Array, "*shape"]]


@jax.custom_jvp
def step(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The perceptron's step: 1 where x > 0, else 0. Its gradient is zero."""
    return (x > 0).astype(x.dtype)


@step.defjvp
def _step_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (tangent,) = primals, tangents
    return step(x), jnp.zeros_like(tangent)


def straight_through_step(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The step in value, the identity in gradient (Bengio et al. 2013)."""
    return x + jax.lax.stop_gradient(step(x) - x)


ACTIVATIONS: dict[str, Activation] = {
    "celu": jax.nn.celu,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_tanh": jax.nn.hard_tanh,
    "identity": jax.nn.identity,
    "leaky_relu": jax.nn.leaky_relu,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "selu": jax.nn.selu,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "softplus": softplus,
    "softsign": jax.nn.soft_sign,
    "step": step,
    "straight_through_step": straight_through_step,
    "tanh": jnp.tanh,
}

# The ReLU family: half or more of the inputs are cut or shrunk, which He's
# initializer makes up for.
RECTIFIERS = frozenset(
    {"celu", "elu", "gelu", "leaky_relu", "prelu", "relu", "relu6", "silu"}
)


def activation(name: str) -> Activation:
    """The activation function of that name.

    ``prelu`` learns its negative slope (He et al. 2015b), so it is a module: ask
    for it inside a module's ``__call__``, once for each place it is used.

    Raises:
      ValueError: an unknown name; the message lists the known ones.
    """
    if name == "prelu":
        return nn.PReLU()
    if name not in ACTIVATIONS:
        known = ", ".join(sorted([*ACTIVATIONS, "prelu"]))
        raise ValueError(f"unknown activation {name!r}: give one of {known}")
    return ACTIVATIONS[name]
