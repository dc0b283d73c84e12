"""Residual networks (He et al. 2015) for small and for large images."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxdl.batch import Context
from jaxdl.layers import BatchNorm, Conv, Dropout, global_avg_pool, max_pool
from jaxdl.models.activations import activation
from jaxdl.models.apply import EVALUATION
from jaxdl.models.images import check_images
from jaxdl.models.initializers import initializer
from jaxdl.models.mlp import output_layer
from jaxdl.models.precision import compute_dtype

Maps = Float[Array, "batch height width channels"]

SHORTCUTS = ("pad", "projection", "none")


class ConvNorm(nn.Module):
    """A convolution without bias, then batch norm.

    Padding is kernel // 2 on every side, as in the paper; "SAME" would pad one side
    alone where the stride is 2.

    Attributes:
      channels, kernel, stride: of the convolution.
      zero_scale: start batch norm's scale at zero.
      activation, initializer: names; the activation follows, and "auto" suits it.
      dtype: of the computation, by name.
    """

    channels: int
    kernel: int
    stride: int = 1
    zero_scale: bool = False
    activation: str = "relu"
    initializer: str = "auto"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Maps, context: Context) -> Maps:
        dtype = compute_dtype(self.dtype)
        x = Conv(
            self.channels,
            (self.kernel, self.kernel),
            self.stride,
            padding=self.kernel // 2,
            use_bias=False,
            kernel_init=initializer(self.initializer, self.activation),
            dtype=dtype,
            name="conv",
        )(x)
        ones, zeros = nn.initializers.ones_init(), nn.initializers.zeros_init()
        scale_init = zeros if self.zero_scale else ones
        return BatchNorm(scale_init=scale_init, dtype=dtype, name="norm")(x, context)


class Block(nn.Module):
    """A residual block: ``activation(F(x) + shortcut(x))``.

    F is two 3x3 convolutions, or with ``bottleneck`` 1x1, 3x3 and a 1x1 to four
    times the channels. The stride is the first 3x3's (as in all current code; the
    paper strode in the bottleneck's 1x1).

    Attributes:
      channels: of the 3x3 convolutions.
      stride: 2 halves the image.
      bottleneck: which of the two shapes.
      shortcut: where size or channels change, "pad" subsamples and appends channels
        of zeros (the paper's option A), "projection" is a 1x1 convolution (B);
        "none" is a plain network: no shortcut anywhere.
      zero_init_last: F starts as zero, the block as its shortcut.
      activation, initializer, dtype: as of ``ResNet``.
    """

    channels: int
    stride: int
    bottleneck: bool
    shortcut: str
    zero_init_last: bool
    activation: str
    initializer: str
    dtype: str

    @nn.compact
    def __call__(self, x: Maps, context: Context) -> Maps:
        act = activation(self.activation)
        conv = partial(
            ConvNorm,
            activation=self.activation,
            initializer=self.initializer,
            dtype=self.dtype,
        )
        c, stride = self.channels, self.stride
        sizes = [(c, 1, 1), (c, 3, stride), (4 * c, 1, 1)]
        if not self.bottleneck:
            sizes = [(c, 3, stride), (c, 3, 1)]
        y = x
        for i, size in enumerate(sizes):
            last = i + 1 == len(sizes)
            y = conv(*size, zero_scale=last and self.zero_init_last, name=f"conv_{i}")(
                y, context
            )
            y = y if last else act(y)
        if self.shortcut == "none":
            return act(y)
        if x.shape != y.shape and self.shortcut == "projection":
            x = conv(y.shape[-1], 1, stride, name="projection")(x, context)
        elif x.shape != y.shape:
            x = x[:, ::stride, ::stride]
            x = jnp.pad(x, ((0, 0),) * 3 + ((0, y.shape[-1] - x.shape[-1]),))
        return act(y + x)


class ResNet(nn.Module):
    """A residual network, or with ``shortcut="none"`` its plain control.

    Attributes:
      classes: how many classes.
      stages: how many blocks in each stage; each stage after the first halves the
        image and doubles the channels.
      channels: of the first stage.
      bottleneck: blocks of 1x1, 3x3, 1x1 instead of two 3x3.
      large_images: begin with a 7x7 convolution of stride 2 and 3x3 max pooling of
        stride 2, instead of a 3x3 convolution.
      shortcut: "pad", "projection" or "none", as of ``Block``.
      zero_init_last: start every block as its shortcut (Goyal et al. 2017).
      activation: a name of ``jaxdl.models.activations``.
      initializer: a name of ``jaxdl.models.initializers``; "auto" suits the activation.
      dtype: of the computation, "float32" or "bfloat16"; parameters are float32.

    Raises:
      ValueError: images that aren't, an unknown shortcut, or shortcuts to be left
        out whose blocks would start as zero.
    """

    classes: int
    stages: Sequence[int]
    channels: int = 16
    bottleneck: bool = False
    large_images: bool = False
    shortcut: str = "pad"
    zero_init_last: bool = False
    activation: str = "relu"
    initializer: str = "auto"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Maps, context: Context = EVALUATION) -> Array:
        check_images(x)
        self._check_shortcut()
        shared: dict[str, Any] = {
            "activation": self.activation,
            "initializer": self.initializer,
            "dtype": self.dtype,
        }
        kernel, stride = (7, 2) if self.large_images else (3, 1)
        x = ConvNorm(self.channels, kernel, stride, name="stem", **shared)(x, context)
        x = activation(self.activation)(x)
        if self.large_images:
            x = max_pool(x, 3, strides=2, padding=1)
        for stage, blocks in enumerate(self.stages):
            for block in range(blocks):
                x = Block(
                    channels=self.channels * 2**stage,
                    stride=2 if stage > 0 and block == 0 else 1,
                    bottleneck=self.bottleneck,
                    shortcut=self.shortcut,
                    zero_init_last=self.zero_init_last,
                    name=f"stage_{stage}_block_{block}",
                    **shared,
                )(x, context)
        x = Dropout()(global_avg_pool(x), context)
        return output_layer(x, self.classes, self.initializer, self.dtype)

    def _check_shortcut(self) -> None:
        if self.shortcut not in SHORTCUTS:
            raise ValueError(
                f"unknown shortcut {self.shortcut!r}: give one of "
                + ", ".join(SHORTCUTS)
            )
        if self.shortcut == "none" and self.zero_init_last:
            raise ValueError(
                "zero_init_last needs shortcuts: without them every block would start "
                "as zero and learn nothing"
            )


# Small images (section 4.2): 6n + 2 layers; identity shortcuts add no parameters.
resnet20 = partial(ResNet, stages=(3, 3, 3))
resnet32 = partial(ResNet, stages=(5, 5, 5))
resnet44 = partial(ResNet, stages=(7, 7, 7))
resnet56 = partial(ResNet, stages=(9, 9, 9))
resnet110 = partial(ResNet, stages=(18, 18, 18))

# Large images (table 1).
_large = partial(ResNet, channels=64, large_images=True, shortcut="projection")
resnet18 = partial(_large, stages=(2, 2, 2, 2))
resnet34 = partial(_large, stages=(3, 4, 6, 3))
resnet50 = partial(_large, stages=(3, 4, 6, 3), bottleneck=True)

# The same without shortcuts: what they are for.
plain20 = partial(resnet20, shortcut="none")
plain32 = partial(resnet32, shortcut="none")
plain44 = partial(resnet44, shortcut="none")
plain56 = partial(resnet56, shortcut="none")
plain110 = partial(resnet110, shortcut="none")
plain18 = partial(resnet18, shortcut="none")
plain34 = partial(resnet34, shortcut="none")
