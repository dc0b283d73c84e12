"""Optimizers and schedules by name, as Optax transformations.

The learning rate and the weight decay are not compiled in: they live in the
optimizer's state (``optax.inject_hyperparams``), where ``with_hyper`` writes a
run's own numbers before every step. So they may change, or differ between
vmapped members, without recompiling.

Weight decay is decoupled (Loshchilov & Hutter 2019) for every optimizer: after
the gradient is preconditioned, ``decay * W`` is added and the sum is multiplied
by the learning rate. So ``adam`` with a decay is AdamW. It spares biases and norm
scales. The plain L2 penalty, which is part of the gradient, is
``jaxdl.objectives.losses.l2``; only under plain SGD are the two the same.
"""

import difflib
import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Num

from jaxdl import kernels
from jaxdl.parameters import Params, decay_mask, path_name, trainable_mask

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "Adam",
    "check_rate",
    "decay_mask",
    "make",
    "schedule",
    "trainable_mask",
    "with_hyper",
]

Rate = float | Num[Array, ""]
MaskOf = Callable[[Params], Any]
Scale = Callable[..., optax.GradientTransformation]
# factory(learning_rate, weight_decay, mask, **options)
Factory = Callable[..., optax.GradientTransformation]
Schedule = Callable[[Int[Array, ""]], Float[Array, ""]]


def check_rate(rate: float, name: str = "learning_rate", zero: bool = False) -> float:
    """The rate as a float, if it is one to train with.

    Raises:
      ValueError: if it is NaN, infinite, negative, or zero where zero is False.
    """
    rate = float(rate)
    if not math.isfinite(rate) or rate < 0 or (rate == 0 and not zero):
        bound = "at least 0" if zero else "above 0"
        raise ValueError(f"{name} is a finite number {bound}, got {rate}")
    return rate


def _decayed(scale: Scale) -> Factory:
    """scale(**options) gives the direction; then decay, then the rate."""

    def factory(
        learning_rate: Rate, weight_decay: Rate, mask: MaskOf, **options: Any
    ) -> optax.GradientTransformation:
        return optax.chain(
            scale(**options),
            optax.add_decayed_weights(weight_decay, mask),
            optax.scale_by_learning_rate(learning_rate),
        )

    factory.__signature__ = inspect.signature(scale)  # type: ignore[attr-defined]
    return factory


def _momentum(momentum: float = 0.9) -> optax.GradientTransformation:
    """v = a v - eta g; W += v. Here v is kept without its factor -eta."""
    return optax.trace(decay=momentum)


def _nesterov(momentum: float = 0.9) -> optax.GradientTransformation:
    """Nesterov's momentum as Sutskever et al. 2013 write it."""
    return optax.trace(decay=momentum, nesterov=True)


def _adagrad(eps: float = 1e-7) -> optax.GradientTransformation:
    """h += g g; W -= eta g / sqrt(h) (Duchi et al. 2011). h starts at 0."""
    # Optax puts eps inside the root: squared, it weighs what it does outside.
    return optax.scale_by_rss(initial_accumulator_value=0.0, eps=eps * eps)


def _rmsprop(decay: float = 0.9, eps: float = 1e-7) -> optax.GradientTransformation:
    """h = a h + (1 - a) g g; W -= eta g / (sqrt(h) + eps): Hinton's, as in Keras."""
    return optax.scale_by_rms(decay=decay, eps=eps, eps_in_sqrt=False)


def _adafactor(clipping_threshold: float = 1.0) -> optax.GradientTransformation:
    """Shazeer & Stern 2018; steps are relative to the size of each parameter."""
    return optax.chain(
        optax.scale_by_factored_rms(),
        optax.clip_by_block_rms(clipping_threshold),
        optax.scale_by_param_block_rms(),
    )


def _muon(beta: float = 0.95) -> optax.GradientTransformation:
    """Jordan 2024: orthogonalised momentum for kernels, Adam for the rest.

    Kernels of convolutions count as matrices [all but the last axis, last].
    Scaled to the size of Adam's steps (Liu et al. 2025), so that one learning
    rate, one fit for Adam, serves both.
    """

    def matrix(path: tuple[Any, ...], leaf: Any) -> Any:
        if leaf.ndim < 2 or "embedding" in path_name(path[-1:]):
            return None
        return optax.contrib.MuonDimensionNumbers(
            reduction_axis=tuple(range(leaf.ndim - 1)), output_axis=leaf.ndim - 1
        )

    # A rate of -1 leaves the bare direction; decay and rate follow outside.
    return optax.contrib.muon(
        learning_rate=-1.0,
        beta=beta,
        consistent_rms=0.2,
        muon_weight_dimension_numbers=partial(jax.tree_util.tree_map_with_path, matrix),
    )


