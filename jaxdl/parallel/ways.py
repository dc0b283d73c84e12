"""Ways to run a step: functions from a step to a step.

``step(state, batch) -> (state, metrics)`` is written once. ``jit`` compiles it,
``scan`` takes a stack of batches in one dispatch, ``vmap`` runs a stack of
states, ``pmap`` and ``sharded`` split the batch over devices. They compose:
``pmap(scan(step), axis=1)`` is a block of steps on every device.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from jaxdl.batch import DEVICES, Batch
from jaxdl.train.step import Step


def jit(
    step: Step,
    *,
    donate: bool = True,
    compiler_options: dict[str, str] | None = None,
) -> Step:
    """Compile the step; the old state's memory is given to the new one."""
    donated = (0,) if donate else ()
    return jax.jit(step, donate_argnums=donated, compiler_options=compiler_options)


def scan(step: Step) -> Step:
    """A step over a stack of batches [steps, batch, ...], one after another.

    Metrics come back stacked [steps]. Equal to the single steps to the bit.
    """

    def block(state: PyTree, batches: Batch) -> tuple[PyTree, Any]:
        return jax.lax.scan(step, state, batches)

    return block


def counted(step: Step) -> Callable[[PyTree, Batch, Any], tuple[PyTree, Any]]:
    """``scan`` that takes how many of the stacked batches to go through.

    The same loop, whose length is an argument: one program for a block of steps and for
    what is left of one. The metrics of batches left out are zero.
    """

    def block(state: PyTree, batches: Batch, count: Any) -> tuple[PyTree, Any]:
        def at(index: Any) -> Batch:
            return jax.tree.map(
                lambda x: jax.lax.dynamic_index_in_dim(x, index, keepdims=False),
                batches,
            )

        def body(index: Any, carry: Any) -> Any:
            state, rows = carry
            state, row = step(state, at(index))
            put = jax.lax.dynamic_update_index_in_dim
            return state, jax.tree.map(lambda x, y: put(x, y, index, 0), rows, row)

        size = jax.tree.leaves(batches)[0].shape[0]
        # Through jit, which remembers it where the step was traced before.
        row = jax.eval_shape(jax.jit(step), state, at(0))[1]
        rows = jax.tree.map(lambda x: jnp.zeros((size, *x.shape), x.dtype), row)
        return jax.lax.fori_loop(0, count, body, (state, rows))

    return block


def scan_evaluation(evaluation: Callable[..., Any]) -> Callable[..., Any]:
    """An evaluation ``(state, batch) -> metrics`` over a stack of batches
    [count, batch, ...], one after another.

    Metrics come back stacked [count]. Batches that are padding alone may end the stack:
    they are left out, and theirs are zero.
    """
    measured = jax.jit(evaluation)  # traced once, for ``counted`` asks twice

    def run(state: PyTree, batches: Batch) -> Any:
        real = jnp.sum(jnp.any(batches["mask"] > 0, axis=-1))
        in_turn = counted(lambda state, batch: (state, measured(state, batch)))
        return in_turn(state, batches, real)[1]

    return run


def vmap(step: Step, *, batch_axis: int | None = None) -> Step:
    """A step over a stack of states [members, ...]: seeds, folds or hypers.

    All members see the same batch, unless ``batch_axis`` says along which axis
    each finds its own. Metrics come back stacked [members].
    """
    return jax.vmap(step, in_axes=(0, batch_axis))


def pmap(
    step: Step,
    devices: Sequence[jax.Device] | None = None,
    *,
    axis: int = 0,
    donate: bool = True,
) -> Step:
    """A step on replicas: each device takes its part of the batch.

    The state is never stacked: it goes in and comes out whole. Inside, sums over
    examples (``jaxdl.batch.sum_over_devices``) run over all devices, so the
    replicas stay equal.

    Args:
      step: sums its gradients and counts over devices, as ``make_step``'s does.
      devices: all local ones where None.
      axis: the batch axis of each array (1 for a block of steps).
      donate: give the old state's memory to the new one.

    Raises:
      ValueError: when called with a batch that does not divide by the devices.
    """
    devices = list(devices or jax.local_devices())
    mapped = jax.pmap(
        step,
        axis_name=DEVICES,
        in_axes=(None, axis),
        out_axes=(None, None),
        devices=devices,
        donate_argnums=(0,) if donate else (),
    )

    def run(state: PyTree, batch: Batch) -> tuple[PyTree, Any]:
        return mapped(state, jax.tree.map(lambda x: _cut(x, len(devices), axis), batch))

    return one_at_a_time(run, devices)


def _cut(x: Any, parts: int, axis: int) -> Any:
    """[..., batch, ...] as [..., parts, batch / parts, ...]."""
    check_divides(x.shape[axis], parts)
    shape = (*x.shape[:axis], parts, x.shape[axis] // parts, *x.shape[axis + 1 :])
    return x.reshape(shape)


def check_divides(batch_size: int, devices: int) -> None:
    """Raises ValueError where a batch does not divide by the devices."""
    if batch_size % devices:
        lower = batch_size - batch_size % devices
        near = f"{lower} or {lower + devices}" if lower else f"{devices}"
        raise ValueError(
            f"a batch of {batch_size} does not divide by {devices} devices: "
            f"give --batch_size={near}, or fewer devices."
        )


def data_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh with all devices along the one axis that splits the batch."""
    # Auto axes: jax.make_mesh would default to explicit ones.
    return Mesh(
        np.array(devices or jax.devices()), (DEVICES,), axis_types=(AxisType.Auto,)
    )


def sharded(
    step: Step, mesh: Mesh | None = None, *, axis: int = 0, donate: bool = True
) -> Step:
    """A jitted step over a batch that is spread over a mesh; XLA adds the sums.

    Args:
      step: sees global arrays, and needs no word about devices.
      mesh: by default all devices in ``data_mesh``.
      axis: the batch axis of each array (1 for a block of steps).
      donate: give the old state's memory to the new one.

    Raises:
      ValueError: when called with a batch that does not divide by the devices.
    """
    mesh = mesh or data_mesh()
    whole = replicated(mesh)
    compiled = jax.jit(
        step,
        in_shardings=(whole, split(mesh, axis)),
        out_shardings=(whole, whole),
        donate_argnums=(0,) if donate else (),
    )

    def run(state: PyTree, batch: Batch) -> tuple[PyTree, Any]:
        check_divides(jax.tree.leaves(batch)[0].shape[axis], mesh.size)
        return compiled(state, batch)

    return one_at_a_time(run, list(mesh.devices.flat))


def one_at_a_time(
    function: Callable[..., Any], devices: Sequence[jax.Device]
) -> Callable[..., Any]:
    """The function, waiting for its result where several CPU devices compute it.

    Virtual CPU devices share one pool of threads, and a sum over devices holds a
    thread until all have come to it. With a second program in flight the threads
    can all be held by devices that wait for one another: XLA ends the process
    after 40 seconds.
    """
    if len(devices) < 2 or devices[0].platform != "cpu":
        return function

    def run(*arguments: Any) -> Any:
        return jax.block_until_ready(function(*arguments))

    return run


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of an array that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """The sharding of an array whose ``axis`` is spread over the devices."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, DEVICES))


Way = Callable[[Step], Step]
