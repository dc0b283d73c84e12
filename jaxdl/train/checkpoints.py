"""Checkpoints: the latest and the best state of a run, by Orbax.

The only module that knows Orbax. A checkpoint holds the state, the progress
and the running sums of the training metrics: all that decides what comes next.
"""

import json
import logging as standard_logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxdl.parameters import path_name


class Restored(NamedTuple):
    """What a checkpoint gave back."""

    step: int
    state: PyTree
    progress: PyTree
    totals: Any


class Checkpoints:
    """The checkpoint folder of one run; a context manager.

    Leaving it waits until everything is on disk. The two newest steps and the
    best are kept. Which is best is what the progress says, not Orbax's ranking:
    that takes the later of two equal values and knows no ``min_delta``.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        read_only: bool = False,
        whole: Callable[[PyTree], PyTree] = lambda tree: tree,
        told: Callable[[list[int]], list[int]] = lambda steps: steps,
    ) -> None:
        """The checkpoints in a folder.

        Args:
          folder: where the steps lie; it is made at the first save.
          read_only: nothing in it is changed.
          whole: of processes that train together all save, each its part; this puts
            what each has by itself on all devices.
          told: gives all processes the steps that the first one sees; on a shared
            disk a new one does not appear to all at once.
        """
        self.folder = Path(folder).resolve()
        self.read_only = read_only
        self._whole, self._told = whole, told
        self._manager: Any = None  # opened late: importing Orbax takes a while
        self._best_step = -1

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None and jax.process_count() > 1:
            return  # to end a save the others are needed, who may be gone
        self.close()

    def close(self) -> None:
        """Wait for the saves under way and release the folder."""
        if self._manager is not None:
            self._manager.close()
            self._manager = None

    def _open(self) -> Any:
        if self._manager is None:
            import orbax.checkpoint as ocp
            from orbax.checkpoint import checkpoint_managers as policies

            _quiet()

            class Best(policies.PreservationPolicy):
                def should_preserve(_, checkpoints, *, context):  # noqa: N805
                    return [c.step == self._best_step for c in checkpoints]

            self._manager = ocp.CheckpointManager(
                self.folder,
                options=ocp.CheckpointManagerOptions(
                    preservation_policy=policies.AnyPreservationPolicy(
                        [policies.LatestN(2), Best()]
                    ),
                    cleanup_tmp_directories=not self.read_only,
                    create=not self.read_only,
                    read_only=self.read_only,
                ),
                item_names=("state", "progress", "about"),
            )
        return self._manager

    def steps(self) -> list[int]:
        """The whole steps on disk, oldest first (read from the disk, not from
        the memory of what was asked to be saved)."""
        found = list(self.folder.iterdir()) if self.folder.is_dir() else []
        return self._told(sorted(int(p.name) for p in found if p.name.isdigit()))

    def save(
        self,
        step: int,
        state: PyTree,
        progress: PyTree,
        totals: Any = None,
        best_step: int = -1,
    ) -> None:
        """Save asynchronously; a step that lies there already is left alone.

        Args:
          step: steps taken.
          state: any pytree of arrays; copied before this returns.
          progress: likewise.
          totals: JSON data: the running sums of the training metrics.
          best_step: the step to keep whatever comes later.

        Raises:
          OSError: when the folder cannot be written.
        """
        import orbax.checkpoint as ocp

        manager = self._open()
        # The save before must end with the best step that it was given: which steps
        # may go is asked when it is finished. (Saving would wait for it anyway.)
        manager.wait_until_finished()
        if step in self.steps():
            return
        self._best_step = best_step
        progress = self._whole(progress)
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            progress=ocp.args.StandardSave(progress),
            about=ocp.args.JsonSave(
                {"totals": json.dumps(totals), "shapes": shapes(state)}
            ),
        )
        if not manager.save(step, args=args, force=True):
            raise OSError(f"step {step} could not be saved in {self.folder}.")

    def restore(
        self, template: PyTree, progress: PyTree, step: int | None = None
    ) -> Restored | None:
        """The newest checkpoint, or that of ``step``; None when there is none.

        Args:
          template: a state of the run's structure, laid out over devices as the
            restored one shall be; its values do not matter.
          progress: likewise.

        Raises:
          ValueError: when what lies there has another structure.
        """
        import orbax.checkpoint as ocp

        steps = self.steps()
        if not steps:
            return None
        step = steps[-1] if step is None else step
        manager = self._open()
        about = manager.restore(step, args=_only(about=ocp.args.JsonRestore()))["about"]
        changed = shape_difference(about["shapes"], shapes(template))
        if changed:
            raise ValueError(
                f"checkpoint {self.folder / str(step)} does not fit this model and "
                f"optimizer: {'; '.join(changed[:5])}"
                f"{f'; and {len(changed) - 5} more' if len(changed) > 5 else ''}."
            )
        item = manager.restore(
            step,
            args=_only(
                state=ocp.args.StandardRestore(_abstract(template)),
                progress=ocp.args.StandardRestore(_abstract(self._whole(progress))),
            ),
        )
        # A copy that JAX owns: restored buffers may be donated by the next step.
        state, progress = jax.tree.map(jnp.copy, (item.state, item.progress))
        return Restored(step, state, progress, json.loads(about["totals"]))

    def read_best(self) -> tuple[int, PyTree] | None:
        """Step and state of the best check (the newest where none was), as nested
        dicts of arrays; None when there is no checkpoint.

        Needs no template, and so neither the optimizer nor the code of the run.
        """
        import orbax.checkpoint as ocp

        steps = self.steps()
        if not steps:
            return None
        manager = self._open()
        # Wherever it was saved from, it is read onto one device.
        here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        raw = ocp.args.StandardRestore(fallback_sharding=here)
        progress = manager.restore(steps[-1], args=_only(progress=raw)).progress
        best = int(progress["best_step"])
        step = best if best in steps else steps[-1]
        return step, manager.restore(step, args=_only(state=raw)).state

    def wait(self) -> None:
        """Return when every save asked for is on disk."""
        if self._manager is not None:
            self._manager.wait_until_finished()


def _only(**items: Any) -> Any:
    import orbax.checkpoint as ocp

    return ocp.args.Composite(**items)


def shapes(tree: PyTree) -> dict[str, str]:
    """Path to type of every array, e.g. ``params/Dense_0/kernel: float32[64,10]``."""
    rows = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        rows[path_name(path)] = f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
    return rows


def shape_difference(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """Readable lines of what differs between two ``shapes``."""
    return [
        f"{name} is {old.get(name, 'absent')} there and {new.get(name, 'absent')} here"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]


def _abstract(tree: PyTree) -> PyTree:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
        jax.tree.map(jnp.asarray, tree),
    )


def _quiet() -> None:
    """Leave Orbax's dozen log lines a save out, harmless warnings among them: what
    goes wrong it raises."""
    logger = standard_logging.getLogger("absl")
    if _from_orbax not in logger.filters:
        logger.addFilter(_from_orbax)


def _from_orbax(record: standard_logging.LogRecord) -> bool:
    """False for what a log leaves out."""
    ours = "orbax" not in record.pathname
    return ours or record.levelno >= standard_logging.ERROR
