"""Language models: what comes next, by a Transformer or a recurrent network.

Each takes tokens [batch, time] to logits [batch, time, classes], and has ``start``
and ``decode`` for ``jaxdl.generation``.
"""

from collections.abc import Callable
from functools import partial

from flax import linen as nn
from jaxtyping import Array, Int

from jaxdl.batch import Context
from jaxdl.layers.dropout import Dropout
from jaxdl.layers.recurrent import Carry, Recurrent
from jaxdl.models.apply import EVALUATION
from jaxdl.models.decoders import Logits, TransformerLM, logits_of, output_of
from jaxdl.models.precision import compute_dtype
from jaxdl.models.transformer import TokenEmbedding, Tokens

Carries = tuple[Carry, ...]


class RecurrentLM(nn.Module):
    """Recurrent layers that say of every token what comes next.

    Attributes:
      classes: how many tokens there are.
      cell: "lstm", "gru" or "rnn".
      width: of the embedding and of every layer's hidden state.
      layers: one upon the other, dropout between them.
      tied: whether the embedding is the output layer too (Press and Wolf 2017).
      recurrent_dropout: of the hidden state, one mask over time.
      dtype: of the computation, "float32" or "bfloat16"; parameters are float32.
    """

    classes: int
    cell: str = "lstm"
    width: int = 256
    layers: int = 1
    tied: bool = True
    recurrent_dropout: float = 0.0
    dtype: str = "float32"

    def setup(self) -> None:
        if self.layers < 1:
            raise ValueError(f"a model of {self.layers} layers: give 1 or more")
        self.embedding = TokenEmbedding(self.classes, self.width, self.dtype)
        self.recurrent = [
            Recurrent(
                self.width,
                self.cell,
                recurrent_dropout=self.recurrent_dropout,
                dtype=compute_dtype(self.dtype),
            )
            for _ in range(self.layers)
        ]
        self.dropout = Dropout()
        if not self.tied:
            self.output = output_of(self.classes, self.dtype)

    def __call__(self, tokens: Tokens, context: Context = EVALUATION) -> Logits:
        return self._run(tokens, context, None)[0]

    def start(self, batch: int) -> Carries:
        """The carries before the first token."""
        return tuple(layer.initial_carry(batch) for layer in self.recurrent)

    def decode(
        self, tokens: Tokens, carries: Carries, time: int | Int[Array, ""]
    ) -> tuple[Logits, Carries]:
        """Logits of what follows each of the next tokens, and the carries with them;
        the time does not matter to a recurrent network."""
        del time
        return self._run(tokens, EVALUATION, carries)

    def _run(
        self, tokens: Tokens, context: Context, carries: Carries | None
    ) -> tuple[Logits, Carries]:
        x = self.embedding(tokens)
        after = []
        for i, layer in enumerate(self.recurrent):
            carry = None if carries is None else carries[i]
            x, last = layer(self.dropout(x, context), context, None, carry)
            after.append(last)
        x = self.dropout(x, context)
        logits = self.embedding.logits(x) if self.tied else logits_of(self.output, x)
        return logits, tuple(after)


# What ``language_model`` chooses from, by the name that model.json holds.
LANGUAGE_MODELS: dict[str, Callable[..., nn.Module]] = {
    "transformer_lm": TransformerLM,
    "lstm_lm": partial(RecurrentLM, cell="lstm"),
    "gru_lm": partial(RecurrentLM, cell="gru"),
}
