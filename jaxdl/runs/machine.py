"""A task made ready for the devices at hand: way, batches, compiled measures."""

import dataclasses
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxdl import data as data_room
from jaxdl import models, parallel, train
from jaxdl.hardware import require_memory
from jaxdl.parallel import hosts
from jaxdl.runs import arithmetic
from jaxdl.train.judge import SINGLE, Judge
from jaxdl.train.packing import packed, packed_evaluation
from jaxdl.train.task import Plan, Shown, Task

# Batches of a check that one dispatch goes through, bytes of them, and floating-point
# operations of each, at most: 10 ms, beside which a dispatch is nothing.
STACK = 32
STACK_BYTES = 2**24
STACK_OPERATIONS = 2e9


@dataclasses.dataclass(frozen=True)
class Machine:
    """How a task runs here; nothing is compiled until it is called.

    Attributes:
      task, plan: what is run.
      way: how, and on which devices.
      feed: training batches, by step.
      evaluation: that of the task, compiled; its metrics are packed.
      stack: batches of a check that one dispatch goes through; None where each is
        dispatched by itself.
      steps_per_call: steps a dispatch.
      judge: what a check means.
      axis: the example axis of a batch; 1 where members lead.
      operations: counts the floating-point operations of a step.
    """

    task: Task
    plan: Plan
    way: parallel.Placement
    feed: Any
    evaluation: Callable[..., Any]
    steps_per_call: int
    stack: int | None = None
    judge: Judge = SINGLE
    axis: int = 0
    operations: Callable[[], int] = lambda: 0

    @classmethod
    def of(cls, task: Task, plan: Plan) -> "Machine":
        """Place the data and choose how many steps a dispatch holds.

        Raises:
          ValueError: for an unknown way, or a batch that does not fit the devices.
        """
        name = plan.parallel
        if name == "auto" and not plan.mesh and parallel.cores.are_devices():
            alone = data_room.feed(task.data.train, plan.batch_size, plan.seed)(0)
            shape = jax.eval_shape(task.create, 0)
            name = parallel.cores.automatic(task.step, shape, alone, plan.batch_size)
        way = parallel.placement(name, mesh=plan.mesh, axes=models.LOGICAL_AXES)
        parallel.check_divides(plan.batch_size, way.shares)
        feed = data_room.feed(
            task.data.train,
            plan.batch_size,
            plan.seed,
            put=way.put,
            replicate=way.whole,
            rows=way.rows,
        )
        state = jax.eval_shape(task.create, 0)
        require_room(state)
        batch = _shapes(feed(0))
        check_monitor(task, plan, state, batch)
        stack = _automatic_stack(task, plan, way, state, batch)
        evaluation = task.evaluation
        if stack is not None:
            evaluation = parallel.ways.scan_evaluation(evaluation)
        return cls(
            task=task,
            plan=plan,
            way=parallel.tuned(way, task.step, state, batch),
            feed=feed,
            evaluation=way.evaluation(packed_evaluation(evaluation)),
            stack=stack,
            steps_per_call=plan.steps_per_call
            or parallel.automatic_block(task.step, state, batch, plan.evaluate_every),
            operations=partial(arithmetic.operations, task.step, state, batch),
        )

    @property
    def devices(self) -> tuple[jax.Device, ...]:
        """Those that share each batch."""
        return self.way.devices

    @property
    def about(self) -> dict[str, Any]:
        """The way as it was resolved, for the record of the run."""
        return {
            "parallel": self.way.name,
            "mesh": self.plan.mesh,
            "devices": len(self.way.devices),
        }

    @property
    def on_one_cpu(self) -> bool:
        """Whether one state is trained on one device, and that is a CPU."""
        return self.judge is SINGLE and _is_one_cpu(self.way)

    @cached_property
    def resident(self) -> data_room.Resident | None:
        """The training part, where steps gather their batches of it by themselves."""
        if not self.on_one_cpu:
            return None
        source, size = self.task.data.train, self.plan.batch_size
        return data_room.hold(source, size, self.devices[0])

    def batches(self, step: int, count: int | None = None) -> Any:
        """What ``single`` takes at a step, or ``block`` for ``count`` of them: batches,
        or which examples they hold."""
        give = self.feed if self.resident is None else self.feed.indices
        return give(step, count)

    @cached_property
    def single(self) -> Callable[..., Any]:
        """The step, compiled; its metrics are packed, as ``fit`` reads them sooner."""
        if self.counted is not None:
            return partial(_one_of_block, self.counted, self.steps_per_call)
        if self.on_one_cpu:
            return self._compiled(lambda step: step)
        return self.way.step(packed(self.task.step), axis=self.axis)

    @cached_property
    def block(self) -> Callable[..., Any]:
        """Several steps in one dispatch, compiled."""
        if self.counted is not None:
            return partial(_whole_block, self.counted, self.steps_per_call)
        if self.on_one_cpu:
            return self._compiled(parallel.ways.scan)
        return self.way.block(packed(self.task.step), axis=self.axis)

    @cached_property
    def counted(self) -> Callable[..., Any] | None:
        """A block of steps that also takes fewer; None where it would be no gain.

        For the few steps after the last block alone, a program of a single step took
        2.6 s to compile, half of all. On accelerators a loop of unknown length waits
        for the host at each step.
        """
        plan, size = self.plan, self.steps_per_call
        between = [n for n in (plan.evaluate_every, plan.save_every) if n]
        rest = plan.steps > size > 1 and plan.steps % size
        if not rest or any(n % size for n in between) or not self.on_one_cpu:
            return None
        return self._compiled(parallel.ways.counted)

    def _compiled(self, way: Callable[..., Any]) -> "_Program":
        """The step by a way, for one CPU: over what ``batches`` gives."""
        step = self.task.step

        def run(state: Any, examples: Any, *given: Any) -> Any:
            one = step if examples is None else data_room.gathering(step, examples)
            return packed(way(one))(state, *given)

        options = self.way.compiler_options
        compiled = jax.jit(run, donate_argnums=0, compiler_options=options)
        return _Program(compiled, self.resident)

    @cached_property
    def answers(self) -> Callable[..., Any] | None:
        """The task's outputs, compiled; None for a task without."""
        outputs = self.task.outputs
        return None if outputs is None else self.way.evaluation(outputs)

    @cached_property
    def create(self) -> Callable[..., Any]:
        """The state of a seed, compiled."""
        return jax.jit(self.task.create, compiler_options=quick_compiling())

    def state(self) -> Any:
        """The state before the first step, on the devices."""
        return self.way.state(self.create(self.plan.seed))

    @cached_property
    def validation(self) -> data_room.Kept:
        """The batches of each check."""
        return data_room.Kept(self.checks(self.task.data.validation))

    def passes(self, source: Any, stack: int | None = None) -> Any:
        """The batches of a source, every example once, as often as asked; or stacks of
        so many."""
        return data_room.evaluation_feed(
            source,
            evaluation_batch(self.plan, source.size, self.way),
            stack=stack,
            put=self.way.put,
            replicate=self.way.whole,
            rows=self.way.rows,
        )

    def checks(self, source: Any) -> Any:
        """What ``evaluation`` takes of a source: its batches, or stacks of them."""
        return self.passes(source, self.stack)

    def measuring(self, state: Any, checks: Any) -> Callable[[], dict[str, Any]]:
        """Begins to measure a state over ``checks``; gives what waits for metrics."""
        stacked = self.stack is not None
        return train.dispatch_evaluation(
            self.evaluation, state, checks, stacked=stacked
        )

    def measure(self, state: Any, checks: Any) -> dict[str, Any]:
        """Metrics of a state over ``checks``."""
        return self.measuring(state, checks)()

    def outputs(self, state: Any, batches: Any) -> Any:
        """What the model gives for each example, in example order; None for a task
        without outputs."""
        if self.answers is None:
            return None
        return train.predict(self.answers, state, batches, self.way.fetch)

    def show(self, state: Any) -> Shown:
        """What a state shows; nothing for a task that has nothing to show."""
        here = self.way.here(state)
        return {} if self.task.show is None else self.task.show(here)

    def checkpoints(self, folder: Path, **options: Any) -> train.Checkpoints:
        """The checkpoints in a folder, saved from these devices and read onto them;
        ``options`` are those of ``Checkpoints``."""
        if self.way.processes == 1:
            return train.Checkpoints(folder, **options)
        return train.Checkpoints(
            folder,
            **options,
            whole=self.way.whole,
            told=lambda steps: hosts.gather(steps)[0],
        )


