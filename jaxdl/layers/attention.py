"""Attention: every query takes a mean of values, weighted by how its key fits.

Multi-head (Vaswani et al. 2017) and grouped-query (Ainslie et al. 2023): several
heads of queries share one head of keys and values. On accelerators it is
``jax.nn.dot_product_attention``, by its fused kernel where there is one; on CPU by
jaxdl's compiled kernel where that is built and all of a sequence looks at itself, else
the same sums in another order, which took 6.5 ms forward and backward where the
library's took 11.3 (16 sequences of 128, 4 heads of 32, two cores).
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Bool, Float, Int

from jaxdl import kernels
from jaxdl.layers.dense import Dense
from jaxdl.layers.positions import rotary

Heads = Float[Array, "batch time heads features"]
# True where a query may look at a key; axes of size 1 stand for all.
Mask = Bool[Array, "batch heads query key"]

# What a forbidden key scores: its weight is 0 to the bit, and a query that may look
# nowhere (padding) still gets numbers.
_FORBIDDEN = -1e30


class KeysValues(NamedTuple):
    """What is looked at: keys and values [batch, time, kv_heads, features].

    Of a fixed length it is a cache: ``write_cache`` fills it as tokens come.
    """

    keys: Heads
    values: Heads


def write_cache(
    cache: KeysValues, new: KeysValues, start: int | Int[Array, ""]
) -> KeysValues:
    """The cache with ``new`` in it, from the place ``start`` on, which may be traced.

    The caller sees to it that it ends within the cache.
    """

    def write(old: Array, added: Array) -> Array:
        added = added.astype(old.dtype)
        return jax.lax.dynamic_update_slice_in_dim(old, added, start, axis=1)

    return KeysValues(write(cache.keys, new.keys), write(cache.values, new.values))


def valid_mask(valid: Bool[Array, "batch key"]) -> Mask:
    """Every query may look at every key that is no padding."""
    return valid[:, None, None, :]


def cache_mask(place: Int[Array, " query"], length: int) -> Mask:
    """Queries at these places may look at a cache up to their own."""
    return (jnp.arange(length) <= place[:, None])[None, None]


def attend(
    queries: Heads, memory: KeysValues, mask: Mask | None = None, causal: bool = False
) -> Heads:
    """softmax(queries keys^T / sqrt(features)) values, head by head.

    Args:
      queries: [batch, query, heads, features].
      memory: keys and values [batch, key, kv_heads, features]; heads is a multiple
        of kv_heads, and heads i g to i g + g - 1 share the i-th.
      mask: which keys a query may look at; None: all.
      causal: a query may look at keys up to its own place only.
    """
    if jax.default_backend() == "cpu":
        if mask is None and queries.shape[1] > 1 and kernels.supports(queries.dtype):
            return kernels.attend(queries, memory.keys, memory.values, causal)
        return _attend_on_cpu(queries, memory, mask, causal)
    return jax.nn.dot_product_attention(
        queries,
        memory.keys,
        memory.values,
        mask=mask,
        is_causal=causal,
        implementation=_implementation(queries),
    )


def _implementation(queries: Heads) -> Literal["cudnn"] | None:
    """cuDNN's fused kernel for what it takes: half precision, heads of 8 to 128."""
    half = queries.dtype in (jnp.bfloat16, jnp.float16)
    fits = queries.shape[-1] % 8 == 0 and queries.shape[-1] <= 128
    fused = jax.default_backend() == "gpu" and half and fits
    return "cudnn" if fused else None


def _attend_on_cpu(
    queries: Heads, memory: KeysValues, mask: Mask | None, causal: bool
) -> Heads:
    scores = _scores(queries, memory.keys, mask, causal)
    largest = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
    weights = jnp.exp(scores - largest)
    # Dividing sums of features, not weights, saves a pass over [query, key].
    total = jnp.sum(weights, axis=-1, keepdims=True)
    values = memory.values.swapaxes(1, 2)
    grouped = weights.astype(values.dtype).reshape(
        *values.shape[:2], -1, values.shape[2]
    )
    sums = jax.lax.dot_general(grouped, values, (((3,), (2,)), ((0, 1), (0, 1))))
    sums = sums.reshape(*scores.shape[:3], -1) / total.astype(values.dtype)
    return sums.swapaxes(1, 2)


