"""A recurrent layer that looks at a sequence before each step."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jax.nn.initializers import lecun_normal
from jaxtyping import Array, Bool, Float

from jaxdl.layers.recurrent import Carry, cell_named, gate_bias, orthogonal_blocks

# What a forbidden place scores: its weight is 0 to the bit.
_FORBIDDEN = -1e30


class AttentiveLSTM(nn.Module):
    """An LSTM that reads, with each input, a mean of a memory (Bahdanau et al. 2015).

    Before step t the hidden state s asks every place m of the memory how well it
    fits, v^T tanh(W s + U m), and the softmax of these scores weighs the mean. With the
    input it decides the gates. The weights are put out as the collection "attention"
    where a caller asks for it (``jaxdl.models.attention_maps``).

    Attributes:
      features: of the hidden state, and of the scores' inner layer.
      dtype: of the computation; None infers it from input and parameters. Scores
        and carry are float32 in any case.
    """

    features: int
    dtype: Dtype | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch time inputs"],
        memory: Float[Array, "batch place values"],
        valid: Bool[Array, "batch place"],
        carry: Carry,
    ) -> tuple[Float[Array, "batch time outputs"], Carry]:
        """Hidden states beside the means that led to them, and the carry.

        Args:
          x: the inputs.
          memory: what is looked at.
          valid: False where the memory is padding, which nothing looks at.
          carry: where to begin: hidden state and memory cell [batch, features].
        """
        x, memory, parts = self._promoted(x, memory)
        kernel, recurrent, looked, bias, query, key, score = parts
        keys = memory @ key
        projected = jnp.swapaxes(x, 0, 1) @ kernel + bias
        lstm = cell_named("lstm").step

        def step(carry: Carry, now: Array) -> tuple[Carry, tuple[Array, Array]]:
            hidden = carry[0].astype(x.dtype)
            fits = jnp.tanh(keys + (hidden @ query)[:, None]) @ score
            fits = fits.astype(carry[0].dtype)
            weights = jax.nn.softmax(jnp.where(valid, fits, _FORBIDDEN), axis=-1)
            mean = jnp.einsum("bp,bpv->bv", weights.astype(memory.dtype), memory)
            carry = lstm(now + mean @ looked, hidden @ recurrent, carry)
            output = jnp.concatenate([carry[0].astype(x.dtype), mean], axis=-1)
            return carry, (output, weights)

        carry, (outputs, weights) = jax.lax.scan(step, carry, projected)
        if self.is_mutable_collection("attention") and not self.is_initializing():
            # [batch, heads, query, key], as other attention has it.
            weights = jnp.swapaxes(weights, 0, 1)[:, None]
            self.put_variable("attention", "weights", weights)
        return jnp.swapaxes(outputs, 0, 1), carry

    def _promoted(self, x: Array, memory: Array) -> tuple[Array, Array, list[Array]]:
        """Inputs, memory and parameters in the computation's dtype."""
        size, values, gates = self.features, memory.shape[-1], 4 * self.features
        parts = [
            self.param("kernel", lecun_normal(), (x.shape[-1], gates)),
            self.param("recurrent_kernel", orthogonal_blocks, (size, gates)),
            self.param("memory_kernel", lecun_normal(), (values, gates)),
            self.param("bias", gate_bias("lstm"), (gates,)),
            self.param("query_kernel", lecun_normal(), (size, size)),
            self.param("key_kernel", lecun_normal(), (values, size)),
            self.param("score", nn.initializers.normal(size**-0.5), (size,)),
        ]
        x, memory, *parts = nn.dtypes.promote_dtype(x, memory, *parts, dtype=self.dtype)
        return x, memory, parts
