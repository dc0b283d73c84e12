"""A checkpoint's manifest: the SHA-256 of every file, written before it is committed.

Orbax keeps no hash of what it writes, and restores a flipped bit without a word.
The manifest lies in the step's folder before that gets its name, so that no step is
ever without one; what is then still written at the commit is told apart below.
"""

import hashlib
import json
import os
from pathlib import Path

NAME = "manifest.json"

# Orbax's own: written anew with the time of the commit, after the manifest ...
_METADATA, _TIME = "_CHECKPOINT_METADATA", "commit_timestamp_nsecs"
# ... or added then, and never read.
_ADDED = "commit_success.txt"


def write(folder: Path) -> None:
    """Write the manifest of the files below a folder into it.

    Raises:
      OSError: a file cannot be read, or the manifest not written.
    """
    content = json.dumps({"sha256": hashes(folder)}, indent=0, sort_keys=True)
    with (folder / NAME).open("w", encoding="utf-8") as file:
        file.write(content + "\n")
        file.flush()
        os.fsync(file.fileno())


def wrong(folder: Path) -> str:
    """What is wrong with a checkpoint, in a few words; empty where it is whole."""
    if not (folder / NAME).is_file():
        return f"it has no {NAME}"
    try:
        told = json.loads((folder / NAME).read_bytes())["sha256"]
        found = hashes(folder)
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"its {NAME} is broken"
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"
    if not isinstance(told, dict):
        return f"its {NAME} is broken"
    for name in sorted({*told, *found}):
        if name not in found:
            return f"{name} is missing"
        if name not in told:
            return f"{name} does not belong to it"
        if told[name] != found[name]:
            return f"{name} is not as it was written"
    return ""


def hashes(folder: Path) -> dict[str, str]:
    """Path to SHA-256 of every file below a folder, the manifest aside.

    Raises:
      OSError: a file cannot be read; links are none of a checkpoint's and count as
        such.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise OSError(f"{name} is a link")
        if path.is_dir() or name in (NAME, _ADDED):
            continue
        found[name] = _timeless(path) if name == _METADATA else _hash(path)
    return found


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _timeless(path: Path) -> str:
    """The hash of Orbax's metadata but for the time of the commit."""
    content = path.read_bytes()
    try:
        about = json.loads(content)
        about.pop(_TIME, None)
        content = json.dumps(about, sort_keys=True).encode()
    except (ValueError, AttributeError, RecursionError):
        pass  # broken: then its bytes are hashed, which no manifest knows
    return hashlib.sha256(content).hexdigest()


def set_aside(folder: Path) -> Path:
    """Move a checkpoint that is not whole out of the way, to where it can be looked at;
    where it lies now.

    Raises:
      OSError: it cannot be moved.
    """
    aside = folder.parent / "set_aside"
    aside.mkdir(exist_ok=True)
    number = 1
    while os.path.lexists(aside / f"{folder.name}-{number}"):
        number += 1
    return folder.rename(aside / f"{folder.name}-{number}")