@dataclasses.dataclass(frozen=True)
class _Program:
    """A compiled function of a state, the training part and what else is given."""

    compiled: Any
    examples: data_room.Resident | None

    def __call__(self, state: Any, *given: Any) -> Any:
        return self.compiled(state, self.examples, *given)

    def lower(self, state: Any, *given: Any) -> Any:
        """As of the compiled function: ahead of its first call."""
        return self.compiled.lower(state, self.examples, *given)


def _whole_block(counted: Any, size: int, state: Any, batches: Any) -> Any:
    return counted(state, batches, size)


def _one_of_block(counted: Any, size: int, state: Any, batch: Any) -> Any:
    def repeated(x: Any) -> Any:
        many = np.broadcast_to(x, (size, *x.shape))
        return many if isinstance(x, np.ndarray) else jax.device_put(many, x.sharding)

    state, rows = counted(state, jax.tree.map(repeated, batch), 1)
    return state, jax.tree.map(lambda x: x[0], jax.device_get(rows))


def require_room(state: Any, members: int = 1) -> None:
    """Raise ValueError where so many states are more than main memory holds. (Another
    device says it by itself.)"""
    if jax.default_backend() == "cpu":
        leaves = jax.tree.leaves(state)
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
        what = "the state of the model and its optimizer"
        require_memory(what, members * size, "give a smaller model or fewer --seeds")


