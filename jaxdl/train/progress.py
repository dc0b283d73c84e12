"""Progress: what was best, and when to stop; pure, and part of the checkpoint.

``observe(rule, progress, value, step)`` is a function of arrays, so that it
vmaps over the members of a population as the step does.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from jaxdl.metrics import direction
from jaxdl.train.state import State


@dataclasses.dataclass(frozen=True)
class Rule:
    """When to stop, and what counts as better.

    Attributes:
      monitor: the validation metric looked at.
      patience: validation checks without improvement before stopping; 0 never
        stops early.
      min_delta: by how much a value must be better to count as improvement.
      plateau_patience: checks without improvement before the learning rate is
        multiplied by ``plateau_factor``; 0 leaves the rate alone.
      plateau_factor: in (0, 1).
      mode: "min" or "max"; by default the metric's own direction.
    """

    monitor: str = "loss"
    patience: int = 0
    min_delta: float = 0.0
    plateau_patience: int = 0
    plateau_factor: float = 0.5
    mode: str = ""

    def __post_init__(self) -> None:
        if not self.mode:
            object.__setattr__(self, "mode", direction(self.monitor))
        if self.mode not in ("min", "max"):
            raise ValueError(f"mode is {self.mode!r}: give 'min' or 'max'.")
        if self.patience < 0 or self.plateau_patience < 0:
            raise ValueError(
                f"patience is {min(self.patience, self.plateau_patience)}: give the "
                "number of validation checks to wait, or 0 for never."
            )
        if not self.min_delta >= 0:
            raise ValueError(f"min_delta is {self.min_delta}: give 0 or more.")
        if not 0 < self.plateau_factor < 1:
            raise ValueError(
                f"plateau_factor is {self.plateau_factor}: give a number in (0, 1)."
            )


class Progress(struct.PyTreeNode):
    """The running memory of ``observe``.

    Attributes:
      best_value: of the monitored metric; infinitely bad before the first check.
      best_step: step of the best value, -1 before the first finite one.
      checks: validation checks since the last improvement.
      plateau_checks: the same since the last cut of the learning rate.
      factor: what plateaus have left of the learning rate.
      rate: the learning rate the run began with.
      stopped: whether patience has run out.
    """

    best_value: Float[Array, ""]
    best_step: Int[Array, ""]
    checks: Int[Array, ""]
    plateau_checks: Int[Array, ""]
    factor: Float[Array, ""]
    rate: Float[Array, ""]
    stopped: Bool[Array, ""]


def start(rule: Rule, state: State) -> Progress:
    """Progress before the first check."""
    worst = jnp.inf if rule.mode == "min" else -jnp.inf
    rate = getattr(state, "hyper", {}).get("learning_rate", 0.0)
    return Progress(
        best_value=jnp.asarray(worst, jnp.float32),
        best_step=jnp.asarray(-1, jnp.int32),
        checks=jnp.asarray(0, jnp.int32),
        plateau_checks=jnp.asarray(0, jnp.int32),
        factor=jnp.asarray(1.0, jnp.float32),
        rate=jnp.array(rate, jnp.float32),
        stopped=jnp.asarray(False),
    )


def observe(
    rule: Rule,
    progress: Progress,
    value: float | Float[Array, ""],
    step: int | Int[Array, ""],
    xp: Any = jnp,
) -> Progress:
    """Progress after a validation check; a value that is not finite is no gain.

    ``xp`` is NumPy where the host computes it: by JAX a check took 2.8 ms more,
    with cores that had nothing else to do.
    """
    sign = 1.0 if rule.mode == "min" else -1.0
    value = xp.asarray(value, xp.float32)
    finite = xp.isfinite(value)
    gain = sign * (progress.best_value - value)
    # The first finite value always counts: an infinite best has gain infinity.
    improved = finite & (gain > rule.min_delta) & ~progress.stopped
    checks = xp.where(improved, 0, progress.checks + 1)
    plateau_checks = xp.where(improved, 0, progress.plateau_checks + 1)
    cut = (plateau_checks >= rule.plateau_patience) & (rule.plateau_patience > 0)
    return progress.replace(
        best_value=xp.where(improved, value, progress.best_value),
        best_step=xp.where(improved, step, progress.best_step).astype(xp.int32),
        checks=checks,
        plateau_checks=xp.where(cut, 0, plateau_checks),
        factor=xp.where(cut, progress.factor * rule.plateau_factor, progress.factor),
        stopped=progress.stopped | ((checks >= rule.patience) & (rule.patience > 0)),
    )


def with_rate(state: State, progress: Progress) -> State:
    """The state with the plateau factor in its learning rate."""
    if "learning_rate" not in getattr(state, "hyper", {}):
        return state
    # On the devices of the old one, or the step would compile anew.
    where = state.hyper["learning_rate"].sharding
    rate = jax.device_put(progress.rate * progress.factor, where)
    return state.replace(hyper={**state.hyper, "learning_rate": rate})
