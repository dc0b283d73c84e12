"""DCGAN: a generator and a discriminator of (transposed) convolutions.

Radford et al., "Unsupervised representation learning with deep convolutional
generative adversarial networks", 2016; with the five tricks of Chollet, "Deep
learning with Python", sec. 8.5, each a field with the sound value as its default.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Key

from jaxdl.batch import Context
from jaxdl.layers import BatchNorm, Conv, ConvTranspose, Dense, Dropout, max_pool
from jaxdl.models.activations import Activation
from jaxdl.models.apply import EVALUATION
from jaxdl.models.images import check_images
from jaxdl.models.mlp import output_layer
from jaxdl.models.precision import compute_dtype

Images = Float[Array, "batch height width channels"]
Latents = Float[Array, "batch latents"]
Scores = Float[Array, " batch"]

STRIDE = 2
SMALLEST = 4  # sides are halved while they are even and larger
# The normal distribution that DCGAN's weights are drawn from.
_INITIALIZER = nn.initializers.normal(0.02)

# Name of a last activation to it and the least value that it gives; 1 is the largest.
OUTPUTS: dict[str, tuple[Activation, float]] = {
    "tanh": (jnp.tanh, -1.0),
    "sigmoid": (jax.nn.sigmoid, 0.0),
}
RECTIFIERS: dict[str, Activation] = {
    "leaky_relu": lambda x: jax.nn.leaky_relu(x, 0.2),
    "relu": jax.nn.relu,
}
DOWNSAMPLING = ("strided", "max_pool")
DISTRIBUTIONS = ("gaussian", "uniform")


def halvings(height: int, width: int) -> int:
    """How often both sides can be halved: 1 for 8x8, 2 for 28x28, 4 for 64x64.

    Raises:
      ValueError: not once.
    """
    count = 0
    while all(side % 2 == 0 and side > SMALLEST for side in (height, width)):
        height, width, count = height // 2, width // 2, count + 1
    if not count:
        raise ValueError(
            f"images of {height} x {width} pixels cannot be halved: sides must be even "
            f"and above {SMALLEST}, such as 28, 32 or 64"
        )
    return count


def draw_latents(
    keys: Key[Array, " batch"], size: int, distribution: str = "gaussian"
) -> Latents:
    """What a generator makes images of, a key an image.

    Args:
      keys: [batch].
      size: numbers an image.
      distribution: "gaussian" (standard normal) or "uniform" (in [-1, 1)).

    Raises:
      ValueError: another distribution.
    """
    if distribution == "gaussian":
        return jax.vmap(lambda key: jax.random.normal(key, (size,)))(keys)
    if distribution == "uniform":
        draw = jax.vmap(lambda key: jax.random.uniform(key, (size,), minval=-1.0))
        return draw(keys)
    raise ValueError(
        f"unknown distribution {distribution!r}: give one of {', '.join(DISTRIBUTIONS)}"
    )


class DCGAN(nn.Module):
    """Both players of the game, for images of any size that can be halved.

    ``generate`` and ``discriminate`` are what an objective needs; the call gives the
    scores of images. Pixels are in ``pixel_range``.

    Attributes:
      shape: of an image, (height, width, channels).
      latents: numbers that an image is made of.
      channels: feature maps at the full size; twice as many at each halving.
      kernel_size: of the (transposed) convolutions of stride 2.
      checkerboard: allow a kernel size that the stride does not divide (trick 5).
      output: "tanh" or "sigmoid", the generator's last activation (trick 1).
      latent_distribution: "gaussian" or "uniform" (trick 2).
      downsampling: "strided" or "max_pool", in the discriminator (trick 4a).
      activation: "leaky_relu" or "relu", of both players (trick 4b).
      spectral_norm: divide the discriminator's weights by their largest singular
        value, by power iteration (Miyato et al. 2018).
      dtype: of the computation, "float32" or "bfloat16"; parameters are float32.

    The dropout before the discriminator's last layer (trick 3a) has the context's
    rate.

    Raises:
      ValueError: when made, for a field out of its range, and images that cannot be
        halved.
    """

    shape: Sequence[int]
    latents: int = 64
    channels: int = 32
    kernel_size: int = 4
    checkerboard: bool = False
    output: str = "tanh"
    latent_distribution: str = "gaussian"
    downsampling: str = "strided"
    activation: str = "leaky_relu"
    spectral_norm: bool = False
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if len(self.shape) != 3:
            raise ValueError(
                f"a DCGAN makes images [height, width, channels], not {self.shape}"
            )
        halvings(*self.shape[:2])
        for name, allowed in (
            ("output", OUTPUTS),
            ("latent_distribution", DISTRIBUTIONS),
            ("downsampling", DOWNSAMPLING),
            ("activation", RECTIFIERS),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}: give {' or '.join(allowed)}"
                )
        for name in ("latents", "channels", "kernel_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give 1 or more")
        super().__post_init__()

    def setup(self) -> None:
        self.generator = Generator(
            shape=tuple(self.shape),
            channels=self.channels,
            kernel_size=self.kernel_size,
            checkerboard=self.checkerboard,
            output=self.output,
            activation=self.activation,
            dtype=self.dtype,
        )
        self.discriminator = Discriminator(
            channels=self.channels,
            kernel_size=self.kernel_size,
            downsampling=self.downsampling,
            activation=self.activation,
            spectral_norm=self.spectral_norm,
            dtype=self.dtype,
        )

    @property
    def pixel_range(self) -> tuple[float, float]:
        """The values of a black and of a white pixel."""
        return OUTPUTS[self.output][1], 1.0

    def generate(self, z: Latents, context: Context = EVALUATION) -> Images:
        """Images of latents (``draw_latents``)."""
        return self.generator(z, context)

    def discriminate(self, x: Images, context: Context = EVALUATION) -> Scores:
        """A score each, the larger the more real; for some losses a logit."""
        check_images(x)
        return self.discriminator(x, context)

    def __call__(self, x: Images, context: Context = EVALUATION) -> Scores:
        # An image, so that the table of layers and ``init`` know of the generator;
        # compiled, it costs nothing, since nothing depends on it.
        self.generate(jnp.zeros((1, self.latents)), EVALUATION)
        return self.discriminate(x, context)


class Generator(nn.Module):
    """An affine map to small feature maps, transposed convolutions up to the size of
    the image, and a convolution to its channels; batch norm between."""

    shape: tuple[int, ...]
    channels: int
    kernel_size: int
    checkerboard: bool
    output: str
    activation: str
    dtype: str

    @nn.compact
    def __call__(self, z: Latents, context: Context) -> Images:
        rectify, dtype = RECTIFIERS[self.activation], compute_dtype(self.dtype)
        steps = halvings(*self.shape[:2])
        height, width = (side // STRIDE**steps for side in self.shape[:2])
        start = (height, width, self.channels * STRIDE**steps)
        x = Dense(
            math.prod(start), use_bias=False, kernel_init=_INITIALIZER, dtype=dtype
        )(z)
        x = x.reshape(-1, *start)
        x = rectify(BatchNorm(dtype=dtype)(x, context))
        for step in reversed(range(steps)):
            x = ConvTranspose(
                self.channels * STRIDE**step,
                (self.kernel_size, self.kernel_size),
                STRIDE,
                divisible=not self.checkerboard,
                use_bias=False,  # batch norm has a shift of its own
                kernel_init=_INITIALIZER,
                dtype=dtype,
            )(x)
            x = rectify(BatchNorm(dtype=dtype)(x, context))
        x = Conv(self.shape[-1], (3, 3), kernel_init=_INITIALIZER, dtype=dtype)(x)
        last, _ = OUTPUTS[self.output]
        return last(x.astype(jnp.promote_types(x.dtype, jnp.float32)))


class Discriminator(nn.Module):
    """A convolution at full size, then halvings down, dropout, and a score.

    Without batch norm, so that an image's score depends on no other image, as a
    penalty on its gradient asks (Gulrajani et al. 2017, sec. 4).
    """

    channels: int
    kernel_size: int
    downsampling: str
    activation: str
    spectral_norm: bool
    dtype: str

    @nn.compact
    def __call__(self, x: Images, context: Context) -> Scores:
        rectify, dtype = RECTIFIERS[self.activation], compute_dtype(self.dtype)
        strided = self.downsampling == "strided"
        x = rectify(self._convolve(x, context, "conv_0", self.channels, 3, 1, dtype))
        for step in range(1, 1 + halvings(*x.shape[1:3])):
            x = self._convolve(
                x,
                context,
                f"conv_{step}",
                self.channels * STRIDE**step,
                self.kernel_size,
                STRIDE if strided else 1,
                dtype,
            )
            x = rectify(x if strided else max_pool(x, STRIDE))
        x = Dropout()(x.reshape(x.shape[0], -1), context)
        if not self.spectral_norm:
            return output_layer(x, 1, "auto", self.dtype)[:, 0]
        last = Dense(1, dtype=dtype, name="output")
        score = nn.SpectralNorm(last)(x, update_stats=context.training)
        return score[:, 0].astype(jnp.promote_types(score.dtype, jnp.float32))

    def _convolve(
        self,
        x: Array,
        context: Context,
        name: str,
        channels: int,
        kernel: int,
        stride: int,
        dtype: nn.dtypes.Dtype,
    ) -> Array:
        """A convolution, its weights divided by their spectral norm if wanted."""
        layer = Conv(
            channels,
            (kernel, kernel),
            strides=stride,
            kernel_init=_INITIALIZER,
            dtype=dtype,
            name=name,
        )
        if not self.spectral_norm:
            return layer(x)
        return nn.SpectralNorm(layer)(x, update_stats=context.training)
