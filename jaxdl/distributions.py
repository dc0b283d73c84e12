"""Distributions that networks put out: pytrees of their parameters.

Log probabilities are sums over an example's axes, in nats. They are float32 at
least, whatever the network computed in.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdl.layers.softplus import softplus


class Bernoulli(NamedTuple):
    """Independent pixels that are 0 or 1.

    Attributes:
      logits: [batch, ...], the log odds of a 1.
    """

    logits: Float[Array, "batch *shape"]

    @property
    def mean(self) -> Float[Array, "batch *shape"]:
        """The probability of a 1."""
        return jax.nn.sigmoid(self.logits)

    def log_probability(
        self, x: Float[Array, "batch *shape"]
    ) -> Float[Array, " batch"]:
        """log p(x); of x between 0 and 1 its expectation over x drawn as 0 or 1."""
        return _sum(x * self.logits - softplus(self.logits))


class Gaussian(NamedTuple):
    """Independent normal distributions.

    Attributes:
      mean: [batch, ...].
      log_variance: of the same shape; the standard deviation is exp of its half.
    """

    mean: Float[Array, "batch *shape"]
    log_variance: Float[Array, "batch *shape"]

    def sample(self, noise: Float[Array, "batch *shape"]) -> Float[Array, "..."]:
        """Standard normal noise brought to mean and deviation (Kingma and Welling
        2014, sec. 2.4: gradients flow through both)."""
        return self.mean + jnp.exp(self.log_variance / 2) * noise

    def log_probability(
        self, x: Float[Array, "batch *shape"]
    ) -> Float[Array, " batch"]:
        """log p(x), a density."""
        squares = jnp.square(x - self.mean) * jnp.exp(-self.log_variance)
        return -_sum(squares + self.log_variance + np.log(2 * np.pi)) / 2

    def divergence(self) -> Float[Array, " batch"]:
        """KL(self || standard normal), exactly (Kingma and Welling 2014, app. B)."""
        variance = jnp.exp(self.log_variance)
        return _sum(jnp.square(self.mean) + variance - 1.0 - self.log_variance) / 2


def standard_normal_log_probability(
    z: Float[Array, "batch *shape"],
) -> Float[Array, " batch"]:
    """log N(z; 0, I)."""
    return Gaussian(jnp.zeros_like(z), jnp.zeros_like(z)).log_probability(z)


def _sum(x: Float[Array, "batch *shape"]) -> Float[Array, " batch"]:
    # A product, since XLA makes one sum of this and of a mean over the batch: then it
    # goes through all of x a second time. Highest: as in ``batch_moments``.
    rows = x.reshape(x.shape[0], -1)
    ones = jnp.ones(rows.shape[1], rows.dtype)
    return jnp.matmul(rows, ones, precision=jax.lax.Precision.HIGHEST)