def _lamb(
    learning_rate: Rate,
    weight_decay: Rate,
    mask: MaskOf,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-6,
) -> optax.GradientTransformation:
    """You et al. 2020: the decay is part of what the trust ratio measures."""
    return optax.lamb(
        learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay, mask=mask
    )


def _lars(
    learning_rate: Rate,
    weight_decay: Rate,
    mask: MaskOf,
    momentum: float = 0.9,
    trust_coefficient: float = 0.001,
) -> optax.GradientTransformation:
    """You et al. 2017; biases and norm scales get plain momentum."""
    return optax.lars(
        learning_rate,
        weight_decay=weight_decay,
        weight_decay_mask=mask,
        trust_coefficient=trust_coefficient,
        trust_ratio_mask=mask,
        momentum=momentum,
    )


OPTIMIZERS: dict[str, Factory] = {
    "sgd": _decayed(optax.identity),
    "momentum": _decayed(_momentum),
    "nesterov": _decayed(_nesterov),
    "adagrad": _decayed(_adagrad),
    "adadelta": _decayed(optax.scale_by_adadelta),
    "rmsprop": _decayed(_rmsprop),
    "adam": _decayed(optax.scale_by_adam),
    "adamw": _decayed(optax.scale_by_adam),
    "nadam": _decayed(partial(optax.scale_by_adam, nesterov=True)),
    "radam": _decayed(optax.scale_by_radam),
    "amsgrad": _decayed(optax.scale_by_amsgrad),
    "adamax": _decayed(optax.scale_by_adamax),
    "adabelief": _decayed(optax.scale_by_belief),
    "yogi": _decayed(optax.scale_by_yogi),
    "adan": _decayed(optax.scale_by_adan),
    "ademamix": _decayed(optax.contrib.scale_by_ademamix),
    "adopt": _decayed(optax.contrib.scale_by_adopt),
    "adafactor": _decayed(_adafactor),
    "lion": _decayed(optax.scale_by_lion),
    "lamb": _lamb,
    "lars": _lars,
    "muon": _decayed(_muon),
}


class Adam(optax.GradientTransformationExtraArgs):
    """Optax's transformation, with what a compiled kernel must be told to do the same
    in one pass (``jaxdl.train.updating``).

    Attributes:
      constants: of the moments.
      mask: params to a tree of bools, True where weights decay.
    """

    constants: kernels.Adam
    mask: MaskOf


def _with_constants(
    optimizer: optax.GradientTransformation, mask: MaskOf, options: Mapping[str, float]
) -> Adam:
    adam = Adam(*optimizer)
    adam.constants, adam.mask = kernels.Adam(**options), mask
    return adam


# What make() gives to every optimizer; the rest of a signature is its options.
_COMMON = ("learning_rate", "weight_decay", "mask")


def make(
    name: str,
    *,
    learning_rate: float = 1e-3,
    momentum: float | None = None,
    weight_decay: float = 0.0,
    mask: MaskOf = decay_mask,
    **options: Any,
) -> optax.GradientTransformation:
    """An optimizer whose learning rate and weight decay are set per step.

    Args:
      name: one of ``OPTIMIZERS``.
      learning_rate: until ``with_hyper`` writes another into the state.
      momentum: of those that have one (momentum, nesterov, lars; 0.9 if not
        given); refused by the others.
      weight_decay: decoupled; until ``with_hyper`` writes another.
      mask: params to a tree of bools, True where weights decay.
      **options: the optimizer's own (``b1``, ``b2``, ``eps``...).

    Raises:
      ValueError: for an unknown name or option, or a rate out of range.
    """
    _check_name(name, OPTIMIZERS, "optimizer")
    check_rate(learning_rate)
    check_rate(weight_decay, "weight_decay", zero=True)
    if momentum is not None:
        options["momentum"] = momentum
    factory = OPTIMIZERS[name]
    known = [p for p in inspect.signature(factory).parameters if p not in _COMMON]
    for option in options:
        if option not in known:
            raise ValueError(
                f"optimizer {name!r} has no option {option!r}: it takes "
                f"{', '.join(known) or 'no options'}"
            )

    def recipe(learning_rate: Rate, weight_decay: Rate) -> Any:
        return factory(learning_rate, weight_decay, mask, **options)

    # float32 even where parameters are bfloat16, in which 0.001 is off by 0.4%.
    optimizer = optax.inject_hyperparams(recipe, hyperparam_dtype=jnp.float32)(
        learning_rate, weight_decay
    )
    if name in ("adam", "adamw") and options.keys() <= set(kernels.Adam._fields):
        return _with_constants(optimizer, mask, options)
    return optimizer


_INJECTED = (optax.InjectHyperparamsState, optax.InjectStatefulHyperparamsState)