def check_monitor(task: Task, plan: Plan, state: Any, batch: Any) -> None:
    """Raise where validation will not measure what the rule looks at: now, and not
    at the first check."""
    measured = jax.eval_shape(task.evaluation, state, batch)
    if plan.rule.monitor not in measured:
        raise ValueError(
            f"--monitor={plan.rule.monitor} is not measured on the validation part: "
            f"give one of {', '.join(sorted(measured))}"
        )


def evaluation_batch(plan: Plan, examples: int, way: parallel.Placement) -> int:
    """Examples of a batch that is only measured, of a part of so many: as the plan says
    and no more than there are, but a whole number for each device."""
    size = min(plan.evaluation_batch, max(examples, 1))
    return size + -size % way.shares


def _is_one_cpu(way: parallel.Placement) -> bool:
    return way.name == "none" and way.devices[0].platform == "cpu"


def _automatic_stack(
    task: Task, plan: Plan, way: parallel.Placement, state: Any, batch: Any
) -> int | None:
    """Batches of a check a dispatch, on one CPU: a quarter of an MLP's checks went on
    dispatching each by itself and on reading what it measured. As of steps, none where
    a convolution would run inside a loop. None where a batch takes long either: inside
    a loop XLA computes what occurs twice twice, and a GAN's check took 0.98 s, not
    0.72."""
    if not _is_one_cpu(way) or parallel.convolves(task.evaluation, state, batch):
        return None
    examples = task.data.validation.size
    size = evaluation_batch(plan, examples, way)
    count = -(-examples // size)
    work = arithmetic.operations(task.evaluation, state, batch)
    if work * size > STACK_OPERATIONS * plan.batch_size:
        return None
    rows = jax.tree.leaves(batch)
    each = sum(x.size * x.dtype.itemsize for x in rows) * size // plan.batch_size
    most = min(STACK, STACK_BYTES // each)
    if min(count, most) < 2:
        return None
    return -(-count // -(-count // most))  # all of a check's stacks alike


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def quick_compiling() -> dict[str, str] | None:
    """For what runs once: LLVM took 4.0 s to optimise a small CNN's initialisation
    (and 0.8 s not to), all for its random numbers."""
    if jax.default_backend() != "cpu":
        return None
    return {"xla_backend_optimization_level": "0"}
