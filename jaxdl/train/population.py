"""Populations: members that train together, as one step over a stack of states.

Seeds, folds or settings that differ in numbers alone. A member that has stopped is
frozen by ``where`` and each member's best is kept, so that every member ends as it
would have alone (to rounding: XLA may fuse a batched program differently).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Int, PyTree

from jaxdl.batch import Batch
from jaxdl.train.judge import Judge, Verdict
from jaxdl.train.progress import Progress, Rule, observe, start
from jaxdl.train.step import Metrics, Step

# From a function of one member to that of a stack, as ``parallel.vmap`` is.
Over = Callable[[Callable[..., Any]], Callable[..., Any]]


class Population(struct.PyTreeNode):
    """A stack of states, and which of them still train.

    Attributes:
      states: every leaf leads with the members.
      running: false for members that have stopped early, or failed.
      failed: true where a loss or gradient was not finite.
    """

    states: PyTree
    running: Bool[Array, " members"]
    failed: Bool[Array, " members"]


class Judgement(struct.PyTreeNode):
    """The progress of a population.

    Attributes:
      members: ``Progress``, stacked.
      best: each member's state at its best check, stacked.
      seen: step of the last check at which each member was running.
    """

    members: Progress
    best: PyTree
    seen: Int[Array, " members"]

    @property
    def best_value(self) -> Any:
        """[members], of the monitored metric."""
        return self.members.best_value

    @property
    def best_step(self) -> Any:
        """[members], -1 before a member's first check."""
        return self.members.best_step


def stack(states: Sequence[PyTree]) -> Population:
    """The population of these states, all running."""
    count = len(states)
    return Population(
        states=jax.tree.map(lambda *leaves: jnp.stack(leaves), *states),
        running=jnp.ones((count,), bool),
        failed=jnp.zeros((count,), bool),
    )


def member(tree: PyTree, index: int) -> PyTree:
    """One member of a stacked tree."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def population_step(step: Step, over: Over) -> Step:
    """``step`` for all members at once; batches lead with the members as well.

    Args:
      step: of one member.
      over: makes it a step of a stack, e.g. ``parallel.vmap(step, batch_axis=0)``.

    Returns:
      ``(Population, batch) -> (Population, metrics [members])``. Those that do not
      run stay as they are; one whose step was not finite stops running.
    """
    every = over(step)

    def run(population: Population, batch: Batch) -> tuple[Population, Metrics]:
        states, metrics = every(population.states, batch)
        failed = population.failed
        if "nonfinite" in metrics:
            failed |= population.running & (metrics["nonfinite"].total > 0)
        return (
            population.replace(
                states=_where(population.running, states, population.states),
                running=population.running & ~failed,
                failed=failed,
            ),
            metrics,
        )

    return run


def member_step(step: Step, branch: bool = True) -> Step:
    """What ``population_step`` does, for a member alone: ``Population`` without the
    axis of members.

    Args:
      step: of one member.
      branch: a member that does not run costs nothing. Not for convolutions on a CPU:
        inside a branch, as inside a loop, they take twenty times as long there.
    """
    train = population_step(step, lambda alone: alone)
    if not branch:
        return train

    def runs(member: Population, batch: Batch) -> tuple[Population, Metrics]:
        # Told here again, as then nothing is to be chosen, nor kept for it.
        return train(member.replace(running=jnp.asarray(True)), batch)

    def run(member: Population, batch: Batch) -> tuple[Population, Metrics]:
        _, metrics = jax.eval_shape(train, member, batch)
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), metrics)
        return jax.lax.cond(
            member.running, runs, lambda member, _: (member, nothing), member, batch
        )

    return run


def alike(over: Callable[..., Any], step: Step) -> Step:
    """``step`` for members of one seed, which see the same batch: what they draw from
    key and step (dropout, augmentation) is drawn once for all of them.

    Args:
      over: makes a function of one member one of a stack; ``over(step, shared=True)``.
      step: of one member.
    """

    def run(states: PyTree, batch: Batch) -> Any:
        if not (hasattr(states, "key") and hasattr(states, "step")):
            return over(step, shared=True)(states, batch)
        # Members that run are all at this step; what others compute is thrown away.
        common = {"key": states.key[0], "step": jnp.max(states.step)}

        def one(state: PyTree, batch: Batch) -> Any:
            return step(state.replace(**common), batch)

        return over(one, shared=True)(states, batch)

    return run


def side_by_side(function: Callable[..., Any], shared: bool = False) -> Any:
    """A function of a stack that runs the members one after another in one program.

    Convolutions of a vmapped population become grouped ones, which XLA's CPU runs
    far slower than one after another.

    Args:
      function: ``(state, batch) -> pytree`` of one member.
      shared: all members see the same batch; else batches are stacked.
    """

    def run(states: PyTree, batch: Batch) -> Any:
        count = jax.tree.leaves(states)[0].shape[0]
        results = [
            function(member(states, i), batch if shared else member(batch, i))
            for i in range(count)
        ]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)

    return run


def _where(chosen: Bool[Array, " members"], new: PyTree, old: PyTree) -> PyTree:
    def pick(a: Array, b: Array) -> Array:
        more = (1,) * (a.ndim - chosen.ndim)
        return jnp.where(chosen.reshape(*chosen.shape, *more), a, b)

    return jax.tree.map(pick, new, old)


def _start(rule: Rule, population: Population) -> Judgement:
    progress = jax.vmap(partial(start, rule))(population.states)
    seen = jnp.zeros(population.running.shape, jnp.int32)
    # On the members' devices, where a checkpoint is restored to as well.
    progress, seen = jax.device_put((progress, seen), population.running.sharding)
    # A copy: the step is given the memory of its states.
    return Judgement(progress, jax.tree.map(jnp.copy, population.states), seen)


@partial(jax.jit, static_argnums=0)
def _judge(
    rule: Rule, judgement: Judgement, population: Population, value: Array, step: Array
) -> tuple[Judgement, Population]:
    running = population.running
    new = jax.vmap(partial(observe, rule), in_axes=(0, 0, None))(
        judgement.members, value, step
    )
    new = _where(running, new, judgement.members)
    improved = running & (new.best_step == step)
    judged = Judgement(
        members=new,
        best=_where(improved, population.states, judgement.best),
        seen=jnp.where(running, step, judgement.seen),
    )
    population = population.replace(
        states=_with_rates(population.states, new),
        running=running & ~new.stopped,
    )
    return judged, population


def _with_rates(states: PyTree, progress: Progress) -> PyTree:
    """The states with what plateaus have left of their learning rates."""
    hyper = getattr(states, "hyper", {})
    if "learning_rate" not in hyper:
        return states
    rates = progress.rate * progress.factor
    return states.replace(hyper={**hyper, "learning_rate": rates})


def _observe(
    rule: Rule,
    judgement: Judgement,
    population: Population,
    values: Mapping[str, Any],
    step: int,
) -> Verdict:
    value = jnp.asarray(np.asarray(values[rule.monitor]), jnp.float32)
    return Verdict(*_judge(rule, judgement, population, value, jnp.int32(step)))


JUDGE = Judge(
    start=_start,
    observe=_observe,
    stopped=lambda _, population: not bool(jnp.any(population.running)),
    best_step=lambda _: -1,
    failed=lambda _: False,  # a member that fails stops by itself
    best=lambda judgement, population: population.replace(states=judgement.best),
)
