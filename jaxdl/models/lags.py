"""How far back a language model looks: gradients through time."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from jaxdl.models.transformer import TokenEmbedding


def gradient_by_lag(
    model: nn.Module,
    params: Any,
    tokens: Int[Array, "batch time"],
    targets: Int[Array, " batch"],
) -> Float[Array, " time"]:
    """How strongly the loss of the last token depends on the embeddings before it.

    The mean over examples of the norm of d loss / d embedding, by how many places
    before the last the embedding stands: gradients that vanish or explode on their
    way through time show as a line that falls or rises (Bengio et al. 1994).

    Args:
      model: gives logits [batch, time, classes], from a ``TokenEmbedding``.
      params: its parameters.
      tokens: what it reads.
      targets: what follows the last of them.
    """

    def loss(change: Float[Array, "batch time width"]) -> Float[Array, ""]:
        def moved(call: Any, args: Any, kwargs: Any, made: Any) -> Any:
            result = call(*args, **kwargs)
            embeds = isinstance(made.module, TokenEmbedding)
            return (
                result + change if embeds and made.method_name == "__call__" else result
            )

        with nn.intercept_methods(moved):
            logits: Any = model.apply({"params": params}, tokens)
        shares = jax.nn.log_softmax(logits[:, -1])
        return -jnp.sum(jnp.take_along_axis(shares, targets[:, None], axis=1))

    width = params["embedding"]["table"]["embedding"].shape[1]
    slope = jax.grad(loss)(jnp.zeros((*tokens.shape, width)))
    return jnp.mean(jnp.linalg.norm(slope, axis=-1), axis=0)[::-1]
