"""The step: ``(state, batch) -> (state, metrics)``, pure, run in any way.

Gradients, losses and metrics are *sums* over examples until the very end:
summed over microbatches, then over devices, and only then divided by the
count. So masks, unequal microbatches and devices with less to do add up.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from jaxdl import optimizers
from jaxdl.batch import Batch, inside_pmap, positions, size, sum_over_devices
from jaxdl.metrics import Mean, value
from jaxdl.parameters import trainable_mask
from jaxdl.train import updating
from jaxdl.train.nonfinite import (
    ON_NONFINITE,
    Metrics,
    culprit,
    goes_on,
    guarded,
    guarded_update,
)
from jaxdl.train.norms import global_norm
from jaxdl.train.state import State

Step = Callable[[Any, Batch], tuple[Any, Metrics]]
# (params, model_state, hyper, batch, key, training)
#   -> ((loss sum, count), (model_state, metrics))
Objective = Callable[..., tuple[tuple[Array, Array], tuple[PyTree, Metrics]]]
Schedule = Callable[[Array], Array]


def make_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    *,
    accumulate_steps: int = 1,
    clip_norm: float | None = None,
    freeze: str | None = None,
    penalty: Callable[[PyTree, Mapping[str, Array]], Array] | None = None,
    schedules: Mapping[str, Schedule] | None = None,
    on_nonfinite: str = "ignore",
) -> Step:
    """A pure training step from what is minimised and how.

    Args:
      objective: returns the loss as a pair (sum, count) over the examples.
      optimizer: any Optax transformation. Where it was built with
        ``inject_hyperparams`` its numbers are those of ``state.hyper``.
      accumulate_steps: microbatches a batch is cut into; must divide the
        examples that a device holds.
      clip_norm: bound on the global norm of the averaged gradient.
      freeze: regular expression over "/"-joined parameter paths that stay as
        they are (their moments stay zero).
      penalty: added to the averaged loss, e.g. ``l2``; no part of the loss.
      schedules: factor of a hyper's value at a step, by name.
      on_nonfinite: "ignore", or keep the state as it was in a step whose metrics
        or gradient are not finite ("skip" counts it as the metric ``skipped``;
        "stop" as ``nonfinite``, at which ``fit`` ends, and keeps the state from
        then on: see ``jaxdl.train.nonfinite``).

    Raises:
      ValueError: for an option out of range, here; for a batch that does not
        divide into microbatches, when the step is traced.
    """
    _check_options(accumulate_steps, clip_norm, on_nonfinite)
    schedules = dict(schedules or {})

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        hyper = scheduled(state.hyper, schedules, state.step)
        key = jax.random.fold_in(state.key, state.step)
        frozen = None if freeze is None else _frozen(state.params, freeze)
        grads, (count, model_state, metrics) = _gradient_sums(
            objective, state, hyper, batch, key, accumulate_steps, frozen
        )
        by_kernel = frozen is None and updating.in_one_pass(optimizer, state)
        gradient, norm, bad, extra = _finish_gradient(
            *(grads, count, state.params, hyper, penalty, clip_norm, frozen, metrics),
            by_kernel,
        )
        metrics = {**metrics, **extra, "gradient_norm": value(norm)}
        if "learning_rate" in hyper:
            metrics["learning_rate"] = value(hyper["learning_rate"])
        rest = model_state, on_nonfinite, bad, metrics
        if by_kernel:
            return _moved_in_one_pass(optimizer, state, gradient, hyper, *rest)
        return _moved(optimizer, state, gradient.leaves, hyper, frozen, *rest)

    return step


def _moved(
    optimizer: optax.GradientTransformation,
    state: State,
    grads: PyTree,
    hyper: Mapping[str, Array],
    frozen: PyTree | None,
    model_state: PyTree,
    on_nonfinite: str,
    bad: Array,
    metrics: Metrics,
) -> tuple[State, Metrics]:
    """State and metrics after the optimizer's update."""

    def update(old: State, grads: PyTree) -> State:
        params, opt_state = updating.updated(optimizer, old, grads, hyper, frozen)
        return _after(old, params, opt_state, model_state, hyper)

    return guarded_update(on_nonfinite, bad, update, grads, state, metrics)


