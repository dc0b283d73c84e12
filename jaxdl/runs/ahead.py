"""Compiling ahead: a run's programs beside its imports, before its first step.

Tracing and imports need the interpreter, XLA's compiler does not: all is traced here,
the dearest first, and compiled on other threads while this one goes on.
"""

import importlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

from jaxdl.runs.machine import Machine
from jaxdl.train.task import Plan

# What takes a while to import: for checks and saves, between which steps would wait for
# it (0.15 s and more at the first save), and for the pictures of the end.
_SOON = ("jaxdl.runs.events", "orbax.checkpoint")
_LATER = ("matplotlib.figure", "matplotlib.backends.backend_agg")


def compile_ahead(machine: Machine, step: int = 0) -> None:
    """Compile what a run will call, on other threads; import what it will need while it
    trains, and afterwards, as long as that takes; begin to read what it trains on
    first, from ``step`` on.

    A jitted function that is called later finds itself compiled. Nothing is compiled
    for an accelerator, where XLA times kernels as it compiles and must be left alone,
    nor for members or several devices.
    """
    programs = _programs(machine) if machine.on_one_cpu else []
    size = machine.steps_per_call
    by_block = _dispatches(machine.plan, size)[0] and step % size == 0
    machine.feed.foresee(step, size if by_block else None)
    if not programs:
        _import(_SOON)
        return
    with ThreadPoolExecutor(2, thread_name_prefix="jaxdl-compile") as pool:
        coming = [pool.submit(call.lower(*given).compile) for call, *given in programs]
        _import(_SOON)
        for name in (*_LATER, *machine.task.imports):
            if all(future.done() for future in coming):
                break
            _import([name])
        for future in coming:
            future.result()


def _import(names: Iterable[str]) -> None:
    for name in names:
        importlib.import_module(name)


def _programs(machine: Machine) -> list[tuple[Any, ...]]:
    """Each function that a run will call, and arguments' shapes: the dearest first, and
    at once what gives the state."""
    task, plan, size = machine.task, machine.plan, machine.steps_per_call
    here = SingleDeviceSharding(machine.devices[0])
    state = _placed(jax.eval_shape(task.create, 0), here)
    batch = _placed(machine.batches(0), here)
    blocks = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((size, *x.shape), x.dtype, sharding=x.sharding),
        batch,
    )
    by_block, by_step = _dispatches(plan, size)
    calls: list[tuple[Any, ...]] = []
    if machine.counted is not None:
        calls += [(machine.counted, blocks, size)]
    else:
        calls += [(machine.block, blocks)] if by_block else []
        calls += [(machine.single, batch)] if by_step else []

    def first(passes: Any) -> Any:
        return _placed(passes.read(*passes.order(0)), here)

    checked, tested = map(
        first, map(machine.checks, (task.data.validation, task.data.test))
    )
    calls += [(machine.evaluation, checked)]
    calls += [(machine.evaluation, tested)] if tested != checked else []
    if machine.answers is not None:
        calls += [(machine.answers, first(machine.passes(task.data.test)))]
    programs = [(call, state, *given) for call, *given in calls]
    return [programs[0], (machine.create, plan.seed), *programs[1:]]


def _dispatches(plan: Plan, size: int) -> tuple[bool, bool]:
    """Whether steps will be taken in blocks of a size, and whether one by one."""
    between = [n for n in (plan.steps, plan.evaluate_every, plan.save_every) if n]
    by_block = 1 < size <= min(between)
    return by_block, not by_block or any(n % size for n in between)


def _placed(tree: Any, here: SingleDeviceSharding) -> Any:
    """Shapes of arrays, of which JAX's own lie on a device."""

    def placed(x: Any) -> jax.ShapeDtypeStruct:
        if isinstance(x, np.ndarray):
            return jax.ShapeDtypeStruct(x.shape, x.dtype)
        weak = x.weak_type
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here, weak_type=weak)

    return jax.tree.map(placed, tree)
