"""Dropout whose mask belongs to the example and whose rate may be traced."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxdl.batch import Context, example_keys


class Dropout(nn.Module):
    """Inverted dropout: drop units at random in training, scale up the rest.

    Each example draws its mask from a key of its own, folded from its position
    in the global batch, so the same units drop however the batch is split over
    devices. The rate may be traced (``nn.Dropout``'s may not): sweeping it needs
    no recompiling, and a traced rate of 0 is the identity to the bit.

    Scaling by ``1 / (1 - rate)`` in training keeps the expected output equal to
    the input, so that evaluation is the identity (Srivastava et al. 2014, sec.
    10). Initialising, and a rate that is the Python number 0, need no random key.

    Attributes:
      rate: the dropout rate in [0, 1); None takes ``context.dropout``.
      broadcast_axes: axes of ``x`` along which one draw is shared: ``(1, 2)``
        drops whole feature maps of an image (spatial dropout), ``(1,)`` the same
        features at every time of a sequence (variational dropout).

    Raises:
      ValueError: a rate outside [0, 1), or a mask shared over axis 0.
    """

    rate: float | None = None
    broadcast_axes: Sequence[int] = ()

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch *rest"], context: Context
    ) -> Float[Array, "batch *rest"]:
        rate = context.dropout if self.rate is None else self.rate
        if isinstance(rate, int | float) and not 0 <= rate < 1:
            raise ValueError(
                f"dropout rate {rate} is out of range: give a number of at least 0 "
                "and below 1"
            )
        static_zero = isinstance(rate, int | float) and rate == 0
        if not context.training or static_zero or self.is_initializing():
            return x
        position = context.position
        if position is None:
            position = jnp.arange(x.shape[0], dtype=jnp.int32)
        keys = example_keys(self.make_rng("dropout"), position)
        shape = _mask_shape(x.shape, self.broadcast_axes)
        draws = jax.vmap(lambda key: jax.random.uniform(key, shape))(keys)
        keep = 1.0 - jnp.asarray(rate, jnp.float32)
        # A traced rate of 1 keeps nothing; dividing by 1 there keeps gradients
        # finite, which inf * 0 would not be.
        scale = (1.0 / jnp.where(keep > 0, keep, 1.0)).astype(x.dtype)
        return jnp.where(draws < keep, x * scale, jnp.zeros_like(x))


def _mask_shape(shape: Sequence[int], shared: Sequence[int]) -> tuple[int, ...]:
    """The shape of one example's mask: 1 along the axes that share a draw."""
    axes = {axis % len(shape) for axis in shared}
    if 0 in axes:
        raise ValueError(
            "broadcast_axes holds the example axis 0, but each example draws its "
            "own mask: name axes from 1 on"
        )
    return tuple(1 if i in axes else n for i, n in enumerate(shape) if i > 0)
