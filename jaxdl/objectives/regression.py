"""The objective that names a number, or several."""

from collections.abc import Callable
from functools import partial
from typing import Any

from jaxtyping import Array, Float, Key

from jaxdl.batch import Context
from jaxdl.metrics import RootMean, mean
from jaxdl.objectives import losses
from jaxdl.objectives.supervised import (
    Forward,
    Loss,
    ModelState,
    Objective,
    Params,
    Prepare,
    supervised,
)

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
    unit: Callable[[ModelState], Any] | None = None,
    **options: float,
) -> Objective:
    """The error of predicted values. Metrics: ``loss``, ``mae`` and ``rmse``.

    Args:
      forward: gives values of the shape of the targets ([batch, 1] fits [batch]).
      loss: ``mse``, ``mae``, ``huber`` or ``sum_squared_error``.
      prepare: prepare(batch, key, training) -> batch, inside the step.
      unit: unit(model_state), the target's deviation: the loss is that of outputs and
        targets divided by it, so that one learning rate suits targets of any unit;
        ``mae`` and ``rmse`` stay in the target's own.
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

    if unit is None:
        return supervised(forward, chosen, measure, prepare)

    def with_unit(
        params: Params,
        model_state: ModelState,
        inputs: Any,
        context: Context,
        key: Key[Array, ""] | None,
    ) -> tuple[Any, ModelState]:
        outputs, new = forward(params, model_state, inputs, context, key)
        return (outputs, unit(model_state)), new

    def in_units(found: tuple[Array, Array], targets: Array) -> Float[Array, " batch"]:
        outputs, size = found
        return chosen(outputs / size, targets.reshape(outputs.shape) / size)

    def measure_first(
        found: tuple[Array, Array], targets: Array, mask: Float[Array, " batch"]
    ) -> dict[str, Any]:
        return measure(found[0], targets, mask)

    return supervised(with_unit, in_units, measure_first, prepare)