def _moved_in_one_pass(
    optimizer: optimizers.Adam,
    state: State,
    gradient: updating.Gradient,
    hyper: Mapping[str, Array],
    model_state: PyTree,
    on_nonfinite: str,
    bad: Array,
    metrics: Metrics,
) -> tuple[State, Metrics]:
    """The same, where the kernel itself leaves parameters and moments as they are."""
    moves = goes_on(on_nonfinite, bad, state)
    params, opt_state = updating.updated_in_one_pass(
        optimizer, state, gradient, hyper, moves
    )
    new = _after(state, params, opt_state, model_state, hyper)
    old = state.replace(params=params, opt_state=opt_state)
    return guarded(on_nonfinite, bad, new, old, metrics)


def _after(
    old: State,
    params: PyTree,
    opt_state: PyTree,
    model_state: PyTree,
    hyper: Mapping[str, Array],
) -> State:
    return old.replace(
        step=old.step + 1,
        params=params,
        opt_state=opt_state,
        model_state=model_state,
        ema=updating.moving_average(old, hyper, params),
    )


def _check_options(accumulate_steps: int, clip_norm: Any, on_nonfinite: str) -> None:
    if accumulate_steps < 1:
        raise ValueError(f"accumulate_steps is {accumulate_steps}: give 1 or more.")
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(f"clip_norm is {clip_norm}: give a number above 0, or None.")
    if on_nonfinite not in ON_NONFINITE:
        raise ValueError(
            f"on_nonfinite is {on_nonfinite!r}: give one of {', '.join(ON_NONFINITE)}."
        )


def scheduled(
    hyper: Mapping[str, Array], schedules: Mapping[str, Schedule], step: Array
) -> dict[str, Array]:
    """The hyper of a step: each value times its schedule's factor."""
    missing = [name for name in schedules if name not in hyper]
    if missing:
        raise ValueError(
            f"a schedule is given for {missing[0]!r}, which is not in the state's "
            f"hyper ({', '.join(sorted(hyper)) or 'empty'}): add it to create_state."
        )
    return {
        name: number * schedules[name](step).astype(number.dtype)
        if name in schedules
        else number
        for name, number in hyper.items()
    }


def _gradient_sums(
    objective: Objective,
    state: State,
    hyper: Mapping[str, Array],
    batch: Batch,
    key: Array,
    accumulate_steps: int,
    frozen: PyTree | None,
) -> tuple[PyTree, tuple[Array, PyTree, Metrics]]:
    """Gradient of the summed loss, the count, model state and metrics, over all
    microbatches and devices."""

    def loss_sum(params: PyTree, model_state: PyTree, part: Batch) -> Any:
        if frozen is not None:  # XLA then leaves their backward pass out
            params = jax.tree.map(
                lambda p, f: jax.lax.stop_gradient(p) if f else p, params, frozen
            )
        (total, count), (model_state, metrics) = objective(
            params, model_state, hyper, part, key, True
        )
        metrics = {"loss": Mean(total, count), **metrics}
        return total, (count, model_state, metrics)

    def gradient(model_state: PyTree, part: Batch) -> Any:
        (_, aux), grads = jax.value_and_grad(loss_sum, has_aux=True)(
            state.params, model_state, part
        )
        return grads, aux

    batch = {**batch, "position": positions(batch)}
    if accumulate_steps == 1:
        grads, (count, model_state, metrics) = gradient(state.model_state, batch)
    else:
        grads, (count, model_state, metrics) = _accumulate(
            gradient, state.model_state, batch, accumulate_steps
        )
    grads, count, metrics = sum_over_devices((grads, count, metrics))
    return grads, (count, _mean_over_devices(model_state), metrics)


