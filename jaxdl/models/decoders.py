"""Transformers that write: the language model, and the encoder-decoder."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict
from jaxtyping import Array, Float, Int

from jaxdl.batch import Context
from jaxdl.layers.attention import KeysValues, cache_mask, valid_mask
from jaxdl.layers.dense import Dense
from jaxdl.models.apply import EVALUATION
from jaxdl.models.precision import compute_dtype
from jaxdl.models.transformer import (
    Features,
    Memory,
    Stack,
    TokenEmbedding,
    Tokens,
    stack_fields,
)

Logits = Float[Array, "batch time classes"]
Caches = tuple[KeysValues, ...]


class TransformerLM(nn.Module):
    """A Transformer that says of every token what comes next.

    ``__call__`` takes whole sequences; ``decode`` goes on by one token or several,
    with what came before in caches.

    Attributes:
      classes: how many tokens there are.
      tied: whether the embedding is the output layer too (Press and Wolf 2017).
      max_length: of the sequences and of the caches.
      others: those of ``TransformerEncoder``.
    """

    classes: int
    width: int = 128
    layers: int = 4
    heads: int = 4
    kv_heads: int = 0
    positions: str = "rotary"
    max_length: int = 128
    tied: bool = True
    activation: str = "gelu"
    dtype: str = "float32"
    remat: bool = False

    def setup(self) -> None:
        self.embedding = TokenEmbedding(self.classes, self.width, self.dtype)
        self.decoder = Stack(**stack_fields(self), causal=True)
        if not self.tied:
            self.output = output_of(self.classes, self.dtype)

    def __call__(self, tokens: Tokens, context: Context = EVALUATION) -> Logits:
        x, _ = self.decoder(self.embedding(tokens), context)
        return self._logits(x)

    def start(self, batch: int) -> Caches:
        """Empty caches for ``decode``."""
        return self.decoder.caches(batch, self.max_length)

    def decode(
        self, tokens: Tokens, caches: Caches, time: int | Int[Array, ""]
    ) -> tuple[Logits, Caches]:
        """Logits of what follows each of the next tokens, and the caches with them.

        Args:
          tokens: [batch, time]; the first stands at place ``time``, which may be
            traced; the last must stand below ``max_length``.
          caches: those of the tokens before.
          time: how many tokens came before.
        """
        place = jnp.arange(tokens.shape[1]) + time
        mask = cache_mask(place, self.max_length)
        x = self.embedding(tokens)
        x, caches = self.decoder(x, EVALUATION, mask, place, caches)
        return self._logits(x), caches

    def _logits(self, x: Features) -> Logits:
        return self.embedding.logits(x) if self.tied else logits_of(self.output, x)


class DecoderState(NamedTuple):
    """Where an encoder-decoder stands in writing.

    Attributes:
      caches: keys and values of what is written, a block each.
      memories: keys and values of the source, and where it is no padding.
    """

    caches: Caches
    memories: tuple[Memory, ...]


class TransformerSequenceToSequence(nn.Module):
    """An encoder that reads a source and a decoder that writes a target.

    Attributes:
      classes: how many tokens targets are of.
      vocabulary: how many tokens sources are of; 0 is padding, which changes nothing.
      layers: of the encoder, and of the decoder.
      max_length: of sources and targets, and of the caches.
      others: those of ``TransformerEncoder``.
    """

    classes: int
    vocabulary: int
    width: int = 128
    layers: int = 2
    heads: int = 4
    kv_heads: int = 0
    positions: str = "rotary"
    max_length: int = 64
    activation: str = "gelu"
    dtype: str = "float32"
    remat: bool = False

    def setup(self) -> None:
        fields = stack_fields(self)
        self.source = TokenEmbedding(self.vocabulary, self.width, self.dtype)
        self.target = TokenEmbedding(self.classes, self.width, self.dtype)
        self.encoder = Stack(**fields)
        self.decoder = Stack(**fields, causal=True, cross=True)
        self.output = output_of(self.classes, self.dtype)

    def __call__(
        self, inputs: dict[str, Tokens], context: Context = EVALUATION
    ) -> Logits:
        """Logits of what follows each token of the target.

        Args:
          inputs: ``source`` [batch, source time] and ``target`` [batch, target time],
            which begins with a token that says so.
          context: mask, positions and dropout of the batch.
        """
        memories = self._read(inputs["source"], context)
        x = self.target(inputs["target"])
        x, _ = self.decoder(x, context, memories=memories)
        return logits_of(self.output, x)

    def start(self, source: Tokens) -> DecoderState:
        """The source read, and nothing written yet."""
        caches = self.decoder.caches(source.shape[0], self.max_length)
        return DecoderState(caches, self._read(source, EVALUATION))

    def decode(
        self, tokens: Tokens, state: DecoderState, time: int | Int[Array, ""]
    ) -> tuple[Logits, DecoderState]:
        """Logits of what follows each of the next tokens of the target, as
        ``TransformerLM.decode``."""
        place = jnp.arange(tokens.shape[1]) + time
        mask = cache_mask(place, self.max_length)
        x, caches = self.decoder(
            self.target(tokens), EVALUATION, mask, place, state.caches, state.memories
        )
        return logits_of(self.output, x), state._replace(caches=caches)

    def _read(self, source: Tokens, context: Context) -> tuple[Memory, ...]:
        mask = valid_mask(source != 0)
        x, _ = self.encoder(self.source(source), context, mask)
        return tuple((found, mask) for found in self.decoder.cross_look_at(x))


def output_of(classes: int, dtype: str) -> nn.Dense:
    """The last layer, for ``logits_of``; to be made in a module's ``setup``."""
    return Dense(classes, dtype=compute_dtype(dtype))


def logits_of(output: nn.Dense, x: Features) -> Logits:
    """Logits, of float32 or more; tokens flattened, which is faster on CPU."""
    flat = output(x.reshape(-1, x.shape[-1]))
    flat = flat.astype(jnp.promote_types(flat.dtype, jnp.float32))
    return flat.reshape(*x.shape[:2], -1)


def attention_maps(
    model: nn.Module, params: Any, inputs: Any
) -> dict[str, Float[Array, "batch heads query key"]]:
    """How much each token looked at each other, by the path of the attention
    (``decoder/blocks_0/cross_attention``); may be jitted.

    Args:
      model: any module of ``jaxdl.layers.Attention`` layers.
      params: its parameters.
      inputs: as the model takes them.
    """
    _, found = model.apply({"params": params}, inputs, mutable=["attention"])
    flat = flatten_dict(found.get("attention", {}), sep="/")
    return {path.removesuffix("/weights"): weights for path, weights in flat.items()}
