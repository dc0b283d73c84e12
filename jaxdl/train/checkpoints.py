"""Checkpoints: the latest and the best state of a run, by Orbax.

The only module that knows Orbax. A checkpoint holds the state, the progress
and the running sums of the training metrics: all that decides what comes next;
and the hashes of its files, without which none is trusted.
"""

import json
import logging as standard_logging
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxdl.train import manifest, orbax_words
from jaxdl.train.shapes import shape_difference, shapes
from jaxdl.train.state import copied, size_bytes

# Where steps go that make room: moved there whole, then deleted. Deleted in their
# place they would be steps with some of their files, for a moment or for ever.
_REMOVED = "removed"

# Bytes of a state in main memory that is copied, to be saved behind the loop.
COPIED_UP_TO = 2**30


def _log(line: str) -> None:
    standard_logging.getLogger("absl").warning("%s", line)


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

    A save that fails (a full disk) is told by ``warn`` and noted in ``failed``;
    training may go on, and older steps are as they were. A step that is not whole is
    set aside when it is to be read, and the newest whole one read in its place.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        read_only: bool = False,
        verify: bool = True,
        warn: Callable[[str], None] = _log,
        whole: Callable[[PyTree], PyTree] = lambda tree: tree,
        told: Callable[[list[int]], list[int]] = lambda steps: steps,
    ) -> None:
        """The checkpoints in a folder.

        Args:
          folder: where the steps lie; it is made at the first save.
          read_only: nothing in it is changed.
          verify: read no step whose files are not those of its manifest.
          warn: told, in a line, of steps that are lost.
          whole: of processes that train together all save, each its part; this puts
            what each has by itself on all devices.
          told: gives all processes the steps that the first one sees; on a shared
            disk a new one does not appear to all at once.
        """
        self.folder = Path(folder).resolve()
        self.read_only, self.verify = read_only, verify
        self.failed: list[int] = []  # steps that could not be saved
        self.seconds = 0.0  # that the last save took, until it was on disk
        self._failing = False  # whether the last save failed
        self.best_lost = False  # whether another state takes the place of the best
        self._warn, self._whole, self._told = warn, whole, told
        self._manager: Any = None  # opened late: importing Orbax takes a while
        self._best_step = -1
        self._saving: int | None = None  # the step on its way to the disk
        self._began = 0.0  # when that was asked for
        self._pool: ThreadPoolExecutor | None = None
        self._handed: Future[None] | None = None  # a copy, on its way to Orbax

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None and jax.process_count() > 1:
            return  # to end a save the others are needed, who may be gone
        self.close()

    def close(self) -> None:
        """Wait for the save under way and release the folder."""
        self.wait()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        if self._manager is not None:
            self._manager.close()
            self._manager = None
            self._clear()
        self._sweep()

    def _open(self) -> Any:
        if self._manager is None:
            import orbax.checkpoint as ocp
            from orbax.checkpoint import checkpoint_managers as policies

            orbax_words.quiet()
            self._clear()

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
                    todelete_subdir=None if self.read_only else _REMOVED,
                    read_only=self.read_only,
                    async_options=ocp.AsyncOptions(
                        post_finalization_callback=self._seal
                    ),
                ),
                item_names=("state", "progress", "about"),
            )
        return self._manager

    def _seal(self) -> None:
        """Called by Orbax when all processes have written, before the step is given
        its name: from then on it is never without a manifest."""
        self._clear()
        if jax.process_index() == 0:
            for written in self.folder.glob(f"{self._saving}.*tmp*"):
                manifest.write(written)
        self.seconds = time.perf_counter() - self._began

    def _seal_late(self, place: Path) -> None:
        """Where an Orbax to come calls ``_seal`` elsewhere: a moment late."""
        sealed = (place / manifest.NAME).exists()
        if jax.process_index() == 0 and place.is_dir() and not sealed:
            manifest.write(place)

    def _sweep(self) -> None:
        """Give back the room that failed saves took; what of them still runs may leave
        more of it behind."""
        for step in self.failed:
            for written in self.folder.glob(f"{step}.*tmp*"):
                shutil.rmtree(written, ignore_errors=True)

    def _clear(self) -> None:
        """Delete the steps that have made room."""
        if jax.process_index() == 0 and not self.read_only:
            shutil.rmtree(self.folder / _REMOVED, ignore_errors=True)

    def steps(self) -> list[int]:
        """The steps on disk, oldest first (read from the disk, not from the memory
        of what was asked to be saved)."""
        return self._told(self._steps())

    def _steps(self) -> list[int]:
        found = list(self.folder.iterdir()) if self.folder.is_dir() else []
        return sorted(int(path.name) for path in found if path.name.isdigit())

    def holds(self, step: int) -> bool:
        """Whether a step is on disk."""
        return step in self._steps()

    def is_whole(self, step: int) -> bool:
        """Whether a step is on disk and, where that is verified, what its manifest
        says; all processes agree."""
        whole = self.holds(step)
        if whole and self.verify and jax.process_index() == 0:
            whole = not manifest.wrong(self.folder / str(step))
        return self._told([int(whole)]) == [1]

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
          RuntimeError, ValueError, OSError: where several processes save and one
            cannot; alone, that is noted and told.
        """
        # The save before must end with the best step that it was given: which steps
        # may go is asked when it is finished. (Saving would wait for it anyway.)
        self.wait()
        self._sweep()
        try:
            if self._manager is not None and not self.folder.is_dir():
                raise FileNotFoundError(f"{self.folder} is gone")
            manager = self._open()
            if step in self.steps():
                return
            self._best_step, self._saving = best_step, step
            self._began = time.perf_counter()
            hand = partial(_hand, manager, step)
            if _is_quickly_copied(state):
                self._pool = self._pool or ThreadPoolExecutor(1, "jaxdl-save")
                items = self._items(copied(state), progress, totals)
                self._handed = self._pool.submit(hand, items)
            else:
                hand(self._items(state, progress, totals))
        except (OSError, ValueError, RuntimeError) as error:
            self._lost(step, error)

    def _items(self, state: PyTree, progress: PyTree, totals: Any) -> Any:
        import orbax.checkpoint as ocp

        about = {"totals": json.dumps(totals), "shapes": shapes(state)}
        progress = jax.tree.map(jnp.asarray, progress)
        return _only(
            state=ocp.args.StandardSave(state),
            progress=ocp.args.StandardSave(self._whole(progress)),
            about=ocp.args.JsonSave(about),
        )

    def wait(self) -> None:
        """Return when the save asked for is on disk, or has failed."""
        if self._manager is None or self._saving is None:
            return
        try:
            handed, self._handed = self._handed, None
            if handed is not None:
                handed.result()
            self._manager.wait_until_finished()
            self._seal_late(self.folder / str(self._saving))
            if self._failing:
                self._warn(f"checkpoints can be saved again: {self._saving} is.")
                self._failing = False
        except Exception as error:
            self._lost(self._saving, error)
        self._saving = None

    def poll(self) -> None:
        """Tell of a save that has failed by now; waits for nothing."""
        # Of several processes, none knows by itself when the others are done.
        if self._saving is None or jax.process_count() > 1:
            return
        if self._handed is not None and not self._handed.done():
            return
        if not self._manager.is_saving_in_progress():
            self.wait()

    def _lost(self, step: int, error: Exception) -> None:
        """Note a save that has failed, and tell."""
        if jax.process_count() > 1:
            raise error  # the others cannot save either, and cannot be told
        if self._manager is not None and self.folder.is_dir():
            self._manager.reload()  # it believes that older steps have made room
        again, self._saving, self._failing = self._failing, None, True
        self.failed.append(step)
        self._clear()
        self._sweep()
        if again:
            return  # said already
        there = self._steps()
        kept = f"the newest there is {there[-1]}" if there else "there is none yet"
        why = orbax_words.reason(error)
        self._warn(f"checkpoint {step} could not be saved ({why}); {kept}.")

    def restore(
        self, template: PyTree, progress: PyTree, step: int | None = None
    ) -> Restored | None:
        """The newest whole checkpoint, or that of ``step``; None when there is none.

        Args:
          template: a state of the run's structure, laid out over devices as the
            restored one shall be; its values do not matter.
          progress: likewise.
          step: which one; None takes the newest.

        Raises:
          ValueError: when what lies there has another structure, or is not verified
            by a manifest at all.
        """
        import orbax.checkpoint as ocp

        step = self._trusted(step)
        if step is None:
            return None
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

    def _trusted(self, step: int | None = None) -> int | None:
        """The newest step that is whole, or ``step`` if it is; all processes agree.

        Raises:
          ValueError: no step has a manifest.
        """
        old, moved, found = self._told(
            list(self._look(step)) if jax.process_index() == 0 else []
        )
        if old:
            raise ValueError(
                f"the checkpoints of {self.folder} have no {manifest.NAME}: they are "
                "an older version's, or someone else's. To use them as they are, give "
                "--verify=False."
            )
        if moved and self._manager is not None:
            self._manager.reload()
        return None if found < 0 else found

    def _look(self, step: int | None) -> tuple[int, int, int]:
        """Whether no step has a manifest; how many were set aside; which is whole."""
        there = self._steps()
        wanted = [n for n in reversed(there) if step in (None, n)]
        if not self.verify:
            return 0, 0, wanted[0] if wanted else -1
        sealed = any((self.folder / str(n) / manifest.NAME).exists() for n in there)
        if there and not sealed and not self.read_only:
            return 1, 0, -1
        if there and not sealed:
            self._warn(f"{self.folder} has no {manifest.NAME}: read without a check.")
            return 0, 0, wanted[0] if wanted else -1
        for bad, number in enumerate(wanted):
            wrong = manifest.wrong(self.folder / str(number))
            if not wrong:
                return 0, bad, number
            self._set_aside(number, wrong)
        if wanted and step is None:
            self._warn(f"no whole checkpoint is left in {self.folder}.")
        return 0, len(wanted), -1

    def _set_aside(self, step: int, wrong: str) -> None:
        place = self.folder / str(step)
        line = f"checkpoint {step} is damaged ({wrong})"
        if self.read_only:
            self._warn(f"{line}: passed over.")
        else:
            self._warn(f"{line}: set aside as {manifest.set_aside(place)}.")

    def read_best(self) -> tuple[int, PyTree] | None:
        """Step and state of the best check (the newest where none was, or where it is
        lost), as nested dicts of arrays; None when there is no checkpoint.

        Needs no template, and so neither the optimizer nor the code of the run.
        """
        import orbax.checkpoint as ocp

        newest = self._trusted()
        if newest is None:
            return None
        manager = self._open()
        # Wherever it was saved from, it is read onto one device.
        here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        raw = ocp.args.StandardRestore(fallback_sharding=here)
        progress = manager.restore(newest, args=_only(progress=raw)).progress
        best = int(progress["best_step"])
        step = newest if best in (-1, newest) else self._trusted(best)
        if step is None:
            self.tell_best_lost(best, newest)
            step = newest
        return step, manager.restore(step, args=_only(state=raw)).state

    def read(self, step: int) -> dict[str, Any]:
        """State, progress and totals of a step as nested dicts of arrays, unchecked."""
        import orbax.checkpoint as ocp

        here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        raw = ocp.args.StandardRestore(fallback_sharding=here)
        about = ocp.args.JsonRestore()
        item = self._open().restore(
            step, args=_only(state=raw, progress=raw, about=about)
        )
        return {"state": item.state, "progress": item.progress, "about": item.about}

    def tell_best_lost(self, best: int, instead: int) -> None:
        """Say that what was best is gone, and what takes its place."""
        self.best_lost = True
        self._warn(f"the best checkpoint, {best}, is lost: {instead} takes its place.")


def _hand(manager: Any, step: int, items: Any) -> None:
    """Give a step to Orbax, which writes it on threads of its own.

    Raises:
      OSError: it does not take it.
    """
    # Of a save that failed before, which has been told, Orbax tells each thread anew.
    with suppress(Exception):
        manager.wait_until_finished()
    if not manager.save(step, args=items, force=True):
        raise OSError("Orbax declined")


def _is_quickly_copied(state: PyTree) -> bool:
    """Whether the loop is to wait for no more than a copy: what Orbax does before it
    copies took 80 ms for 100 arrays of 1 MiB, a copy 8 to 25 (two cores). A device has
    no room for another state, and several processes save in step."""
    alone = jax.process_count() == 1 and jax.default_backend() == "cpu"
    return alone and size_bytes(state) <= COPIED_UP_TO


def _only(**items: Any) -> Any:
    import orbax.checkpoint as ocp

    return ocp.args.Composite(**items)


def _abstract(tree: PyTree) -> PyTree:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
        jax.tree.map(jnp.asarray, tree),
    )