def attention_weights(
    queries: Heads,
    keys: Heads,
    mask: Mask | None = None,
    causal: bool = False,
) -> Float[Array, "batch heads query key"]:
    """The weights by which ``attend`` means, for pictures; they add up to 1."""
    return jax.nn.softmax(_scores(queries, keys, mask, causal), axis=-1)


def _scores(
    queries: Heads, keys: Heads, mask: Mask | None, causal: bool
) -> Float[Array, "batch heads query key"]:
    """How well each key fits each query, in float32 or more."""
    batch, time, heads, features = queries.shape
    kv_heads, dtype = keys.shape[2], jnp.promote_types(queries.dtype, jnp.float32)
    # Heads that share keys are further queries of one product.
    grouped = (queries * features**-0.5).swapaxes(1, 2)
    grouped = grouped.reshape(batch, kv_heads, -1, features)
    scores = jax.lax.dot_general(
        grouped,
        keys.swapaxes(1, 2),
        (((3,), (3,)), ((0, 1), (0, 1))),
        preferred_element_type=dtype,
    ).reshape(batch, heads, time, keys.shape[1])
    if causal:
        before = cache_mask(jnp.arange(time), keys.shape[1])
        mask = before if mask is None else before & mask
    return scores if mask is None else jnp.where(mask, scores, _FORBIDDEN)


class Attention(nn.Module):
    """Multi-head attention in two moves, so that what is looked at may be kept.

    ``memory = attention.look_at(x, place)`` gives the keys and values of x, of another
    sequence (cross attention), or of one more token to be written to a cache;
    ``attention(x, memory, ...)`` looks at them. Weights are put out as the collection
    "attention" where a caller asks for it (``jaxdl.models.attention_maps``).

    Attributes:
      width: features of the inputs and the outputs.
      heads: of queries; they share the width.
      kv_heads: of keys and values; 0 takes as many as of queries.
      rotary: turn queries and keys by their places.
      dtype: of the computation; parameters are float32.

    Raises:
      ValueError: heads do not divide the width, or kv_heads the heads.
    """

    width: int
    heads: int
    kv_heads: int = 0
    rotary: bool = False
    dtype: Dtype = jnp.float32

    def setup(self) -> None:
        groups = self.kv_heads or self.heads
        if self.heads < 1 or self.width % self.heads:
            raise ValueError(
                f"a width of {self.width} does not divide into {self.heads} heads"
            )
        if groups < 1 or self.heads % groups:
            raise ValueError(
                f"{self.heads} heads do not divide into groups that share {groups} "
                "heads of keys and values: give a kv_heads that divides heads"
            )
        features = self.width // self.heads
        self.query = self._projection(self.heads * features)
        self.key = self._projection(groups * features)
        self.value = self._projection(groups * features)
        self.output = self._projection(self.width)

    def _projection(self, features: int) -> nn.Dense:
        return Dense(features, use_bias=False, dtype=self.dtype)

    def look_at(
        self,
        x: Float[Array, "batch key width"],
        place: Int[Array, " key"] | None = None,
    ) -> KeysValues:
        """Keys and values of x, whose tokens stand at these places (if rotary)."""
        keys, values = self._by_head(self.key, x), self._by_head(self.value, x)
        return KeysValues(self._turned(keys, place), values)

    def __call__(
        self,
        x: Float[Array, "batch query width"],
        memory: KeysValues,
        mask: Mask | None = None,
        place: Int[Array, " query"] | None = None,
        causal: bool = False,
    ) -> Float[Array, "batch query width"]:
        """What x, whose tokens stand at these places, finds in the memory."""
        queries = self._turned(self._by_head(self.query, x), place)
        if self.is_mutable_collection("attention") and not self.is_initializing():
            weights = attention_weights(queries, memory.keys, mask, causal)
            self.put_variable("attention", "weights", weights)
        found = attend(queries, memory, mask, causal)
        return self.output(found.reshape(-1, self.width)).reshape(x.shape)

    def _by_head(self, project: nn.Dense, x: Float[Array, "batch time width"]) -> Heads:
        # Flattened to two axes: XLA multiplies and transposes those faster on CPU.
        flat = project(x.reshape(-1, x.shape[-1]))
        return flat.reshape(*x.shape[:2], -1, self.width // self.heads)

    def _turned(self, x: Heads, place: Int[Array, " time"] | None) -> Heads:
        if not self.rotary:
            return x
        return rotary(x, jnp.arange(x.shape[1]) if place is None else place)
