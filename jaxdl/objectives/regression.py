"""The objective that names a number, or several."""

from functools import partial
from typing import Any

from jaxtyping import Array, Float

from jaxdl.metrics import RootMean, mean
from jaxdl.objectives import losses
from jaxdl.objectives.supervised import Forward, Loss, Objective, Prepare, supervised

LOSSES: dict[str, Any] = {
    "mse": losses.mse,
    "mae": losses.mae,
    "huber": losses.huber,
    "sum_squared_error": losses.sum_squared_error,
}


def regression(
    forward: Forward,
    *,
    loss: str = "mse",
    prepare: Prepare | None = None,
    **options: float,
) -> Objective:
    """The error of predicted values. Metrics: ``loss``, ``mae`` and ``rmse``.

    Args:
      forward: gives values of the shape of the targets ([batch, 1] fits [batch]).
      loss: ``mse``, ``mae``, ``huber`` or ``sum_squared_error``.
      prepare: prepare(batch, key, training) -> batch, inside the step.
      **options: of the loss (``delta`` of huber, ``half`` of mse).

    Raises:
      ValueError: if the loss is unknown.
    """
    if loss not in LOSSES:
        raise ValueError(
            f"unknown regression loss {loss!r}: choose one of {', '.join(LOSSES)}"
        )
    chosen: Loss = partial(LOSSES[loss], **options)

    def measure(
        outputs: Array, targets: Array, mask: Float[Array, " batch"]
    ) -> dict[str, Any]:
        return {
            "mae": mean(losses.mae(outputs, targets), mask),
            "rmse": RootMean(*mean(losses.mse(outputs, targets), mask)),
        }

    return supervised(forward, chosen, measure, prepare)
