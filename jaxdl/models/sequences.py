"""Models of sequences that are no Transformer: bag of words, 1-D convolutions, and
recurrent networks.

All take tokens [batch, time], of which 0 is padding, or features [batch, time,
features]. Padding at the end changes nothing: a sequence padded to any length
gives the same outputs.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from jaxdl.batch import Context
from jaxdl.layers import (
    Bidirectional,
    Conv,
    Dropout,
    Recurrent,
    SeparableConv,
    masked_max,
    masked_max_pool,
    masked_mean,
)
from jaxdl.models.activations import activation
from jaxdl.models.apply import EVALUATION
from jaxdl.models.initializers import initializer
from jaxdl.models.mlp import hidden_layers, output_layer
from jaxdl.models.precision import compute_dtype

Tokens = Int[Array, "batch time"]
Features = Float[Array, "batch time features"]
Valid = Bool[Array, "batch time"]
Logits = Float[Array, "batch classes"]

# How the outputs of all steps become one vector.
POOLINGS = {"max": masked_max, "mean": masked_mean}


def embedded(
    x: Tokens | Features, vocabulary: int, width: int, dtype: str
) -> tuple[Features, Valid | None]:
    """Learned vectors of tokens, zero where they are padding, and which are not.

    Features come back as they are, all of them valid (None). To be called inside a
    module.
    """
    if not vocabulary:
        if x.ndim != 3:
            raise ValueError(
                f"a model without vocabulary takes features [batch, time, features], "
                f"but the input is {x.shape}"
            )
        return x.astype(compute_dtype(dtype)), None
    if x.ndim != 2 or not jnp.issubdtype(x.dtype, jnp.integer):
        raise ValueError(
            f"a model with a vocabulary takes integer tokens [batch, time], but the "
            f"input is {x.dtype} {x.shape}"
        )
    _at_least_one(width=width)
    valid = x != 0
    table = nn.Embed(
        vocabulary,
        width,
        embedding_init=nn.initializers.normal(0.05),
        dtype=compute_dtype(dtype),
        name="embedding",
    )
    vectors = table(x)
    return jnp.where(valid[..., None], vectors, jnp.zeros_like(vectors)), valid


class BagOfWords(nn.Module):
    """Which words occur, in any order and number, and dense layers on that.

    Attributes:
      classes: how many classes (or outputs).
      vocabulary: how many tokens there are; 0 is padding.
      hidden: the sizes of the hidden layers; none makes it linear.
      activation: a name of ``jaxdl.models.activations``.
      dtype: of the computation, "float32" or "bfloat16"; parameters are float32.
    """

    classes: int
    vocabulary: int = 0
    hidden: tuple[int, ...] = (16, 16)
    activation: str = "relu"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Tokens, context: Context = EVALUATION) -> Logits:
        if not self.vocabulary:
            raise ValueError("a bag of words needs a vocabulary: give its size")
        words = multi_hot(x, self.vocabulary)
        function, dtype = self.activation, self.dtype
        x = hidden_layers(words, context, self.hidden, function, "auto", False, dtype)
        return output_layer(x, self.classes, "auto", dtype)


def multi_hot(tokens: Tokens, vocabulary: int) -> Float[Array, "batch vocabulary"]:
    """1.0 for every token that occurs, 0.0 for the others and for padding."""
    rows = jnp.arange(tokens.shape[0])[:, None]
    occurs = jnp.zeros((tokens.shape[0], vocabulary))
    return occurs.at[rows, tokens].set(1.0).at[:, 0].set(0.0)


def convolved(
    model: "Conv1D | Conv1DGRU", x: Tokens | Features, context: Context
) -> tuple[Features, Valid | None]:
    """Blocks of 1-D convolution, activation, dropout; max pooling between them.

    To be called inside the model, whose layers these become.
    """
    _at_least_one(layers=model.layers, kernel_size=model.kernel_size, pool=model.pool)
    x, valid = embedded(x, model.vocabulary, model.width, model.dtype)
    x = Dropout()(x, context)
    conv = SeparableConv if model.separable else Conv
    for layer in range(model.layers):
        x = conv(
            model.hidden,
            (model.kernel_size,),
            kernel_init=initializer("auto", model.activation),
            dtype=compute_dtype(model.dtype),
        )(x)
        x = Dropout()(activation(model.activation)(x), context)
        if valid is not None:  # as a convolution pads: with zeros
            x = jnp.where(valid[..., None], x, jnp.zeros_like(x))
        if layer < model.layers - 1 and model.pool > 1:
            x, valid = masked_max_pool(x, valid, model.pool)
    return x, valid


class Conv1D(nn.Module):
    """Convolutions over time, pooled to one vector (Kim 2014; Chollet, section 6.4).

    Attributes:
      classes: how many classes (or outputs).
      vocabulary: how many tokens there are; 0 if the inputs are features.
      width: of the vectors of tokens.
      hidden: the channels of every convolution.
      layers: how many convolutions.
      kernel_size: steps that one sees.
      pool: steps of which the largest is kept between two convolutions.
      separable: whether they are depthwise separable (Chollet 2017).
      pooling: what of all steps is kept at the end, "max" or "mean".
      activation: a name of ``jaxdl.models.activations``.
      dtype: of the computation, "float32" or "bfloat16"; parameters are float32.
    """

    classes: int
    vocabulary: int = 0
    width: int = 64
    hidden: int = 64
    layers: int = 2
    kernel_size: int = 5
    pool: int = 3
    separable: bool = False
    pooling: str = "max"
    activation: str = "relu"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Tokens | Features, context: Context = EVALUATION) -> Logits:
        x, valid = convolved(self, x, context)
        if self.pooling not in POOLINGS:
            raise ValueError(
                f"unknown pooling {self.pooling!r}: give {' or '.join(POOLINGS)}"
            )
        x = POOLINGS[self.pooling](x, valid)
        return output_layer(x, self.classes, "auto", self.dtype)


class Conv1DGRU(nn.Module):
    """Convolutions that shorten the sequence, and a GRU on what they find (Chollet,
    section 6.4).

    Attributes: those of ``Conv1D`` but the pooling; and ``recurrent_dropout``, the
    rate of dropout on the GRU's hidden state.
    """

    classes: int
    vocabulary: int = 0
    width: int = 64
    hidden: int = 64
    layers: int = 2
    kernel_size: int = 5
    pool: int = 3
    separable: bool = False
    recurrent_dropout: float = 0.0
    activation: str = "relu"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Tokens | Features, context: Context = EVALUATION) -> Logits:
        x, valid = convolved(self, x, context)
        layer = Recurrent(
            self.hidden,
            "gru",
            recurrent_dropout=self.recurrent_dropout,
            dtype=compute_dtype(self.dtype),
        )
        _, (last,) = layer(x, context, valid)
        x = Dropout()(last, context)
        return output_layer(x, self.classes, "auto", self.dtype)


class RecurrentClassifier(nn.Module):
    """Recurrent layers one upon the other, and an output from what they end with.

    Attributes:
      classes: how many classes (or outputs).
      vocabulary: how many tokens there are; 0 if the inputs are features.
      cell: "rnn", "lstm" or "gru".
      width: of the vectors of tokens.
      hidden: the size of each layer's hidden state.
      layers: how many.
      bidirectional: whether a second layer reads each sequence backwards.
      reverse: whether the only one does.
      recurrent_dropout: rate of the dropout on hidden states, one mask for all steps.
      pooling: what becomes of the outputs of all steps: "last" (each direction's
        hidden state after its last valid step), "max" or "mean".
      dtype: of the computation, "float32" or "bfloat16"; parameters are float32.
    """

    classes: int
    vocabulary: int = 0
    cell: str = "lstm"
    width: int = 64
    hidden: int = 64
    layers: int = 1
    bidirectional: bool = False
    reverse: bool = False
    recurrent_dropout: float = 0.0
    pooling: str = "last"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Tokens | Features, context: Context = EVALUATION) -> Logits:
        _at_least_one(layers=self.layers, hidden=self.hidden)
        x, valid = embedded(x, self.vocabulary, self.width, self.dtype)
        if self.reverse and self.bidirectional:
            raise ValueError("bidirectional layers read both ways: leave reverse out")
        one_way = partial(Recurrent, reverse=self.reverse)
        layer: Any = Bidirectional if self.bidirectional else one_way
        for _ in range(self.layers):
            x, carry = layer(
                self.hidden,
                self.cell,
                recurrent_dropout=self.recurrent_dropout,
                dtype=compute_dtype(self.dtype),
            )(Dropout()(x, context), context, valid)
        if self.pooling == "last":
            # The hidden state of each direction comes first in its carry.
            ends = [carry[0][0], carry[1][0]] if self.bidirectional else [carry[0]]
            x = jnp.concatenate(ends, axis=-1)
        elif self.pooling in POOLINGS:
            x = POOLINGS[self.pooling](x, valid)
        else:
            raise ValueError(
                f"unknown pooling {self.pooling!r}: give last, {', '.join(POOLINGS)}"
            )
        x = Dropout()(x, context)
        return output_layer(x, self.classes, "auto", self.dtype)


rnn = partial(RecurrentClassifier, cell="rnn")
lstm = partial(RecurrentClassifier, cell="lstm")
gru = partial(RecurrentClassifier, cell="gru")


def _at_least_one(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} is {size}: give 1 or more")
