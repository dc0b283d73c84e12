"""Where in a sequence a token stands: sinusoids, rotations, learned embeddings."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

# "rotary" turns queries and keys inside attention; "learned" and "sinusoidal" are
# added to the embeddings; "none" leaves a set of tokens, without order.
POSITIONS = ("rotary", "learned", "sinusoidal", "none")

# The longest wavelength is about this many tokens, times 2 pi.
_BASE = 10_000.0


def check_positions(positions: str) -> str:
    """The name, if it is one of ``POSITIONS``; else a ValueError."""
    if positions not in POSITIONS:
        raise ValueError(
            f"unknown positions {positions!r}: give one of {', '.join(POSITIONS)}"
        )
    return positions


def sinusoidal(place: Int[Array, " time"], width: int) -> Float[Array, "time {width}"]:
    """Sines in the first half of the features, cosines in the second, of wavelengths
    from 2 pi to 10,000 times that (Vaswani et al. 2017, section 3.5).

    Raises:
      ValueError: the width is odd.
    """
    angles = _angles(place, width)
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


def rotary(
    x: Float[Array, "batch time heads features"], place: Int[Array, " time"]
) -> Float[Array, "batch time heads features"]:
    """Each pair of features (i, i + features / 2) turned by an angle that grows with
    the place, so that the product of a query and a key depends on their distance
    alone (Su et al. 2021; halves instead of neighbours, as in GPT-NeoX).

    Raises:
      ValueError: the number of features is odd.
    """
    angles = _angles(place, x.shape[-1])[:, None, :]
    sine, cosine = jnp.sin(angles).astype(x.dtype), jnp.cos(angles).astype(x.dtype)
    first, second = jnp.split(x, 2, axis=-1)
    turned = (first * cosine - second * sine, second * cosine + first * sine)
    return jnp.concatenate(turned, axis=-1)


def _angles(
    place: Int[Array, " time"], features: int
) -> Float[Array, "time half_features"]:
    if features % 2:
        raise ValueError(
            f"positions turn features in pairs, and {features} is odd: choose width "
            "and heads so that each head has an even number"
        )
    powers = jnp.arange(features // 2) / (features // 2)
    return place[:, None] * (_BASE**-powers).astype(jnp.float32)


class Positions(nn.Module):
    """Adds what tells of the place to embeddings, where positions are added at all.

    Attributes:
      positions: one of ``POSITIONS``; "rotary" and "none" add nothing.
      max_length: of the sequences; what is learned is learned up to here.

    Raises:
      ValueError: an unknown name, or learned positions of a longer sequence.
    """

    positions: str
    max_length: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch time width"], place: Int[Array, " time"]
    ) -> Float[Array, "batch time width"]:
        width = x.shape[-1]
        if check_positions(self.positions) == "sinusoidal":
            return x + sinusoidal(place, width).astype(x.dtype)
        if self.positions != "learned":
            return x
        if x.shape[1] > self.max_length:
            raise ValueError(
                f"a sequence of {x.shape[1]} is longer than the {self.max_length} "
                "positions that are learned: give a longer max_length, or rotary or "
                "sinusoidal positions"
            )
        learned = nn.Embed(
            self.max_length, width, embedding_init=nn.initializers.normal(0.02)
        )
        return x + learned(place).astype(x.dtype)
