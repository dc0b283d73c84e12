"""What a language model is judged by, and what it shows: texts it writes."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdl import generation
from jaxdl.batch import Batch, context
from jaxdl.data.language import passages
from jaxdl.data.source import Source
from jaxdl.data.symbols import PADDING, SPECIAL, Symbols
from jaxdl.models.apply import Forward, in_batches
from jaxdl.models.lags import gradient_by_lag
from jaxdl.objectives.losses import cross_entropy
from jaxdl.runs import plots
from jaxdl.train import evaluation_params
from jaxdl.train.task import Findings, Shown

# Windows that are read at once, and from whose last token gradients are followed.
_WINDOWS = 64


def continued(
    model: Any,
    params: Any,
    known: Symbols,
    prompt: str,
    length: int,
    *,
    seed: int = 0,
    temperatures: Sequence[float] = (1.0,),
    top_k: int = 0,
    top_p: float = 1.0,
) -> list[str]:
    """What a model writes after a prompt, a text for each temperature; options as for
    ``generation.generate``. Padding and unknown symbols are never written."""
    row = known.encode(prompt)
    tokens = generation.generate(
        model,
        params,
        np.tile(row, (len(temperatures), 1)),
        length,
        jax.random.key(seed),
        temperature=temperatures,
        top_k=top_k,
        top_p=top_p,
        forbidden=range(len(SPECIAL)),
    )
    return [known.decode(written) for written in np.asarray(tokens)]


def samples(
    model: Any,
    known: Symbols,
    prompt: str,
    length: int,
    temperatures: Sequence[float],
    state: Any,
) -> Shown:
    """``samples.txt``: what a state writes after a prompt, by temperature."""
    texts = continued(
        model,
        evaluation_params(state),
        known,
        prompt,
        length,
        temperatures=temperatures,
    )
    parts = [
        f"--- temperature {temperature:g}\n{prompt}{text}"
        for temperature, text in zip(temperatures, texts, strict=True)
    ]
    return {"samples.txt": "\n\n".join(parts) + "\n"}


def token_losses(
    apply: Forward, state: Any, batch: Batch
) -> Float[Array, "batch time"]:
    """The loss of every token in nats; NaN where it is padding."""
    logits, _ = apply(
        evaluation_params(state),
        state.model_state,
        batch["inputs"],
        context(batch, state.hyper, False),
        None,
    )
    return _losses(logits, batch["targets"])


def _losses(logits: Array, targets: Array) -> Float[Array, "batch time"]:
    return jnp.where(targets == PADDING, jnp.nan, cross_entropy(logits, targets))


def findings(
    model: Any, state: Any, losses: Float[np.ndarray, "windows time"], source: Source
) -> Findings:
    """Pictures of how much context helps, and from how far back.

    Args:
      model: a language model.
      state: the best one.
      losses: of every token of the test part; NaN where it is padding.
      source: the test part.
    """
    whole = np.flatnonzero(~np.isnan(losses).any(axis=1))
    if not len(whole):
        return Findings({}, {})
    windows = source.fetch(whole[:_WINDOWS])
    norms = jax.jit(gradient_by_lag, static_argnums=0)(
        model, evaluation_params(state), windows["inputs"], windows["targets"][:, -1]
    )
    by_place = losses[whole].mean(axis=0)
    return Findings(
        metrics={},
        pictures={
            "loss_by_place.png": partial(plots.loss_by_place, by_place),
            "gradient_by_lag.png": partial(plots.gradient_by_lag, np.asarray(norms)),
        },
    )


def check_prompt(prompt: str, known: Symbols) -> str:
    """The prompt, if it is a text of known symbols.

    Raises:
      ValueError: it is empty, or names those that are not.
    """
    if not prompt:
        raise ValueError("--prompt is empty: give a text to begin with.")
    unknown = known.unknown(prompt)
    if unknown:
        shown = ", ".join(map(repr, unknown[:10]))
        raise ValueError(
            f"--prompt holds {shown}, which the training text does not: the run knows "
            f"{len(known.symbols)} {known.level}s."
        )
    return prompt


def surprise(
    loaded: Any, text: str, name: str, note: Callable[[str], Any]
) -> dict[str, float]:
    """Perplexity a token and, of characters, bits per character of a text.

    Args:
      loaded: a run, from ``jaxdl.runs.load``.
      text: what is read.
      name: where it is from.
      note: told in a line of symbols that the run does not know; they count as the
        one that stands for all unknown ones.

    Raises:
      ValueError: fewer than two tokens.
    """
    known: Symbols = loaded.preprocess
    tokens = known.encode(text)
    if len(tokens) < 2:
        raise ValueError(f"{name} holds {len(tokens)} {known.level}s: give 2 or more.")
    unknown = known.unknown(text)
    if unknown:
        shown = ", ".join(map(repr, unknown[:10]))
        note(f"{name}: {len(unknown)} {known.level}s are unknown ({shown})")
    windows = passages(tokens, *loaded.input_shape)
    whole = windows.fetch(np.arange(windows.size))
    rows = np.stack([whole["inputs"], whole["targets"]], axis=1)
    measure = jax.jit(lambda rows: _losses(loaded(rows[:, 0]), rows[:, 1]))
    found = in_batches(measure, rows, _WINDOWS)
    loss = float(np.nanmean(found.astype(np.float64)))
    bits = {"bits_per_character": loss / math.log(2)}
    return {
        **(bits if known.level == "character" else {}),
        "perplexity": math.exp(loss),
    }
