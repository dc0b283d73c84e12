"""Measure what a written token costs, with the cache and without, by what came before.

A Transformer of the asked size, not trained, writes greedily after prompts of several
lengths: once keeping keys and values, once reading all of the text anew for every
token. First it is checked that both write the same tokens.
"""

import dataclasses
import functools
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.table import Table

from experiments import common, flags
from experiments.flags import option
from jaxdl import models
from jaxdl.generation import generate
from jaxdl.runs import screen

NAME = "generation_speed"
ROUNDS = 5


@dataclasses.dataclass(frozen=True)
class Settings:
    """What ``generation_speed`` lets one set."""

    prompts: str = option("64,128,256,512", "lengths of prompts, in tokens")
    tokens: int = option(32, "tokens to write after each")
    width: int = option(128, "features of a layer")
    layers: int = option(4, "how many layers")
    heads: int = option(4, "attention heads")
    classes: int = option(67, "symbols known")
    batch_size: int = option(1, "texts written side by side")
    json: bool = option(False, "print JSON, and nothing else, on stdout")
    traceback: bool = option(False, "show the traceback of an error")


def anew(model: Any, params: Any, text: jax.Array, start: int, length: int) -> Any:
    """``text`` [batch, total] with ``length`` tokens written from place ``start`` on,
    the whole text read for each: what stands behind a place changes nothing there."""

    def write(at: jax.Array, text: jax.Array) -> jax.Array:
        logits = model.apply({"params": params}, text)[:, at - 1]
        return text.at[:, at].set(jnp.argmax(logits, axis=-1).astype(text.dtype))

    return jax.lax.fori_loop(start, start + length, write, text)


def kept(
    model: Any, params: Any, state: Any, token: jax.Array, start: int, length: int
) -> Any:
    """The last of ``length`` tokens written greedily from place ``start`` on, with the
    caches in ``state``; ``token`` [batch] stands before."""

    def write(carry: tuple[jax.Array, Any], at: jax.Array) -> tuple[Any, None]:
        token, state = carry
        logits, state = model.apply(
            {"params": params}, token[:, None], state, at - 1, method="decode"
        )
        return (jnp.argmax(logits[:, -1], axis=-1).astype(token.dtype), state), None

    places = jnp.arange(start, start + length)
    (token, _), _ = jax.lax.scan(write, (token, state), places)
    return token


def measure(settings: Settings) -> list[dict[str, Any]]:
    """Milliseconds a token after each prompt: ``prompt``, ``cached``, ``anew``.

    Raises:
      ValueError: in one line, for a size that cannot be used.
      RuntimeError: the two ways write different tokens.
    """
    prompts = common.sizes("prompts", settings.prompts, "lengths")
    for name in ("tokens", "width", "layers", "heads", "batch_size"):
        if getattr(settings, name) < 1:
            raise ValueError(f"--{name} is {getattr(settings, name)}: give 1 or more.")
    if settings.classes < 2:
        raise ValueError(f"--classes is {settings.classes}: give 2 or more.")
    sizes = {k: getattr(settings, k) for k in ("classes", "width", "layers", "heads")}
    total = max(prompts) + settings.tokens
    model = models.create("transformer_lm", max_length=total, **sizes)
    draw = np.random.default_rng(0)
    text = draw.integers(0, settings.classes, (settings.batch_size, total), np.int32)
    params, _ = models.init(model, jax.random.key(0), text[:, :8])
    return [_row(settings, model, params, text, prompt) for prompt in prompts]


def _row(
    settings: Settings, model: Any, params: Any, text: np.ndarray, prompt: int
) -> dict[str, Any]:
    tokens, given = settings.tokens, jnp.asarray(text[:, :prompt])
    padded = jnp.pad(given, ((0, 0), (0, tokens)))
    reread = jax.jit(functools.partial(anew, model), static_argnums=(2, 3))
    cached = jax.jit(functools.partial(kept, model), static_argnums=(3, 4))
    told = np.asarray(reread(params, padded, prompt, tokens))[:, prompt:]
    written = generate(model, params, given, tokens, jax.random.key(0), temperature=0.0)
    if not np.array_equal(told, written):
        raise RuntimeError(
            f"after {prompt} tokens the cache writes others than reading anew does"
        )
    # What the caches hold of the prompt makes no difference to the time.
    state = model.apply({"params": params}, settings.batch_size, method="start")
    last = given[:, -1]
    ways = {
        "cached": lambda: cached(params, state, last, prompt, tokens),
        "anew": lambda: reread(params, padded, prompt, tokens),
    }
    seconds = {name: _seconds(way) for name, way in ways.items()}
    return {"prompt": prompt, **{k: 1000 * s / tokens for k, s in seconds.items()}}


def _seconds(function: Callable[[], Any]) -> float:
    """Median of some rounds, compiling apart."""
    jax.block_until_ready(function())
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main(settings: Settings) -> int:
    """Print the figures; 0."""
    rows = measure(settings)
    if settings.json:
        print(json.dumps(rows, indent=2))
        return 0
    table = Table(title=f"milliseconds a token, {jax.default_backend()}")
    for column in ("tokens before", "with the cache", "reading anew"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            f"{row['prompt']:,}", f"{row['cached']:.2f}", f"{row['anew']:.2f}"
        )
    screen.console().print(table)
    return 0


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
