"""Whether a folder's run is begun, continued, finished or another's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxdl import kernels
from jaxdl.runs import environment, same_code
from jaxdl.runs.flagfile import difference, read_flagfile
from jaxdl.runs.folder import RunFolder, read_json

MODES = ("auto", "never", "must")
LENGTH = ("epochs", "max_steps")  # what a finished run may be given more of


def decide(
    path: Path,
    mode: str,
    experiment: str,
    identity: Mapping[str, Any],
    length: Mapping[str, Any],
    other_code: bool = False,
) -> str:
    """Whether to begin ("new"), go on ("continue") or do nothing ("finished").

    Writes nothing.

    Args:
      path: the run folder asked for.
      mode: "auto", "never" (a run must not lie there) or "must" (one must).
      experiment: whose run it is to be.
      identity: the settings that a continued run must share.
      length: the settings that say how long; a finished run with equal ones
        has nothing left to do.
      other_code: go on although code or libraries are other than at its beginning.

    Raises:
      ValueError: in one line, when the folder's run is not to be continued.
    """
    if mode not in MODES:
        raise ValueError(f"resume is {mode!r}: give one of {', '.join(MODES)}.")
    folder = RunFolder(path.expanduser().resolve())
    holds_run = folder.holds_run()
    _require_wanted(folder, holds_run, mode)
    if not holds_run:
        return "new"
    about = _environment_of(folder, experiment)
    flags = read_flagfile(folder.flags)
    _require_same_settings(folder, flags, identity)
    longer = difference({k: flags.get(k) for k in length}, length)
    if _finished(folder) and not longer:
        return "finished"
    if not other_code:
        _require_same_code(folder, about)
    return "continue"


def _require_wanted(folder: RunFolder, holds_run: bool, mode: str) -> None:
    if mode == "must" and not holds_run:
        raise ValueError(
            f"--resume=must, but {folder.path} holds no run: check --workdir, or "
            "give --resume=auto to begin one there."
        )
    if mode == "never" and holds_run:
        raise ValueError(
            f"--resume=never, but {folder.path} holds a run: choose another --workdir, "
            "or give --resume=auto to continue it."
        )


def _environment_of(folder: RunFolder, experiment: str) -> Mapping[str, Any]:
    """What the folder's run says it came from, which must be the experiment."""
    if not folder.flags.is_file() or not folder.environment.is_file():
        raise ValueError(
            f"{folder.path} holds states but not the settings they came from: choose "
            "another --workdir."
        )
    about = read_json(folder.environment)
    theirs = about.get("experiment")
    if theirs != experiment:
        raise ValueError(
            f"{folder.path} holds a run of {theirs}, not of {experiment}: choose "
            "another --workdir."
        )
    return about


def _require_same_settings(
    folder: RunFolder, flags: Mapping[str, Any], identity: Mapping[str, Any]
) -> None:
    changed = difference({k: flags.get(k) for k in identity}, identity)
    if changed:
        raise ValueError(
            f"{folder.path} holds a run with other settings ({'; '.join(changed)}): "
            "choose another --workdir, or give the old settings to continue it."
        )


def _require_same_code(folder: RunFolder, about: Mapping[str, Any]) -> None:
    now = {
        "code": same_code.loaded_code(),
        "versions": environment.versions(),
        "compiled_kernels": kernels.load(),
    }
    if changed := same_code.changes(about, now):
        raise ValueError(
            f"{folder.path} holds a run of other code ({'; '.join(changed)}), and its "
            "steps may come out otherwise with this: give --other_code to go on all "
            "the same, or another --workdir."
        )


def _finished(folder: RunFolder) -> bool:
    if not folder.summary.is_file():
        return False
    return read_json(folder.summary).get("status") in ("completed", "early_stopped")
