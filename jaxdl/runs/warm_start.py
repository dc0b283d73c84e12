"""A warm start: parameters of another run's best state, to begin from."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxdl.parameters import path_name
from jaxdl.runs.folder import open_folder
from jaxdl.runs.text import printable
from jaxdl.train.checkpoints import Checkpoints

_FLAG = "--init_from"


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """What another run has to give.

    Attributes:
      run: its folder.
      step: of its best state.
      arrays: by path, ``params/Dense_0/kernel`` or ``batch_stats/...``; the moving
        average of the parameters where it kept one.
      wanted: the paths that the filter lets through.
    """

    run: Path
    step: int
    arrays: dict[str, np.ndarray]
    wanted: frozenset[str]

    def begin(self, params: PyTree, model_state: PyTree) -> tuple[PyTree, PyTree]:
        """Parameters and model state, with those that the other run gives.

        Raises:
          ValueError: an array of another shape there, or none that fits by name.
        """
        self.check(params, model_state)

        def take(path: tuple[Any, ...], leaf: Any) -> Any:
            name = path_name(path)
            if name not in self.wanted:
                return leaf
            return jnp.asarray(self.arrays[name], leaf.dtype)

        tree = jax.tree_util.tree_map_with_path(take, _named(params, model_state))
        return tree["params"], {k: v for k, v in tree.items() if k != "params"}

    def check(self, params: PyTree, model_state: PyTree) -> tuple[list[str], list[str]]:
        """Paths that are taken, and paths of this model that are not; only shapes are
        looked at.

        Raises:
          ValueError: as ``begin``.
        """
        leaves = jax.tree_util.tree_leaves_with_path(_named(params, model_state))
        here = {path_name(path): tuple(leaf.shape) for path, leaf in leaves}
        taken = [name for name in here if name in self.wanted]
        wrong = [
            f"{name} is {list(self.arrays[name].shape)} there and {list(here[name])} "
            "here"
            for name in taken
            if self.arrays[name].shape != here[name]
        ]
        if wrong:
            more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            raise ValueError(
                f"{_FLAG}={self.run}: {'; '.join(wrong[:3])}{more}. Name what to take "
                f"by a regular expression, such as {_FLAG}=RUN:{_example(taken)}"
            )
        if not taken:
            raise ValueError(
                f"{_FLAG}={self.run} has no array that is taken: it has "
                f"{_some(sorted(self.arrays))}, and this model {_some(sorted(here))}"
            )
        return taken, [name for name in here if name not in self.wanted]

    def told(self, params: PyTree, model_state: PyTree) -> str:
        """What is taken and what is not, in a line."""
        taken, left = self.check(params, model_state)
        line = f"from {self.run}, step {self.step}: {_some(taken)}"
        return printable(f"{line}; not taken: {_some(left) if left else 'none'}", 1000)


def begin(
    start: Start | None, params: PyTree, model_state: PyTree
) -> tuple[PyTree, PyTree]:
    """Those that a run begins with: the new ones, or what ``start`` makes of them."""
    if start is None:
        return params, model_state
    return start.begin(params, model_state)


def read(asked: str) -> Start:
    """The start that ``RUN`` or ``RUN:FILTER`` names.

    Args:
      asked: folder of a run, and a regular expression that paths must begin with.

    Raises:
      FileNotFoundError, ValueError: in one line: there is no such run, it has no
        checkpoint, or the filter is no regular expression or lets nothing through.
    """
    place, pattern = asked, ""
    if ":" in asked and not Path(asked).expanduser().is_dir():
        place, _, pattern = asked.rpartition(":")
    folder = open_folder(place)
    if folder.members.is_dir():
        raise ValueError(
            f"{_FLAG}={place} holds several runs: give one of {folder.members}"
        )
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"{_FLAG}: {pattern!r} is no regular expression ({error})"
        ) from error
    with Checkpoints(folder.states, read_only=True) as checkpoints:
        found = checkpoints.read_best()
    if found is None:
        raise FileNotFoundError(f"{_FLAG}: {folder.states} holds no checkpoint")
    step, state = found
    tree = _named(state.get("ema") or state["params"], state.get("model_state") or {})
    arrays = {
        path_name(path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
    wanted = frozenset(name for name in arrays if regex.match(name))
    if not wanted:
        raise ValueError(
            f"{_FLAG}: {pattern!r} fits nothing of {folder.path}, which has "
            f"{_some(sorted(arrays))}"
        )
    return Start(folder.path, step, arrays, wanted)


def _named(params: PyTree, model_state: PyTree) -> dict[str, Any]:
    """Both in one tree: the collections of a model."""
    return {"params": params, **dict(model_state)}


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown


def _example(names: list[str]) -> str:
    """A filter that takes the first layer."""
    return "/".join(names[0].split("/")[:2])
