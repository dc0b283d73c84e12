"""Regression of vectors, in the target's own unit."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from jaxdl.batch import Context
from jaxdl.models.apply import EVALUATION, ModelState
from jaxdl.models.mlp import hidden_layers, output_layer

# The collection of model state that holds a target's mean and deviation.
TARGET = "target"


class Regression(nn.Module):
    """A multi-layer perceptron whose values are in the target's own unit.

    The network learns the standardised target; ``mean + deviation * network(x)`` is
    what it puts out. Mean and deviation are model state, set by ``with_target``, so
    that networks of different folds are one function and a saved one needs no more.

    Attributes:
      classes: how many values an example (the name that all models share).
      hidden: the sizes of the hidden layers; none makes it linear.
      activation: a name of ``jaxdl.models.activations``.
      initializer: a name of ``jaxdl.models.initializers``; "auto" suits the activation.
      batch_norm: between affine map and activation.
      dtype: of the computation, "float32" or "bfloat16"; parameters are float32.
    """

    classes: int
    hidden: Sequence[int] = (64, 64)
    activation: str = "relu"
    initializer: str = "auto"
    batch_norm: bool = False
    dtype: str = "float32"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch *inputs"], context: Context = EVALUATION
    ) -> Float[Array, "batch classes"]:
        mean = self.variable(TARGET, "mean", jnp.zeros, (self.classes,))
        deviation = self.variable(TARGET, "deviation", jnp.ones, (self.classes,))
        x = hidden_layers(
            x.reshape(x.shape[0], -1),
            context,
            self.hidden,
            self.activation,
            self.initializer,
            self.batch_norm,
            self.dtype,
        )
        values = output_layer(x, self.classes, self.initializer, self.dtype)
        return mean.value + deviation.value * values


def with_target(
    model_state: Mapping[str, Any], targets: Float[np.ndarray, "rows *classes"]
) -> ModelState:
    """The model state with mean and deviation of the training targets."""
    columns = np.asarray(targets, np.float64).reshape(len(targets), -1)
    deviation = columns.std(axis=0)
    told = {
        "mean": columns.mean(axis=0),
        "deviation": np.where(deviation > 0, deviation, 1.0),
    }
    return {**model_state, TARGET: {k: jnp.float32(v) for k, v in told.items()}}


def deviation_of(model_state: Mapping[str, Any]) -> Float[Array, " classes"]:
    """The deviation that ``with_target`` has set."""
    return model_state[TARGET]["deviation"]
