"""Encoder-decoders of LSTMs, and how any encoder-decoder writes.

A model of this kind takes ``{"source": [batch, source time], "target": [batch, target
time]}``, tokens of which 0 is padding, and gives logits of what follows each token of
the target. ``start(source)`` reads the source, and ``decode(tokens, state, time)``
writes on from a state. ``TransformerSequenceToSequence`` is one as well.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from jaxdl.batch import Context
from jaxdl.layers.additive_attention import AttentiveLSTM
from jaxdl.layers.dense import Dense
from jaxdl.layers.dropout import Dropout
from jaxdl.layers.recurrent import Bidirectional, Carry, Recurrent
from jaxdl.models.apply import EVALUATION
from jaxdl.models.decoders import (
    Logits,
    TransformerSequenceToSequence,
    attention_maps,
    logits_of,
    output_of,
)
from jaxdl.models.precision import compute_dtype
from jaxdl.models.transformer import Tokens


class WritingState(NamedTuple):
    """Where an LSTM encoder-decoder stands in writing.

    Attributes:
      carry: the decoder's.
      memory: what the encoder put out at each place of the source, and where that is
        no padding; None for a decoder that does not look at it.
    """

    carry: Carry
    memory: tuple[Float[Array, "batch place values"], Bool[Array, "batch place"]] | None


class LSTMSequenceToSequence(nn.Module):
    """Two LSTMs: one reads the source in both directions, the other writes the target
    from where that ended (Sutskever et al. 2014).

    Its last states reach the decoder through a dense layer each. With ``attention``
    the decoder also looks at every place of the source before each token (Bahdanau
    et al. 2015); without it, those states are all that it knows of the source.

    Attributes:
      classes: how many tokens targets are of.
      vocabulary: how many tokens sources are of; 0 is padding, which changes nothing.
      width: of the embeddings and of every hidden state.
      attention: whether the decoder looks at the source.
      dtype: of the computation, "float32" or "bfloat16"; parameters are float32.
    """

    classes: int
    vocabulary: int
    width: int = 128
    attention: bool = False
    dtype: str = "float32"

    def setup(self) -> None:
        dtype = compute_dtype(self.dtype)
        self.source = nn.Embed(self.vocabulary, self.width, dtype=dtype)
        self.target = nn.Embed(self.classes, self.width, dtype=dtype)
        self.encoder = Bidirectional(self.width, "lstm", dtype=dtype)
        # One for the hidden state, one for the memory cell.
        self.bridge = [Dense(self.width) for _ in range(2)]
        self.decoder: Any = (
            AttentiveLSTM(self.width, dtype=dtype)
            if self.attention
            else Recurrent(self.width, dtype=dtype)
        )
        self.dropout = Dropout()
        self.output = output_of(self.classes, self.dtype)

    def __call__(
        self, inputs: dict[str, Tokens], context: Context = EVALUATION
    ) -> Logits:
        """Logits of what follows each token of ``inputs["target"]``."""
        state = self._read(inputs["source"], context)
        return self._write(inputs["target"], state, context)[0]

    def start(self, source: Tokens) -> WritingState:
        """The source read, and nothing written yet."""
        return self._read(source, EVALUATION)

    def decode(
        self, tokens: Tokens, state: WritingState, time: int | Int[Array, ""]
    ) -> tuple[Logits, WritingState]:
        """Logits of what follows each of the next tokens; the carry knows the time."""
        del time
        return self._write(tokens, state, EVALUATION)

    def _read(self, source: Tokens, context: Context) -> WritingState:
        valid = source != 0
        x = self.dropout(self.source(source), context)
        outputs, (forward, backward) = self.encoder(x, context, valid)
        hidden, cell = (
            bridge(jnp.concatenate(both, axis=-1))
            for bridge, both in zip(
                self.bridge, zip(forward, backward, strict=True), strict=True
            )
        )
        memory = (outputs, valid) if self.attention else None
        return WritingState((jnp.tanh(hidden), cell), memory)

    def _write(
        self, tokens: Tokens, state: WritingState, context: Context
    ) -> tuple[Logits, WritingState]:
        x = self.dropout(self.target(tokens), context)
        if state.memory is None:
            outputs, carry = self.decoder(x, context, carry=state.carry)
        else:
            outputs, carry = self.decoder(x, *state.memory, state.carry)
        logits = logits_of(self.output, self.dropout(outputs, context))
        return logits, state._replace(carry=carry)


SEQUENCE_TO_SEQUENCE_MODELS: dict[str, Callable[..., nn.Module]] = {
    "lstm_seq2seq": LSTMSequenceToSequence,
    "lstm_attention_seq2seq": partial(LSTMSequenceToSequence, attention=True),
    "transformer_seq2seq": TransformerSequenceToSequence,
}


def write_greedily(
    model: Any,
    params: Any,
    source: Tokens,
    *,
    length: int,
    begin: int,
    end: int,
    never: Sequence[int] = (),
) -> Int[Array, "batch length"]:
    """What a model writes from a source, the most probable token at every step; to be
    jitted.

    Args:
      model: an encoder-decoder (see the module).
      params: its parameters.
      source: the tokens to read.
      length: tokens to write; what follows ``end`` is padding (0).
      begin: the token that is read first.
      end: the token that closes a target.
      never: tokens that are not written, whatever their logits.
    """
    variables = {"params": params}
    start = model.apply(variables, source, method="start")
    batch = source.shape[0]
    first = jnp.full((batch, 1), begin, source.dtype)
    forbidden = np.isin(np.arange(model.classes), list(never))

    def step(carry: Any, time: Array) -> tuple[Any, Array]:
        token, ended, state = carry
        logits, state = model.apply(variables, token, state, time, method="decode")
        allowed = jnp.where(forbidden, -jnp.inf, logits[:, 0])
        token = jnp.argmax(allowed, axis=-1).astype(source.dtype)
        token = jnp.where(ended, 0, token)
        return (token[:, None], ended | (token == end), state), token

    carry = (first, jnp.zeros(batch, bool), start)
    _, tokens = jax.lax.scan(step, carry, jnp.arange(length))
    return jnp.swapaxes(tokens, 0, 1)


def source_attention(
    model: nn.Module, params: Any, inputs: dict[str, Tokens]
) -> Float[Array, "batch target source"] | None:
    """How much the decoder looked at each place of the source while it read each token
    of the target: the mean over layers and heads, which adds up to 1.

    None for a model that does not look at the source; may be jitted.
    """
    maps = attention_maps(model, params, inputs)
    looked = [
        jnp.mean(weights, axis=1)
        for path, weights in maps.items()
        if path == "decoder" or path.endswith("cross_attention")
    ]
    return jnp.mean(jnp.stack(looked), axis=0) if looked else None
