"""The objective of language models: what comes next, in every measure of surprise."""

import math

from jaxtyping import Array, Key

from jaxdl.batch import Batch
from jaxdl.metrics import ExpMean, Mean
from jaxdl.objectives.sequences import next_token
from jaxdl.objectives.supervised import (
    Forward,
    Hyper,
    ModelState,
    Objective,
    Params,
    Result,
)


def language(forward: Forward, characters: bool = True) -> Objective:
    """``next_token``, its loss told as perplexity and bits per character too.

    Metrics: ``loss`` (nats a token), ``perplexity`` (e to it) and, where tokens are
    characters, ``bits_per_character``.

    Args:
      forward: gives logits [batch, time, classes].
      characters: whether tokens are characters.
    """
    inner = next_token(forward)

    def objective(
        params: Params,
        model_state: ModelState,
        hyper: Hyper,
        batch: Batch,
        key: Key[Array, ""] | None,
        training: bool,
    ) -> Result:
        (total, count), (model_state, _) = inner(
            params, model_state, hyper, batch, key, training
        )
        metrics = {"loss": Mean(total, count), "perplexity": ExpMean(total, count)}
        if characters:
            metrics["bits_per_character"] = Mean(total / math.log(2), count)
        return (total, count), (model_state, metrics)

    return objective
