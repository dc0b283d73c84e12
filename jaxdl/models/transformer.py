"""The Transformer's blocks, stacks of them, and the encoder that classifies."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from jaxdl.batch import Context
from jaxdl.layers.attention import (
    Attention,
    KeysValues,
    Mask,
    valid_mask,
    write_cache,
)
from jaxdl.layers.dense import Dense
from jaxdl.layers.dropout import Dropout
from jaxdl.layers.layer_norm import LayerNorm
from jaxdl.layers.pooling import masked_mean
from jaxdl.layers.positions import Positions
from jaxdl.models.activations import activation
from jaxdl.models.apply import EVALUATION
from jaxdl.models.mlp import output_layer
from jaxdl.models.precision import compute_dtype

Tokens = Int[Array, "batch time"]
Features = Float[Array, "batch time width"]
# Keys and values of an encoder's outputs, and which of them may be looked at.
Memory = tuple[KeysValues, Mask | None]


class Block(nn.Module):
    """Attention, then two dense layers, each added to what comes in: x + f(norm(x)).

    Normalising before (Xiong et al. 2020) trains without a long warm-up. With
    ``cross`` a second attention, to the memory of an encoder, stands between.

    Attributes:
      width: features of the inputs and the outputs.
      heads, kv_heads: of the attention; 0 kv_heads takes as many as heads.
      rotary: whether self-attention turns queries and keys by their places.
      causal: whether self-attention looks back only.
      cross: whether there is a second attention.
      activation: a name of ``jaxdl.models.activations``.
      dtype: of the computation, "float32" or "bfloat16".
    """

    width: int
    heads: int
    kv_heads: int = 0
    rotary: bool = False
    causal: bool = False
    cross: bool = False
    activation: str = "gelu"
    dtype: str = "float32"

    def setup(self) -> None:
        dtype = compute_dtype(self.dtype)
        self.norm = LayerNorm(dtype=dtype)
        self.attention = self._attention(self.rotary)
        if self.cross:
            self.cross_norm = LayerNorm(dtype=dtype)
            self.cross_attention = self._attention(rotary=False)
        self.dense_norm = LayerNorm(dtype=dtype)
        self.dense_in = Dense(4 * self.width, dtype=dtype)
        self.dense_out = Dense(self.width, dtype=dtype)
        self.dropout = Dropout()

    def _attention(self, rotary: bool) -> Attention:
        return Attention(
            self.width,
            self.heads,
            self.kv_heads,
            rotary=rotary,
            dtype=compute_dtype(self.dtype),
        )

    def __call__(
        self,
        x: Features,
        context: Context,
        mask: Mask | None = None,
        place: Int[Array, " time"] | None = None,
        cache: KeysValues | None = None,
        memory: Memory | None = None,
    ) -> tuple[Features, KeysValues]:
        """One block.

        Args:
          x: [batch, time, width].
          context: whether to drop out, and by which keys.
          mask: which places x may look at.
          place: of the tokens of x; from 0 on if None.
          cache: keys and values of all places, those of x written in at ``place``;
            ``mask`` must then say which of them are there.
          memory: keys and values for the second attention (``cross_look_at``), and
            which of them may be looked at.

        Returns:
          x, and the keys and values that it looked at.
        """
        normed = self.norm(x)
        own = self.attention.look_at(normed, place)
        if cache is not None:
            own = write_cache(cache, own, 0 if place is None else place[0])
        causal = self.causal and cache is None
        found = self.attention(normed, own, mask, place, causal)
        x = x + self.dropout(found, context)
        if memory is not None:
            found = self.cross_attention(self.cross_norm(x), *memory)
            x = x + self.dropout(found, context)
        # Flattened to two axes, dense layers are faster on CPU.
        flat = self.dense_norm(x).reshape(-1, self.width)
        flat = self.dense_out(activation(self.activation)(self.dense_in(flat)))
        return x + self.dropout(flat.reshape(x.shape), context), own

    def cross_look_at(self, memory: Features) -> KeysValues:
        """Keys and values of an encoder's outputs, for the second attention."""
        return self.cross_attention.look_at(memory)


