"""What a task shows of its states: pictures and texts, in the run folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxdl.runs.folder import write_text
from jaxdl.train.task import Shown

# How often a run shows what it has learned, about.
TIMES = 10


def write(what: Shown, folder: Path, prefix: str = "") -> None:
    """Draw the pictures and write the texts as ``folder/prefix + name``."""
    for name, content in what.items():
        path = folder / f"{prefix}{name}"
        if isinstance(content, str):
            write_text(path, content)
        else:
            content(path)


def every(steps: int, evaluate_every: int) -> int:
    """Steps between two shows: a multiple of those between checks."""
    checks = max(1, steps // max(evaluate_every, 1))
    return max(evaluate_every, 1) * -(-checks // TIMES)


def shower(
    show: Callable[[Any], Shown], folder: Path, steps: int, evaluate_every: int
) -> Callable[[int, Any], None]:
    """``(step, state)``: writes what the state shows, where it is time to.

    Files are named by the step, so that a run that goes on writes those after its
    checkpoint again, with the same content.
    """
    between = every(steps, evaluate_every)

    def tell(step: int, state: Any) -> None:
        if step % between == 0 or step == steps:
            write(show(state), folder, f"{step:08d}_")

    return tell
