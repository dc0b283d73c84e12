"""Members: what trains together, and how they become one program or one machine.

Nothing here writes; ``jaxdl.runs.population`` executes them, each with a folder.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxdl import data as data_room
from jaxdl import models, parallel, train
from jaxdl.runs import arithmetic
from jaxdl.runs.machine import (
    Machine,
    check_monitor,
    evaluation_batch,
    require_room,
)
from jaxdl.train import population
from jaxdl.train.task import Plan, Task


@dataclasses.dataclass(frozen=True)
class Member:
    """One of those that train together.

    Members share step, evaluation and shapes. They differ in their seed, in numbers of
    ``hyper``, in their data.

    Attributes:
      name: of its folder, such as ``seed_3``.
      task, plan: as it would run alone.
      settings: that repeat it alone.
      hyper: numbers of its state that are not those of ``task.create``.
    """

    name: str
    task: Task
    plan: Plan
    settings: Mapping[str, Any]
    hyper: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def create(self) -> Any:
        """Its state before the first step, to be computed under jit as
        ``Machine.state`` does it: bits of it depend on how XLA compiles it."""
        state = self.task.create(self.plan.seed)
        if not self.hyper:
            return state
        new = {k: np.float32(value) for k, value in self.hyper.items()}
        return state.replace(hyper={**state.hyper, **new})


def check_alike(members: Sequence[Member]) -> None:
    """Members must differ in numbers alone."""
    if not members:
        raise ValueError("there is no member to train.")
    names = [member.name for member in members]
    if len(set(names)) < len(names):
        raise ValueError(f"members share a name: {', '.join(names)}.")
    plans = {dataclasses.replace(m.plan, seed=0) for m in members}
    if len(plans) > 1:
        raise ValueError("the members' plans differ in more than their seed.")


# Begins to measure a state; gives what waits for its metrics.
Measuring = Callable[[Any], Callable[[], dict[str, Any]]]


def together(members: Sequence[Member]) -> tuple[Machine, Measuring]:
    """The machine of all members as one, and the measure of its validation parts."""
    task, plan = members[0].task, members[0].plan
    sources = [member.task.data.train for member in members]
    seeds = [member.plan.seed for member in members]
    alone = data_room.feed(task.data.train, plan.batch_size, plan.seed)(0)
    state = jax.eval_shape(task.create, 0)
    require_room(state, len(members))
    check_monitor(task, plan, state, alone)
    # Members of one seed and one source see the very same batches: one is enough.
    same = data_room.members.shared(sources) and len(set(seeds)) == 1
    program = _program(plan, task, state, alone, len(members), same)
    way = program.way
    parallel.check_divides(plan.batch_size, way.shares)
    put: Any = {"put": way.put, "replicate": way.whole}
    feed = (
        data_room.feed(task.data.train, plan.batch_size, plan.seed, **put)
        if same
        else data_room.members_feed(sources, plan.batch_size, seeds, **put)
    )
    parts = [member.task.data.validation for member in members]
    size = evaluation_batch(plan, max(part.size for part in parts), way)
    passes = data_room.Kept(data_room.members_passes(parts, size, **put))
    shared = data_room.members.shared(parts)
    evaluation = way.evaluation(program.over(task.evaluation, shared=shared))
    machine = Machine(
        task=dataclasses.replace(
            task, step=program.step, create=lambda _: _stack(members)
        ),
        plan=plan,
        way=way,
        feed=feed,
        evaluation=evaluation,
        steps_per_call=plan.steps_per_call
        or parallel.automatic_block(task.step, state, alone, plan.evaluate_every),
        judge=population.JUDGE,
        axis=0 if same else 1,
        operations=lambda: (
            len(members) * arithmetic.operations(task.step, state, alone)
        ),
    )

    def measuring(stacked: population.Population) -> Callable[[], dict[str, Any]]:
        return train.dispatch_evaluation(evaluation, stacked.states, passes)

    return machine, measuring


class _Program(NamedTuple):
    """How members become one: their step, its way, and what makes a function of one
    member one of all."""

    step: train.Step
    way: parallel.Placement
    over: Callable[..., Any]


def _program(
    plan: Plan, task: Task, state: Any, batch: Any, members: int, same: bool
) -> _Program:
    apart = None
    if plan.parallel == "auto" and not plan.mesh and not same:
        apart = parallel.apart(members, task.step, state, batch)
    if apart is not None:
        return _Program(apart.member_step(task.step), apart.placement(), apart.over)
    way = parallel.placement(plan.parallel, mesh=plan.mesh, axes=models.LOGICAL_AXES)
    over = parallel.over_members(task.step, state, batch)
    # What members of one seed draw is drawn once.
    alike = partial(population.alike, over) if same else over
    return _Program(population.population_step(task.step, alike), way, over)


def _stack(members: Sequence[Member]) -> population.Population:
    return population.stack([member.create() for member in members])


def machines_of(members: Sequence[Member]) -> list[Machine]:
    """A machine for each member alone; those that share a task share one."""
    known: dict[int, Machine] = {}
    machines = []
    for member in members:
        plan = dataclasses.replace(member.plan, steps_per_call=1)
        if id(member.task.data) not in known:
            known[id(member.task.data)] = Machine.of(member.task, plan)
        found = known[id(member.task.data)]
        machines.append(dataclasses.replace(found, task=member.task, plan=plan))
    return machines
