"""Recurrent layers over [batch, time, features]: simple RNN, LSTM and GRU."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jax.nn.initializers import lecun_normal, orthogonal
from jaxtyping import Array, Bool, Float

from jaxdl import kernels
from jaxdl.batch import Context
from jaxdl.layers.dropout import Dropout
from jaxdl.layers.recurrence import Carry, Cell, Weights, recur, recur_compiled

Inputs = Float[Array, "batch time features"]


def _rnn(x: Array, recurrent: Array, carry: Carry) -> Carry:
    """h' = tanh(W x + U h + b) (Elman 1990)."""
    del carry
    return (jnp.tanh(x + recurrent),)


def _lstm(x: Array, recurrent: Array, carry: Carry) -> Carry:
    """Blocks i, f, g, o (Hochreiter and Schmidhuber 1997, Gers et al. 2000)."""
    i, f, g, o = jnp.split(x + recurrent, 4, axis=-1)
    memory = jax.nn.sigmoid(f) * carry[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(memory), memory


def _gru(x: Array, recurrent: Array, carry: Carry) -> Carry:
    """Blocks r, z, n; the reset gate acts after the product, as in Flax, PyTorch and
    cuDNN (Cho et al. 2014, version 1, had it before)."""
    x_r, x_z, x_n = jnp.split(x, 3, axis=-1)
    h_r, h_z, h_n = jnp.split(recurrent, 3, axis=-1)
    reset, update = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
    candidate = jnp.tanh(x_n + reset * h_n)
    return ((1.0 - update) * candidate + update * carry[0],)


CELLS = {
    "rnn": Cell(1, 1, True, _rnn),
    "lstm": Cell(4, 2, True, _lstm),
    "gru": Cell(3, 1, False, _gru),
}


class Recurrent(nn.Module):
    """A layer of recurrent cells; equal to Flax's ``SimpleCell``, ``OptimizedLSTMCell``
    and ``GRUCell`` step by step.

    The inputs of all steps are projected by one product before the scan. Recurrent
    weights begin orthogonal, LSTM's forget gate with bias 1 (Jozefowicz et al.
    2015). A step that is not valid leaves the carry as it is and puts out 0, so that
    padding never matters, at either end. In bfloat16 products are computed so, gates
    and the carry in float32.

    Parameters: ``kernel`` [inputs, gates * features], ``recurrent_kernel`` [features,
    gates * features], ``bias`` [gates * features] and, of GRU, ``recurrent_bias``
    [features], which its reset gate scales.

    Attributes:
      features: the size of the hidden state.
      cell: "rnn", "lstm" or "gru".
      reverse: whether time runs from the last step to the first; outputs stay at
        their inputs' places.
      recurrent_dropout: the rate of dropout on the hidden state where it enters the
        step, one mask an example for all of time (Gal and Ghahramani 2016); None
        takes ``context.dropout``.
      dtype: of the computation; None infers it from input and parameters.

    Raises:
      ValueError: an unknown cell.
    """

    features: int
    cell: str = "lstm"
    reverse: bool = False
    recurrent_dropout: float | None = 0.0
    dtype: Dtype | None = None

    @nn.compact
    def __call__(
        self,
        x: Inputs,
        context: Context,
        valid: Bool[Array, "batch time"] | None = None,
        carry: Carry | None = None,
    ) -> tuple[Float[Array, "batch time hidden"], Carry]:
        """Outputs of every step, and the carry after the last valid one.

        Args:
          x: the inputs.
          context: whether this is training, for recurrent dropout.
          valid: False at steps that are padding; None where all are real.
          carry: where to begin, as an earlier call or ``initial_carry`` gave it; None
            begins with zeros.
        """
        cell = cell_named(self.cell)
        x, kernel, recurrent_kernel, bias, recurrent_bias = self._weights(x, cell)
        start = self.initial_carry(x.shape[0]) if carry is None else carry
        start = tuple(h.astype(jnp.promote_types(x.dtype, jnp.float32)) for h in start)
        ones = jnp.ones_like(start[0])
        mask = Dropout(self.recurrent_dropout)(ones, context)
        # Where nothing drops, dropout gives back what it was given.
        kept = None if mask is ones else mask
        compiled = self.cell == "lstm" and kept is None
        if compiled and kernels.supports(x.dtype) and len(x):
            projected = x @ kernel + bias
            return recur_compiled(
                self.reverse, projected, recurrent_kernel, start, valid
            )
        # Time leads from here on, so that every step is one piece of memory.
        projected = jnp.swapaxes(x, 0, 1) @ kernel + bias
        real = None if valid is None else jnp.swapaxes(valid, 0, 1)[..., None]
        weights = Weights(recurrent_kernel, recurrent_bias, kept)
        outputs, last = recur(cell, self.reverse, projected, weights, start, real)
        return jnp.swapaxes(outputs, 0, 1), last

    @nn.nowrap
    def initial_carry(self, batch: int) -> Carry:
        """Zeros for so many examples."""
        zeros = jnp.zeros((batch, self.features))
        return (zeros,) * cell_named(self.cell).states

    def _weights(self, x: Inputs, cell: Cell) -> list[Any]:
        """Inputs and parameters in the computation's dtype."""
        size, width = self.features, cell.gates * self.features
        kernel = self.param("kernel", lecun_normal(), (x.shape[-1], width))
        recurrent = self.param("recurrent_kernel", orthogonal_blocks, (size, width))
        bias, within = self.param("bias", gate_bias(self.cell), (width,)), None
        if self.cell == "gru":
            within = self.param("recurrent_bias", nn.initializers.zeros, (size,))
            within = jnp.concatenate([jnp.zeros((2 * size,), within.dtype), within])
        return nn.dtypes.promote_dtype(
            x, kernel, recurrent, bias, within, dtype=self.dtype
        )


class Bidirectional(nn.Module):
    """Two recurrent layers, one of which reads backwards; outputs side by side
    (Schuster and Paliwal 1997).

    Attributes: as of ``Recurrent``; each direction has so many features.
    """

    features: int
    cell: str = "lstm"
    recurrent_dropout: float | None = 0.0
    dtype: Dtype | None = None

    @nn.compact
    def __call__(
        self,
        x: Inputs,
        context: Context,
        valid: Bool[Array, "batch time"] | None = None,
        carry: tuple[Carry, Carry] | None = None,
    ) -> tuple[Float[Array, "batch time hidden"], tuple[Carry, Carry]]:
        """Outputs [batch, time, 2 * features] and the carries of both directions."""
        outputs, carries = [], []
        for name, start in zip(
            ("forward", "backward"), carry or (None, None), strict=True
        ):
            layer = Recurrent(
                self.features,
                self.cell,
                name == "backward",
                self.recurrent_dropout,
                self.dtype,
                name=name,
            )
            output, last = layer(x, context, valid, start)
            outputs.append(output)
            carries.append(last)
        return jnp.concatenate(outputs, axis=-1), (carries[0], carries[1])


def cell_named(name: str) -> Cell:
    """The cell of that name.

    Raises:
      ValueError: it is unknown.
    """
    if name not in CELLS:
        raise ValueError(f"unknown cell {name!r}: give one of {', '.join(CELLS)}")
    return CELLS[name]


def orthogonal_blocks(
    key: Array, shape: tuple[int, int], dtype: Dtype = jnp.float32
) -> Array:
    """An orthogonal matrix for every gate, side by side."""
    size, width = shape
    make = jax.vmap(lambda key: orthogonal()(key, (size, size), dtype), out_axes=1)
    return make(jax.random.split(key, width // size)).reshape(shape)


def gate_bias(cell: str) -> Callable[..., Array]:
    """Zeros; ones for LSTM's forget gate."""

    def init(key: Array, shape: tuple[int], dtype: Dtype = jnp.float32) -> Array:
        del key
        if cell != "lstm":
            return jnp.zeros(shape, dtype)
        size = shape[0] // 4
        return jnp.zeros(shape, dtype).at[size : 2 * size].set(1)

    return init