def _accumulate(
    gradient: Callable[[PyTree, Batch], Any],
    model_state: PyTree,
    batch: Batch,
    parts: int,
) -> tuple[PyTree, tuple[Array, PyTree, Metrics]]:
    """Sum ``gradient`` over microbatches; the model state runs through them."""

    def body(carry: Any, part: Batch) -> Any:
        sums, model_state = carry
        grads, (part_count, model_state, metrics) = gradient(model_state, part)
        sums = jax.tree.map(jnp.add, sums, (grads, part_count, metrics))
        return (sums, model_state), None

    stacked = microbatches(batch, parts, "accumulate_steps")
    first = jax.tree.map(lambda x: x[0], stacked)
    shapes = jax.eval_shape(gradient, model_state, first)
    grads, (part_count, _, metrics) = jax.tree.map(
        lambda s: jnp.zeros(s.shape, s.dtype), shapes
    )
    ((grads, total, metrics), model_state), _ = one_after_another(
        body, ((grads, part_count, metrics), model_state), stacked, parts
    )
    return grads, (total, model_state, metrics)


def microbatches(batch: Batch, parts: int, name: str) -> Batch:
    """The batch cut into parts [parts, batch / parts, ...].

    Raises:
      ValueError: it does not divide; ``name`` is the setting that says how many.
    """
    count = size(batch)
    if count % parts:
        raise ValueError(
            f"a device's {count} examples do not divide into {parts} microbatches: "
            f"choose a batch size that is a multiple of devices times {name}."
        )

    def cut(x: Array) -> Array:
        # Microbatch i takes examples i, i + parts, ...: of a sharded batch every
        # device then keeps its own examples, and nothing is sent.
        return jnp.swapaxes(x.reshape(count // parts, parts, *x.shape[1:]), 0, 1)

    return jax.tree.map(cut, dict(batch))


def one_after_another(
    body: Callable[[Any, Any], tuple[Any, Any]], carry: Any, stacked: Any, parts: int
) -> tuple[Any, Any]:
    """``jax.lax.scan`` of ``body`` over ``parts``; on a CPU written out where they are
    few, since a convolution in a loop runs ten times slower (jax-ml/jax#12868)."""
    if jax.default_backend() != "cpu" or parts > 8:
        return jax.lax.scan(body, carry, stacked)
    rows = []
    for number in range(parts):
        carry, row = body(carry, jax.tree.map(lambda x, n=number: x[n], stacked))
        rows.append(row)
    return carry, jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)


def _mean_over_devices(tree: PyTree) -> PyTree:
    """Average float leaves: jaxdl's batch norm agrees already, others may not."""
    if not inside_pmap():
        return tree
    devices = sum_over_devices(1)
    return jax.tree.map(
        lambda x: (
            sum_over_devices(x) / devices
            if jnp.issubdtype(x.dtype, jnp.floating)
            else x
        ),
        tree,
    )


def _finish_gradient(
    sums: PyTree,
    count: Array,
    params: PyTree,
    hyper: Mapping[str, Array],
    penalty: Callable[[PyTree, Mapping[str, Array]], Array] | None,
    clip_norm: float | None,
    frozen: PyTree | None,
    metrics: Metrics,
    by_kernel: bool,
) -> tuple[updating.Gradient, Array, Array, Metrics]:
    """Mean gradient, with the penalty's, clipped; its norm before clipping, and what
    of it or of the metrics is not finite."""
    divisor = jnp.maximum(count, 1.0)  # a batch of padding alone moves nothing
    gradient = updating.Gradient(sums, 1 / divisor)
    extra: Metrics = {}
    if penalty is not None or not by_kernel:
        grads = jax.tree.map(lambda g: g / divisor.astype(g.dtype), sums)
        if penalty is not None:
            amount, slope = jax.value_and_grad(penalty)(params, hyper)
            grads = jax.tree.map(jnp.add, grads, slope)
            extra["penalty"] = value(amount)
        grads = updating.without(grads, frozen)
        gradient = updating.Gradient(grads, jnp.ones_like(divisor))
    squares = updating.squares(gradient, by_kernel)
    norm, bad = global_norm(squares), culprit((metrics, extra), squares)
    if clip_norm is not None:
        scale = jnp.minimum(1.0, clip_norm / jnp.maximum(norm, 1e-16))
        gradient = updating.scaled(gradient, scale, by_kernel)
    return gradient, norm, bad, extra


def _frozen(params: PyTree, pattern: str) -> PyTree:
    return jax.tree.map(lambda moves: not moves, trainable_mask(params, pattern))
