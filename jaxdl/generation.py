"""Writing on: what a language model says next, again and again.

Everything is pure and compiled: one scan over the tokens, each of which costs the
same however many came before, since a Transformer keeps its keys and values and a
recurrent model its state.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxdl.batch import example_keys

Logits = Float[Array, "batch classes"]


def adjust(
    logits: Logits,
    temperature: float | Float[Array, "..."] = 1.0,
    top_k: int | Int[Array, ""] = 0,
    top_p: float | Float[Array, ""] = 1.0,
) -> Logits:
    """Logits from which to draw; those of tokens that are left out are -inf.

    Args:
      logits: [batch, classes].
      temperature: what logits are divided by, one for all or one an example; above 1
        draws are more random, below 1 less. 0 keeps the likeliest token alone.
      top_k: keep so many of the likeliest tokens (Fan et al. 2018); 0: all.
      top_p: of those, keep the smallest set of the likeliest whose probabilities,
        after the temperature, add up to at least this (Holtzman et al. 2020).
    """
    classes = logits.shape[-1]
    temperature = jnp.broadcast_to(
        jnp.asarray(temperature, logits.dtype), logits.shape[:1]
    )
    greedy = temperature == 0
    scaled = logits / jnp.where(greedy, 1.0, temperature)[:, None]
    # Ranks decide, not thresholds: of equally likely tokens the first are kept.
    order = jnp.argsort(-scaled, axis=-1, stable=True)
    ranked = jnp.take_along_axis(scaled, order, axis=-1)
    places = jnp.arange(classes)
    few = jnp.where(jnp.asarray(top_k) > 0, top_k, classes)
    few = jnp.where(greedy, 1, few)[:, None]
    ranked = jnp.where(places < few, ranked, -jnp.inf)
    shares = jax.nn.softmax(ranked, axis=-1)
    before = jnp.cumsum(shares, axis=-1) - shares
    # The likeliest stays whatever rounding and a top_p of 0 say.
    kept = ((before < top_p) & (places < few)) | (places == 0)
    rank = jnp.argsort(order, axis=-1)
    return jnp.where(jnp.take_along_axis(kept, rank, axis=-1), scaled, -jnp.inf)


def sample(
    keys: Key[Array, " batch"], logits: Logits, **options: Any
) -> Int[Array, " batch"]:
    """A token drawn for each example by a key of its own; options are ``adjust``'s."""
    return jax.vmap(jax.random.categorical)(keys, adjust(logits, **options))


def generate(
    model: Any,
    params: Any,
    prompt: Int[Any, "batch prompt"],
    length: int,
    key: Key[Array, ""],
    *,
    temperature: float | Sequence[float] = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    forbidden: Sequence[int] = (),
) -> Int[Array, "batch length"]:
    """What a model writes after a prompt; equal to asking it anew for every token.

    A Transformer reads at most ``max_length`` tokens at once. When its cache is full
    it reads the later half of them again and goes on from there: a token then costs
    twice as much, and no window is longer than in training.

    Args:
      model: has ``start(batch) -> state`` and ``decode(tokens, state, time) ->
        (logits, state)``, and ``max_length`` where that is bounded.
      params: its parameters.
      prompt: at least one token.
      length: how many tokens to write.
      key: what is drawn is a function of the key, the example and the place.
      temperature, top_k, top_p: as for ``adjust``; they may change without compiling
        anew. A temperature of 0 is greedy.
      forbidden: tokens that are never written.

    Raises:
      ValueError: an empty prompt, or a length below 1.
    """
    prompt = jnp.asarray(prompt, jnp.int32)
    if prompt.shape[1] < 1 or length < 1:
        raise ValueError(
            f"a prompt of {prompt.shape[1]} tokens and a length of {length}: both are "
            "at least 1"
        )
    total = prompt.shape[1] + length
    plan = reading_plan(prompt.shape[1], total, getattr(model, "max_length", None))
    return _write(
        model,
        params,
        jnp.pad(prompt, ((0, 0), (0, length))),
        plan,
        key,
        {
            "temperature": jnp.asarray(temperature, jnp.float32),
            "top_k": jnp.asarray(top_k, jnp.int32),
            "top_p": jnp.asarray(top_p, jnp.float32),
        },
        tuple(forbidden),
    )[:, prompt.shape[1] :]


def reading_plan(
    prompt: int, total: int, most: int | None
) -> dict[str, Int[np.ndarray, " steps"]]:
    """Which token to read at each step of writing ``total`` tokens.

    Returns:
      ``token``: its place in the text; ``time``: how many tokens of the window came
      before it; ``new``: 1 where what follows it is yet to be written.
    """
    rows: list[tuple[int, int, int]] = []
    before = None
    for newest in range(prompt - 1, total - 1):
        start = window_start(newest, most)
        # A window that moved is read from its beginning; else the newest token.
        first = newest if start == before else start
        rows += [(at, at - start, int(at == newest)) for at in range(first, newest + 1)]
        before = start
    columns = np.array(rows, np.int32).T
    return dict(zip(("token", "time", "new"), columns, strict=True))


def window_start(newest: int, most: int | None) -> int:
    """Where the window begins that is read to write what follows the newest token:
    at a multiple of half the ``most`` tokens that it may hold."""
    if most is None:
        return 0
    half = max(1, most // 2)
    return max(0, -(-(newest + 1 - most) // half) * half)


@partial(jax.jit, static_argnames=("model", "forbidden"))
def _write(
    model: Any,
    params: Any,
    text: Int[Array, "batch total"],
    plan: dict[str, Int[Array, " steps"]],
    key: Key[Array, ""],
    options: dict[str, Array],
    forbidden: tuple[int, ...],
) -> Int[Array, "batch total"]:
    """The text with what follows its prompt filled in."""
    variables, batch = {"params": params}, text.shape[0]
    each = jnp.arange(batch, dtype=jnp.int32)
    never = jnp.asarray(forbidden, jnp.int32)

    def step(carry: tuple[Any, Any], row: dict[str, Array]) -> tuple[Any, None]:
        state, text = carry
        at = row["token"]
        read = jax.lax.dynamic_slice_in_dim(text, at, 1, axis=1)
        logits, state = model.apply(
            variables, read, state, row["time"], method="decode"
        )
        logits = logits[:, -1].at[:, never].set(-jnp.inf)
        keys = example_keys(jax.random.fold_in(key, at), each)
        drawn = sample(keys, logits, **options)
        known = jax.lax.dynamic_slice_in_dim(text, at + 1, 1, axis=1)[:, 0]
        following = jnp.where(row["new"] == 1, drawn, known)
        text = jax.lax.dynamic_update_slice_in_dim(
            text, following[:, None], at + 1, axis=1
        )
        return (state, text), None

    start = model.apply(variables, batch, method="start")
    (_, text), _ = jax.lax.scan(step, (start, text), plan)
    return text
