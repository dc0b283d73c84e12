"""Placement: a named way with all that a loop needs of it.

``placement("data")`` is what ``--parallel=data`` means: how a step is compiled,
alone and in blocks, and where state, batches and whole data sets are put.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
from jaxtyping import PyTree

from jaxdl.parallel import ways
from jaxdl.train.step import Step

NAMES = ("auto", "none", "data", "pmap")


@dataclasses.dataclass(frozen=True)
class Placement:
    """How and where a run computes.

    Attributes:
      name: "none", "data" or "pmap".
      devices: those that share each batch.
      step: a way: ``(step, axis=0)``, compiled; ``axis`` is the batch's example axis
        (1 where members lead).
      block: a way: ``(step, axis=0)``, several steps in one dispatch.
      evaluation: compiles ``(state, batch) -> anything``; nothing is donated.
      put: places a batch; the axis given is its example axis.
      whole: places a tree on every device.
    """

    name: str
    devices: tuple[jax.Device, ...]
    step: Callable[..., Step]
    block: Callable[..., Step]
    evaluation: Callable[[Callable[..., Any]], Callable[..., Any]]
    put: Callable[[PyTree, int], PyTree]
    whole: Callable[[PyTree], PyTree]


def resolve(name: str, devices: Sequence[jax.Device]) -> str:
    """What "auto" means: "data" where there is more than one device."""
    if name not in NAMES:
        raise ValueError(f"parallel is {name!r}: give one of {', '.join(NAMES)}.")
    if name == "auto":
        return "data" if len(devices) > 1 else "none"
    return name


def placement(
    name: str = "auto", devices: Sequence[jax.Device] | None = None
) -> Placement:
    """The placement of a name over devices (all local ones where None)."""
    devices = tuple(devices or jax.local_devices())
    name = resolve(name, devices)
    if name == "none":
        return Placement(
            name="none",
            devices=devices[:1],
            step=lambda step, axis=0: ways.jit(step),
            block=lambda step, axis=0: ways.jit(ways.scan(step)),
            evaluation=jax.jit,
            put=lambda batch, axis: jax.device_put(batch, devices[0]),
            whole=lambda tree: jax.device_put(tree, devices[0]),
        )
    mesh = ways.data_mesh(devices)
    spread: Any = ways.sharded if name == "data" else _pmap
    return Placement(
        name=name,
        devices=devices,
        step=partial(spread, mesh=mesh),
        block=lambda step, axis=0: spread(ways.scan(step), mesh=mesh, axis=axis + 1),
        # Of global arrays: XLA follows where they lie.
        evaluation=lambda function: ways.one_at_a_time(jax.jit(function), devices),
        put=lambda batch, axis: jax.device_put(batch, ways.split(mesh, axis)),
        whole=lambda tree: jax.device_put(tree, ways.replicated(mesh)),
    )


def _pmap(step: Step, mesh: jax.sharding.Mesh, axis: int = 0) -> Step:
    return ways.pmap(step, list(mesh.devices.flat), axis=axis)
