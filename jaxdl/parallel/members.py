"""How members that train together run as one program."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from jaxdl.parallel import cores, ways
from jaxdl.parallel.blocks import convolves
from jaxdl.parallel.placement import Placement
from jaxdl.train.population import member_step, side_by_side
from jaxdl.train.step import Step

# The axis of a mesh along which members are shared out.
MEMBERS = "members"


def over_members(
    step: Callable[..., Any], state: Any, batch: Any
) -> Callable[..., Any]:
    """What makes a function ``(state, batch)`` one of stacks of them: ``over(function,
    shared=False)``, where shared members see the same batch.

    By the backend and what the step computes, never by a timing: vmap, but side by
    side on a CPU where convolutions would become grouped ones. (Measured, tabular's
    MLP in 4 folds: 568 steps a second vmapped, 325 side by side.)

    Args:
      step: of one member.
      state, batch: of one member, or their shapes.
    """
    if jax.default_backend() == "cpu" and convolves(step, state, batch):
        return side_by_side
    return vmapped


def vmapped(function: Callable[..., Any], shared: bool = False) -> Callable[..., Any]:
    """``function(state, batch)`` over stacks; a shared batch is not stacked."""
    return partial(jax.vmap, in_axes=(0, None if shared else 0))(function)


def in_turn(function: Callable[..., Any], shared: bool = False) -> Callable[..., Any]:
    """``function(state, batch)`` over stacks, one member after another, by the program
    of one alone."""

    def run(states: PyTree, batch: PyTree) -> Any:
        if shared:
            return jax.lax.map(lambda state: function(state, batch), states)
        return jax.lax.map(lambda one: function(*one), (states, batch))

    return run


def apart(
    members: int, step: Callable[..., Any], state: Any, batch: Any
) -> "Apart | None":
    """Members shared out to the cores of a CPU; None where these are no devices.

    Vmapped, small products become larger ones, but each operation still ends on all
    cores before the next begins: a step of one of 32 small MLPs took 0.74 ms vmapped,
    0.55 alone and 0.30 shared out to two cores. And each member is computed as it
    would be alone: an MLP to the bit, others to rounding (XLA may fuse the body of a
    loop in another way).

    Args:
      members: how many; the most cores that divide them take them.
      step, state, batch: of one member; shapes do.
    """
    if not cores.are_devices():
        return None
    devices = jax.devices()
    count = max(n for n in range(1, len(devices) + 1) if members % n == 0)
    mesh = Mesh(np.array(devices[:count]), (MEMBERS,), axis_types=(AxisType.Auto,))
    # A convolution inside a loop is ten times slower there (jax-ml/jax#12868).
    return Apart(mesh, side_by_side if convolves(step, state, batch) else in_turn)


@dataclasses.dataclass(frozen=True)
class Apart:
    """Members shared out over the devices of a mesh; nothing passes between these.

    Attributes:
      mesh: of one axis, ``MEMBERS``.
      each: how a device computes its own: ``in_turn`` or ``side_by_side``.
    """

    mesh: Mesh
    each: Callable[..., Any]

    def member_step(self, step: Step) -> Step:
        """What ``placement`` is to run: the step of one member of a population."""
        return member_step(step, branch=self.each is in_turn)

    def over(self, function: Callable[..., Any], shared: bool = False) -> Any:
        """``function(state, batch)`` of one member as one of stacks, as
        ``over_members`` gives it."""
        return self._mapped(self.each(function, shared), None if shared else 0)

    def placement(self) -> Placement:
        """Where members train, by ``member_step`` of one."""
        devices = tuple(self.mesh.devices.flat)

        def put(batch: PyTree, axis: int) -> PyTree:
            # The axis before that of the examples is the members'.
            return jax.device_put(batch, self._lies(axis - 1 if axis else None))

        return Placement(
            name="none",  # each is computed as it would be alone
            devices=devices,
            shares=1,
            step=lambda step, axis=0: ways.jit(self.over(step)),
            block=lambda step, axis=0: ways.jit(self._block(step)),
            evaluation=jax.jit,
            put=put,
            whole=lambda tree: jax.device_put(tree, self._lies(None)),
            state=lambda tree: jax.device_put(tree, self._lies(0)),
        )

    def _block(self, step: Step) -> Step:
        """Several steps of one member before the next one's: its state stays in the
        core's memory. Batches come, and metrics go, as [steps, members]."""

        def turned(tree: PyTree) -> PyTree:
            return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), tree)

        each = self.each(ways.scan(step))

        def block(states: PyTree, batches: PyTree) -> tuple[PyTree, Any]:
            return each(states, turned(batches))

        mapped = self._mapped(block, 1)

        def run(states: PyTree, batches: PyTree) -> tuple[PyTree, Any]:
            states, metrics = mapped(states, batches)
            return states, turned(metrics)

        return run

    def _mapped(self, function: Callable[..., Any], axis: int | None) -> Any:
        return jax.shard_map(
            function,
            mesh=self.mesh,
            in_specs=(self._lies(0).spec, self._lies(axis).spec),
            out_specs=self._lies(0).spec,
            check_vma=False,  # randomness of JAX's own does not pass it
        )

    def _lies(self, axis: int | None) -> NamedSharding:
        """Members along this axis; None: the same on every device."""
        axes = () if axis is None else (*[None] * axis, MEMBERS)
        return NamedSharding(self.mesh, PartitionSpec(*axes))
