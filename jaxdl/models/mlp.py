"""Logistic regression and the multi-layer perceptron."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxdl.batch import Context
from jaxdl.layers import BatchNorm, Dense, Dropout
from jaxdl.models.activations import activation
from jaxdl.models.apply import EVALUATION
from jaxdl.models.initializers import initializer
from jaxdl.models.precision import compute_dtype

Features = Float[Array, "batch features"]


def output_layer(
    x: Features, outputs: int, init: str, dtype: str
) -> Float[Array, "batch outputs"]:
    """The last affine map, to logits of float32; to be called inside a module.

    No activation follows it, so that "auto" initializes it by "xavier".
    """
    logits = Dense(
        outputs,
        kernel_init=initializer(init),
        dtype=compute_dtype(dtype),
        name="output",
    )(x)
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


def hidden_layers(
    x: Features,
    context: Context,
    sizes: Sequence[int],
    function: str,
    init: str,
    batch_norm: bool,
    dtype: str,
) -> Features:
    """Affine, batch norm if wanted, activation, dropout, for every size.

    To be called inside a module, whose layers these become.
    """
    for size in sizes:
        x = Dense(
            size,
            use_bias=not batch_norm,  # batch norm has a shift of its own
            kernel_init=initializer(init, function),
            dtype=compute_dtype(dtype),
        )(x)
        if batch_norm:
            x = BatchNorm(dtype=compute_dtype(dtype))(x, context)
        x = Dropout()(activation(function)(x), context)
    return x


class LogisticRegression(nn.Module):
    """Softmax regression: one affine map of the flattened inputs to logits.

    Attributes:
      classes: how many classes.
      initializer: zeros by default: the loss is convex, no symmetry to break.
      dtype: of the computation, "float32" or "bfloat16"; parameters are float32.
    """

    classes: int
    initializer: str = "zeros"
    dtype: str = "float32"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch *inputs"], context: Context = EVALUATION
    ) -> Float[Array, "batch classes"]:
        x = x.reshape(x.shape[0], -1)
        return output_layer(x, self.classes, self.initializer, self.dtype)


class MLP(nn.Module):
    """The multi-layer perceptron on flattened inputs.

    Attributes:
      classes: how many classes (or regression outputs).
      hidden: the sizes of the hidden layers; none makes it linear.
      activation: a name of ``jaxdl.models.activations``.
      initializer: a name of ``jaxdl.models.initializers``; "auto" suits the activation.
      batch_norm: between affine map and activation (Ioffe and Szegedy 2015).
      dtype: of the computation, "float32" or "bfloat16"; parameters are float32.
    """

    classes: int
    hidden: Sequence[int] = (256, 256)
    activation: str = "relu"
    initializer: str = "auto"
    batch_norm: bool = False
    dtype: str = "float32"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch *inputs"], context: Context = EVALUATION
    ) -> Float[Array, "batch classes"]:
        x = hidden_layers(
            x.reshape(x.shape[0], -1),
            context,
            self.hidden,
            self.activation,
            self.initializer,
            self.batch_norm,
            self.dtype,
        )
        return output_layer(x, self.classes, self.initializer, self.dtype)