def with_hyper(opt_state: Any, hyper: Mapping[str, Any]) -> Any:
    """The optimizer state with the numbers of hyper written into it.

    Every ``inject_hyperparams`` state found, at any depth of chains, masks and
    partitions, takes those of its numbers that hyper names. Structure, shapes and
    dtypes stay as they were, so nothing recompiles.
    """

    def write(node: Any) -> Any:
        if not isinstance(node, _INJECTED):
            return node
        numbers = {
            name: jnp.broadcast_to(jnp.asarray(hyper[name], old.dtype), old.shape)
            if name in hyper
            else old
            for name, old in node.hyperparams.items()
        }
        return node._replace(
            hyperparams=numbers, inner_state=with_hyper(node.inner_state, hyper)
        )

    return jax.tree.map(
        write, opt_state, is_leaf=lambda node: isinstance(node, _INJECTED)
    )


# Schedules: a factor of the learning rate, 1.0 at its peak. done is how much of
# the steps after warm-up is over, 0 to 1.


def _constant(done: Float[Array, ""]) -> Float[Array, ""]:
    """The rate stays (and is left to the plateau rule, where that is on)."""
    return jnp.ones_like(done)


def _steps(
    done: Float[Array, ""], factor: float = 0.1, after: tuple[float, ...] = (0.5, 0.75)
) -> Float[Array, ""]:
    """Times factor at each of these shares of the steps (He et al. 2016)."""
    passed = sum((done >= share).astype(done.dtype) for share in after)
    return jnp.asarray(factor, done.dtype) ** passed


def _exponential(done: Float[Array, ""], end: float = 0.01) -> Float[Array, ""]:
    """The same factor every step, down to end."""
    return jnp.asarray(end, done.dtype) ** done


def _linear(done: Float[Array, ""], end: float = 0.0) -> Float[Array, ""]:
    """A straight line down to end."""
    return 1 - (1 - end) * done


def _cosine(done: Float[Array, ""], end: float = 0.0) -> Float[Array, ""]:
    """Half a cosine wave down to end (Loshchilov & Hutter 2017)."""
    return end + (1 - end) * (1 + jnp.cos(jnp.pi * done)) / 2


SCHEDULES: dict[str, Callable[..., Float[Array, ""]]] = {
    "constant": _constant,
    "step": _steps,
    "exponential": _exponential,
    "linear": _linear,
    "cosine": _cosine,
    "warmup_cosine": _cosine,
    "plateau": _constant,
}


def schedule(
    name: str, total_steps: int, *, warmup_steps: int | None = None, **options: Any
) -> Schedule:
    """What the learning rate is multiplied by at a step (from 0), at most 1.0.

    Args:
      name: one of ``SCHEDULES``. ``plateau`` is constant: that rule lives with
        early stopping, and changes ``hyper["learning_rate"]`` itself.
      total_steps: where the schedule ends; beyond it the last factor stays.
      warmup_steps: a straight line up to 1.0 before the schedule begins. If not
        given 0, and a twentieth of the steps for ``warmup_cosine``.
      **options: ``end`` (the last factor) of exponential, linear and cosine;
        ``factor`` and ``after`` (shares of the steps) of step.

    Raises:
      ValueError: for an unknown name or option, or steps out of range.
    """
    _check_name(name, SCHEDULES, "schedule")
    if warmup_steps is None:
        warmup_steps = -(-total_steps // 20) if name == "warmup_cosine" else 0
    if total_steps < 1 or not 0 <= warmup_steps <= total_steps:
        raise ValueError(
            f"schedule {name!r} over {total_steps} steps with {warmup_steps} of "
            "warm-up: there is at least 1 step, and warm-up is 0 to all of them"
        )
    shape = SCHEDULES[name]
    known = list(inspect.signature(shape).parameters)[1:]
    for option in options:
        if option not in known:
            raise ValueError(
                f"schedule {name!r} has no option {option!r}: it takes "
                f"{', '.join(known) or 'no options'}"
            )
    if "end" in options and not 0 <= options["end"] <= 1:
        raise ValueError(f"the end of a schedule is 0 to 1, got {options['end']}")

    def factor(step: Int[Array, ""]) -> Float[Array, ""]:
        step = jnp.asarray(step)
        after = jnp.maximum(step - warmup_steps, 0).astype(jnp.float32)
        done = jnp.minimum(after / max(total_steps - warmup_steps, 1), 1.0)
        rising = (step + 1).astype(jnp.float32) / max(warmup_steps, 1)
        # XLA may multiply by a rounded 1 / warmup_steps: 41 of 41 is 0.99999994 then.
        warmed = jnp.where(step + 1 >= warmup_steps, 1.0, rising)
        return shape(done, **options) * warmed

    return factor


def _check_name(name: str, known: Mapping[str, Any], what: str) -> None:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ValueError(
            f"unknown {what} {name!r}{hint}: choose one of {', '.join(known)}"
        )
