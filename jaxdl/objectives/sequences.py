"""The objective of writing a sequence: every next token, given those before it."""

from jaxtyping import Array, Float, Int

from jaxdl.metrics import Mean, accuracy, mean
from jaxdl.objectives import losses
from jaxdl.objectives.supervised import Forward, Objective, Prepare, supervised

# The token that stands where a sequence has ended.
PADDING = 0


def next_token(forward: Forward, prepare: Prepare | None = None) -> Objective:
    """Softmax cross-entropy of target tokens [batch, time], padding (0) left out.

    The loss is a sum over tokens and its count is of tokens, not of examples: a
    long target then weighs as much as its tokens, however examples are shared out
    over batches and devices. Metrics: ``loss`` and ``accuracy``, the share of tokens
    that are right when all before them are given (teacher forcing).

    Args:
      forward: gives logits [batch, time, classes].
      prepare: prepare(batch, key, training) -> batch, inside the step; it sets what
        the model reads of the targets (all but the last, behind a first token).
    """
    return supervised(forward, losses.cross_entropy, _measure, prepare, _weigh)


def _weigh(
    targets: Int[Array, "batch time"], mask: Float[Array, " batch"]
) -> Float[Array, "batch time"]:
    return mask[:, None] * (targets != PADDING)


def _measure(
    logits: Float[Array, "batch time classes"],
    targets: Int[Array, "batch time"],
    mask: Float[Array, "batch time"],
) -> dict[str, Mean]:
    return {"accuracy": mean(accuracy(logits, targets), mask)}
