"""Placement: a named way with all that a loop needs of it.

``placement("data")`` is what ``--parallel=data`` means: how a step is compiled,
alone and in blocks, and where state, batches and whole data sets are put.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh
from jaxtyping import PyTree

from jaxdl.parallel import cores, layout, spread, ways
from jaxdl.train.step import Step

NAMES = ("auto", "none", "data", "fsdp", "pmap")


@dataclasses.dataclass(frozen=True)
class Placement:
    """How and where a run computes.

    Attributes:
      name: "none", "data", "fsdp" or "pmap".
      devices: those that compute.
      shares: into how many parts a batch is split.
      step: a way: ``(step, axis=0)``, compiled; ``axis`` is the batch's example axis
        (1 where members lead).
      block: a way: ``(step, axis=0)``, several steps in one dispatch.
      evaluation: compiles ``(state, batch) -> anything``; nothing is donated.
      put: places a batch, or of it what ``rows`` names; the axis given is its example
        axis.
      whole: places a tree on every device.
      state: places a state, as the way lays it out.
      rows: ``size -> indices``: which examples of a batch this process is to put; None
        where it computes alone, and puts all.
      here: gives a tree that lies over several processes to this one, whole.
      compiler_options: what XLA is told when it compiles steps; see ``tuned``.
    """

    name: str
    devices: tuple[jax.Device, ...]
    shares: int
    step: Callable[..., Step]
    block: Callable[..., Step]
    evaluation: Callable[[Callable[..., Any]], Callable[..., Any]]
    put: Callable[[PyTree, int], PyTree]
    whole: Callable[[PyTree], PyTree]
    state: Callable[[PyTree], PyTree]
    rows: Callable[[int], Any] | None = None
    here: Callable[[PyTree], PyTree] = lambda tree: tree
    compiler_options: dict[str, str] | None = None

    @property
    def processes(self) -> int:
        """How many processes the devices belong to."""
        return spread.processes(self.devices)

    def fetch(self, tree: PyTree) -> PyTree:
        """NumPy arrays, whole, of arrays on the devices."""
        return jax.device_get(self.here(tree))


def resolve(name: str, devices: Sequence[jax.Device], mesh: str = "") -> str:
    """What "auto" means: "data" where there is more than one device, or a mesh.

    Raises:
      ValueError: an unknown name, or one that knows no mesh, or not several processes.
    """
    if name not in NAMES:
        raise ValueError(f"parallel is {name!r}: give one of {', '.join(NAMES)}.")
    if mesh and name in ("none", "pmap"):
        raise ValueError(
            f"--parallel={name} knows no mesh: leave --mesh={mesh} out, or give "
            "--parallel=data or fsdp."
        )
    if name in ("none", "pmap") and spread.processes(devices) > 1:
        raise ValueError(
            f"--parallel={name} is for one process, and here are "
            f"{spread.processes(devices)}: give --parallel=data or fsdp."
        )
    if name == "auto":
        several = len(devices) > 1 and not cores.are_devices()
        return "data" if mesh or several else "none"
    return name


def placement(
    name: str = "auto",
    devices: Sequence[jax.Device] | None = None,
    mesh: str = "",
    axes: layout.Axes = (),
) -> Placement:
    """The placement of a name over devices (all, of all processes, where None).

    Args:
      name: "auto", "none", "data" (parameters whole on every device), "fsdp" (each
        holds its share of parameters and optimizer) or "pmap" (replicas).
      devices: those to use.
      mesh: such as "data:4,model:2"; empty: all devices split the batch.
      axes: what the axes of parameters count, for a mesh with a model axis.

    Raises:
      ValueError: an unknown name, or a mesh that does not fit the devices.
    """
    devices = tuple(devices or jax.devices())
    name = resolve(name, devices, mesh)
    if name == "none":
        return _on_one(devices[0])
    if name == "pmap":
        return _replicas(devices)
    sizes = layout.parse_mesh(mesh, len(devices))
    grid = layout.make_mesh(sizes, devices)
    fsdp = name == "fsdp"
    lay = partial(layout.shardings, mesh=grid, axes=axes, fsdp=fsdp)
    over = _over(grid, partial(_laid_out, mesh=grid))
    if over.processes > 1:
        over = _over_processes(over, grid)
    lay_out = spread.spread if over.processes > 1 else jax.device_put
    return dataclasses.replace(
        over, name=name, state=lambda tree: lay_out(tree, lay(tree))
    )


def _on_one(device: jax.Device) -> Placement:
    def whole(tree: PyTree) -> PyTree:
        return jax.device_put(tree, device)

    return Placement(
        name="none",
        devices=(device,),
        shares=1,
        step=lambda step, axis=0: ways.jit(step),
        block=lambda step, axis=0: ways.jit(ways.scan(step)),
        evaluation=jax.jit,
        put=lambda batch, axis: whole(batch),
        whole=whole,
        state=whole,
    )


def _replicas(devices: tuple[jax.Device, ...]) -> Placement:
    def spread(step: Step, axis: int = 0) -> Step:
        return ways.pmap(step, devices, axis=axis)

    return _over(ways.data_mesh(devices), spread)


def _over(mesh: Mesh, spread: Callable[..., Step]) -> Placement:
    """A placement over a mesh; ``spread(step, axis=...)`` compiles a step for it."""
    devices = tuple(mesh.devices.flat)

    def whole(tree: PyTree) -> PyTree:
        return jax.device_put(tree, ways.replicated(mesh))

    return Placement(
        name="pmap",
        devices=devices,
        shares=mesh.shape[ways.DEVICES],
        step=spread,
        block=lambda step, axis=0: spread(ways.scan(step), axis=axis + 1),
        # Of global arrays: XLA follows where they lie.
        evaluation=lambda function: ways.one_at_a_time(jax.jit(function), devices),
        put=lambda batch, axis: jax.device_put(batch, ways.split(mesh, axis)),
        whole=whole,
        state=whole,
    )


def _over_processes(over: Placement, mesh: Mesh) -> Placement:
    """The placement, for a process that sees a part of the devices."""
    whole = ways.replicated(mesh)

    def evaluation(function: Callable[..., Any]) -> Callable[..., Any]:
        # Whole everywhere: each process can read all of a result.
        compiled = jax.jit(function, out_shardings=whole)
        return ways.one_at_a_time(compiled, over.devices)

    return dataclasses.replace(
        over,
        evaluation=evaluation,
        put=lambda batch, axis: spread.from_rows(batch, mesh, axis),
        whole=lambda tree: spread.spread(tree, whole),
        rows=partial(spread.rows, mesh),
        here=lambda tree: spread.here(tree, mesh),
    )


def _laid_out(step: Step, mesh: Mesh, axis: int = 0) -> Step:
    """A jitted step whose state stays laid out as it comes."""
    compiled: dict[Any, Callable[..., Any]] = {}
    whole = ways.replicated(mesh)

    def run(state: PyTree, batch: Any) -> tuple[PyTree, Any]:
        ways.check_divides(
            jax.tree.leaves(batch)[0].shape[axis], mesh.shape[ways.DEVICES]
        )
        if not compiled:
            lies = jax.tree.map(lambda leaf: leaf.sharding, state)
            compiled["step"] = jax.jit(
                step,
                in_shardings=(lies, ways.split(mesh, axis)),
                out_shardings=(lies, whole),
                donate_argnums=(0,),
            )
        return compiled["step"](state, batch)

    return ways.one_at_a_time(run, list(mesh.devices.flat))
