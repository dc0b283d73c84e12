"""Variational autoencoders, dense and convolutional.

Kingma and Welling, "Auto-Encoding Variational Bayes", 2014. The encoder puts out
a distribution over latents, the decoder one over images.
"""

from collections.abc import Sequence
from functools import partial
from math import prod

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from jaxdl.batch import Context
from jaxdl.distributions import Bernoulli, Gaussian
from jaxdl.layers import Conv
from jaxdl.models.activations import activation
from jaxdl.models.apply import EVALUATION
from jaxdl.models.images import check_images
from jaxdl.models.initializers import initializer
from jaxdl.models.mlp import hidden_layers, output_layer
from jaxdl.models.precision import compute_dtype

DECODERS = ("bernoulli", "gaussian")
Images = Float[Array, "batch height width channels"]
Latents = Float[Array, "batch latents"]

# Of a Gaussian decoder: the log-variance it starts from, that of fair reconstructions;
# how much faster than a weight it moves, which Adam takes a learning rate's length a
# step; the least deviation, half a level of 8 bits (on one image over and over it would
# fall to 0).
_START, _PACE, _LEAST_DEVIATION = -4.0, 10.0, 1 / 512


class VAE(nn.Module):
    """Images to a normal distribution over latents, latents to one over images.

    Inputs are in [0, 1]. ``encode`` and ``decode`` are what an objective needs;
    the call gives reconstructions, the mean of the decoder at the mean latents.

    Attributes:
      shape: of an image, (height, width, channels).
      latents: how many numbers stand for an image.
      hidden: sizes of the encoder's fully connected layers; the decoder's are the
        same, backwards.
      channels: of the encoder's convolutions, each of stride 2; the decoder's are
        the same, backwards, each after nearest-neighbour upsampling, which leaves no
        checkerboard (Odena et al. 2016). None makes it a dense network.
      decoder: "bernoulli" (pixels are 0 or 1), or "gaussian": mean by sigmoid, one
        variance for all pixels, learned (Rybkin et al. 2021, sec. 4.1).
      activation, dtype: as of ``MLP``.
    """

    shape: Sequence[int]
    latents: int = 20
    hidden: Sequence[int] = (500, 500)
    channels: Sequence[int] = ()
    decoder: str = "bernoulli"
    activation: str = "relu"
    dtype: str = "float32"

    def setup(self) -> None:
        if self.decoder not in DECODERS:
            raise ValueError(
                f"unknown decoder {self.decoder!r}: give {' or '.join(DECODERS)}"
            )
        body = self.channels, self.activation, self.dtype
        self.encoder = Encoder(self.latents, self.hidden, *body)
        self.images = Decoder(self.shape, tuple(self.hidden)[::-1], *body)
        self.pixels = GaussianPixels() if self.decoder == "gaussian" else Bernoulli

    def encode(self, x: Images, context: Context = EVALUATION) -> Gaussian:
        """The posterior of the latents: q(z | x)."""
        check_images(x)
        return self.encoder(x, context)

    def decode(self, z: Latents, context: Context = EVALUATION) -> Bernoulli | Gaussian:
        """The likelihood of images: p(x | z)."""
        return self.pixels(self.images(z, context))

    def __call__(self, x: Images, context: Context = EVALUATION) -> Images:
        return self.decode(self.encode(x, context).mean, context).mean


class Encoder(nn.Module):
    """Convolutions of stride 2 if any, hidden layers, mean and log-variance."""

    latents: int
    hidden: Sequence[int]
    channels: Sequence[int]
    activation: str
    dtype: str

    @nn.compact
    def __call__(self, x: Images, context: Context) -> Gaussian:
        for features in self.channels:
            x = _convolution(x, features, 2, self.activation, self.dtype)
        x = _dense(x, context, self.hidden, self.activation, self.dtype)
        moments = output_layer(x, 2 * self.latents, "auto", self.dtype)
        return Gaussian(*jnp.split(moments, 2, axis=-1))


class Decoder(nn.Module):
    """Hidden layers, then upsampling and convolutions if any, to logits."""

    shape: Sequence[int]
    hidden: Sequence[int]
    channels: Sequence[int]
    activation: str
    dtype: str

    @nn.compact
    def __call__(self, z: Latents, context: Context) -> Images:
        shape, channels = tuple(self.shape), tuple(self.channels)
        x = _dense(z, context, self.hidden, self.activation, self.dtype)
        if not channels:
            x = output_layer(x, prod(shape), "auto", self.dtype)
            return x.reshape(-1, *shape)
        sizes = [shape[:2]]
        for _ in channels:
            sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
        start = (*sizes[-1], channels[-1])
        x = _dense(x, context, (prod(start),), self.activation, self.dtype)
        x = x.reshape(-1, *start)
        for features, size in zip(channels[-2::-1], sizes[-2:0:-1], strict=True):
            x = upsample(x, size)
            x = _convolution(x, features, 1, self.activation, self.dtype)
        x = _convolution(upsample(x, sizes[0]), shape[2], 1, "identity", self.dtype)
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))


class GaussianPixels(nn.Module):
    """Normal distributions about the sigmoid of logits, of one learned variance."""

    @nn.compact
    def __call__(self, logits: Images) -> Gaussian:
        scale = self.param("scale", nn.initializers.zeros, ())
        least = 2 * np.log(_LEAST_DEVIATION)
        log_variance = jnp.maximum(_START + _PACE * scale, least)
        return Gaussian(nn.sigmoid(logits), jnp.full_like(logits, log_variance))


def upsample(x: Images, size: Sequence[int]) -> Images:
    """Every pixel twice as high and wide, cut to (height, width)."""
    x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
    return x[:, : size[0], : size[1]]


def _dense(
    x: Array, context: Context, sizes: Sequence[int], function: str, dtype: str
) -> Array:
    x = x.reshape(x.shape[0], -1)
    return hidden_layers(x, context, sizes, function, "auto", False, dtype)


def _convolution(
    x: Images, features: int, stride: int, function: str, dtype: str
) -> Images:
    """Convolution of 3x3 and activation; to be called inside a module."""
    x = Conv(
        features,
        (3, 3),
        strides=stride,
        kernel_init=initializer("auto", function),
        dtype=compute_dtype(dtype),
    )(x)
    return activation(function)(x)


vae_mlp = VAE
vae_cnn = partial(VAE, hidden=(256,), channels=(32, 64))