class Stack(nn.Module):
    """Blocks one upon the other, positions before and a norm after them.

    Attributes:
      layers: how many blocks.
      positions: a name of ``jaxdl.layers.positions``.
      max_length: of the sequences; a bound for learned positions alone.
      remat: keep no activations within a block for the backward pass, but compute
        them again: less memory, about a third more time.
      others: those of ``Block``.
    """

    width: int
    layers: int
    heads: int
    kv_heads: int = 0
    positions: str = "rotary"
    max_length: int = 512
    causal: bool = False
    cross: bool = False
    activation: str = "gelu"
    dtype: str = "float32"
    remat: bool = False

    def setup(self) -> None:
        if self.layers < 1:
            raise ValueError(f"a Transformer of {self.layers} layers: give 1 or more")
        self.added = Positions(self.positions, self.max_length)
        block = nn.remat(Block) if self.remat else Block
        self.blocks = [
            block(
                width=self.width,
                heads=self.heads,
                kv_heads=self.kv_heads,
                rotary=self.positions == "rotary",
                causal=self.causal,
                cross=self.cross,
                activation=self.activation,
                dtype=self.dtype,
            )
            for _ in range(self.layers)
        ]
        self.norm = LayerNorm(dtype=compute_dtype(self.dtype))
        self.dropout = Dropout()

    def __call__(
        self,
        x: Features,
        context: Context,
        mask: Mask | None = None,
        place: Int[Array, " time"] | None = None,
        caches: Sequence[KeysValues] | None = None,
        memories: Sequence[Memory] | None = None,
    ) -> tuple[Features, tuple[KeysValues, ...]]:
        """All blocks; arguments as ``Block``'s, caches and memories one a block."""
        x = self.added(x, jnp.arange(x.shape[1]) if place is None else place)
        x = self.dropout(x, context)
        kept = []
        for i, block in enumerate(self.blocks):
            cache = None if caches is None else caches[i]
            memory = None if memories is None else memories[i]
            x, looked_at = block(x, context, mask, place, cache, memory)
            kept.append(looked_at)
        return self.norm(x), tuple(kept)

    def cross_look_at(self, memory: Features) -> tuple[KeysValues, ...]:
        """For each block, keys and values of an encoder's outputs."""
        return tuple(block.cross_look_at(memory) for block in self.blocks)

    def caches(self, batch: int, length: int) -> tuple[KeysValues, ...]:
        """Empty caches for sequences of so many tokens."""
        heads, features = self.kv_heads or self.heads, self.width // self.heads
        empty = jnp.zeros((batch, length, heads, features), compute_dtype(self.dtype))
        return tuple(KeysValues(empty, empty) for _ in range(self.layers))


class TokenEmbedding(nn.Module):
    """A learned vector for each token, of features of variance 1.

    The table itself has variance 1 / width (Vaswani et al. 2017, section 3.4), so
    that it also serves as the output layer (``logits``): tied weights.
    """

    vocabulary: int
    width: int
    dtype: str = "float32"

    def setup(self) -> None:
        self.table = nn.Embed(
            self.vocabulary,
            self.width,
            embedding_init=nn.initializers.normal(self.width**-0.5),
            dtype=compute_dtype(self.dtype),
        )

    def __call__(self, tokens: Tokens) -> Features:
        return self.table(tokens) * self.width**0.5

    def logits(self, x: Features) -> Float[Array, "batch time vocabulary"]:
        """How well each token's vector fits."""
        flat = self.table.attend(x.reshape(-1, self.width))
        return flat.reshape(*x.shape[:2], -1).astype(
            jnp.promote_types(flat.dtype, jnp.float32)
        )


class TransformerEncoder(nn.Module):
    """A Transformer that classifies a sequence, by the mean over its tokens.

    Attributes:
      classes: how many classes (or regression outputs).
      vocabulary: how many tokens there are, 0 being padding, which changes nothing;
        0 if the inputs are features [batch, time, features].
      width: of the features within.
      layers: how many blocks.
      heads: of queries.
      kv_heads: of keys and values; 0 takes as many as of queries.
      positions: rotary, learned, sinusoidal or none.
      max_length: of the sequences; a bound for learned positions alone.
      activation: a name of ``jaxdl.models.activations``.
      dtype: of the computation, "float32" or "bfloat16"; parameters are float32.
      remat: compute activations again in the backward pass, to save memory.
    """

    classes: int
    vocabulary: int = 0
    width: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 0
    positions: str = "rotary"
    max_length: int = 512
    activation: str = "gelu"
    dtype: str = "float32"
    remat: bool = False

    @nn.compact
    def __call__(
        self,
        x: Tokens | Float[Array, "batch time features"],
        context: Context = EVALUATION,
    ) -> Float[Array, "batch classes"]:
        if self.vocabulary:
            valid = x != 0
            x = TokenEmbedding(self.vocabulary, self.width, self.dtype)(x)
        else:
            valid = jnp.ones(x.shape[:2], bool)
            x = Dense(self.width, dtype=compute_dtype(self.dtype))(x)
        mask = valid_mask(valid) if self.vocabulary else None
        x, _ = Stack(**stack_fields(self), name="encoder")(x, context, mask)
        return output_layer(
            Dropout()(masked_mean(x, valid), context), self.classes, "auto", self.dtype
        )


_STACK_FIELDS = (
    *("width", "layers", "heads", "kv_heads", "positions", "max_length"),
    *("activation", "dtype", "remat"),
)


def stack_fields(module: Any) -> dict[str, Any]:
    """What a model hands on to its stacks."""
    return {name: getattr(module, name) for name in _STACK_FIELDS}
