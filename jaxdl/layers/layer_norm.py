"""Layer normalisation, which a compiled kernel computes where that is faster."""

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float

from jaxdl import kernels
from jaxdl.layers.normalization import by_place, compilable


class LayerNorm(nn.Module):
    """Layer normalisation (Ba et al. 2016) over the last axis, with scale and bias.

    Parameters and results are those of ``nn.LayerNorm``, which it is wherever the
    compiled kernel isn't there, or doesn't suit. The kernel takes the variance around
    the mean, and is as exact beside a large one.

    Attributes:
      epsilon: added to the variance.
      dtype: of the output; None keeps the input's (at least the parameters').
    """

    epsilon: float = 1e-6
    dtype: Dtype | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "*batch features"]) -> Array:
        shape = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones_init(), shape)
        bias = self.param("bias", nn.initializers.zeros_init(), shape)
        dtype = self.dtype or nn.dtypes.canonicalize_dtype(x, scale, bias)
        if compilable(x, scale, bias) and x.dtype == dtype:
            y = kernels.layer_norm(by_place(x), scale, bias, self.epsilon)
            return y.reshape(x.shape)
        stock = nn.LayerNorm(self.epsilon, dtype=dtype, parent=None)
        params = {"scale": scale, "bias": bias}
        return jnp.asarray(stock.apply({"params": params}, x))
