"""Convolutional networks of plain stacked blocks: simple, deep, and the default."""

from collections.abc import Sequence
from functools import partial

from flax import linen as nn
from jaxtyping import Array, Float

from jaxdl.batch import Context
from jaxdl.layers import BatchNorm, Conv, Dropout, max_pool
from jaxdl.models.activations import activation
from jaxdl.models.apply import EVALUATION
from jaxdl.models.images import check_images
from jaxdl.models.initializers import initializer
from jaxdl.models.mlp import hidden_layers, output_layer
from jaxdl.models.precision import compute_dtype

# Activations that keep the order of numbers, rounding included: the maximum of what
# they give is what they give of the maximum, of fewer numbers.
_ORDERED = ("relu", "relu6", "leaky_relu")

# Of one convolution: output channels, kernel size, padding on each side.
ConvSize = tuple[int, int, int]


class CNN(nn.Module):
    """Blocks of convolutions, each ended by max pooling, then hidden layers.

    A convolution is followed by batch norm (if wanted) and the activation. Pooling
    pads an odd size by one at its end, so that no pixel is dropped and a size of 1
    stays 1: one network takes images of any size from 8x8 up. Dropout acts before
    every fully connected layer, never on the logits: there it would train classes
    to be absent at random.

    Attributes:
      classes: how many classes.
      blocks: for each block its convolutions' (channels, kernel, padding).
      hidden: the sizes of the fully connected layers before the output.
      pooling: the side of the windows of pooling; 1 is none.
      activation, initializer, batch_norm, dtype: as of ``MLP``.
    """

    classes: int
    blocks: Sequence[Sequence[ConvSize]] = (
        ((32, 3, 1), (32, 3, 1)),
        ((64, 3, 1), (64, 3, 1)),
    )
    hidden: Sequence[int] = (64,)
    activation: str = "relu"
    initializer: str = "auto"
    batch_norm: bool = True
    dtype: str = "float32"
    pooling: int = 2

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch height width channels"],
        context: Context = EVALUATION,
    ) -> Float[Array, "batch classes"]:
        check_images(x)
        after_pooling = self.activation in _ORDERED
        for block in self.blocks:
            for i, size in enumerate(block, start=1):
                x = self._convolution(x, context, *size)
                if i < len(block) or not after_pooling:
                    x = activation(self.activation)(x)
            x = max_pool(x, self.pooling, padding="SAME")
            if after_pooling:
                x = activation(self.activation)(x)
        x = Dropout()(x.reshape(x.shape[0], -1), context)
        x = hidden_layers(
            x,
            context,
            self.hidden,
            self.activation,
            self.initializer,
            self.batch_norm,
            self.dtype,
        )
        return output_layer(x, self.classes, self.initializer, self.dtype)

    def _convolution(
        self, x: Array, context: Context, channels: int, kernel: int, padding: int
    ) -> Array:
        """Convolution, and batch norm if wanted."""
        dtype = compute_dtype(self.dtype)
        x = Conv(
            channels,
            (kernel, kernel),
            padding=padding,
            use_bias=not self.batch_norm,  # batch norm has a shift of its own
            kernel_init=initializer(self.initializer, self.activation),
            dtype=dtype,
        )(x)
        if self.batch_norm:
            x = BatchNorm(dtype=dtype)(x, context)
        return x


# The books' first: convolution, ReLU, pooling, affine, ReLU, affine.
simple_cnn = partial(CNN, blocks=(((30, 5, 0),),), hidden=(100,), batch_norm=False)

# The books' deep one. Its padding of 2 makes MNIST's 14 pixels 16, which halve
# evenly. (The books drop logits too; here dropout acts before both affine layers.)
deep_cnn = partial(
    CNN,
    blocks=(
        ((16, 3, 1), (16, 3, 1)),
        ((32, 3, 1), (32, 3, 2)),
        ((64, 3, 1), (64, 3, 1)),
    ),
    hidden=(50,),
    batch_norm=False,
)
