"""The folder of a run: what lies where, safe writing, flags, one writer at a time."""

import contextlib
import errno
import json
import math
import os
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

_NAMES = (
    "flags.txt",
    "model.json",
    "environment.json",
    "metrics.jsonl",
    "speed.jsonl",
    "states",
    "summary.json",
    "plots",
    "samples",
    "failure.npz",
    "members",
    "report.html",
)


@dataclass(frozen=True)
class RunFolder:
    """A run's folder and the paths of what it holds (see the README's table)."""

    path: Path

    @property
    def flags(self) -> Path:
        """The absl flagfile that repeats the run."""
        return self.path / "flags.txt"

    @property
    def model(self) -> Path:
        """What loading needs: constructor, arguments, input spec, class names."""
        return self.path / "model.json"

    @property
    def environment(self) -> Path:
        """Versions, devices, git commit, command line, time."""
        return self.path / "environment.json"

    @property
    def metrics(self) -> Path:
        """The metrics, a JSON object a line; no clock in it."""
        return self.path / "metrics.jsonl"

    @property
    def speed(self) -> Path:
        """The times, a JSON object a line."""
        return self.path / "speed.jsonl"

    @property
    def states(self) -> Path:
        """The checkpoints, latest and best."""
        return self.path / "states"

    @property
    def summary(self) -> Path:
        """The outcome."""
        return self.path / "summary.json"

    @property
    def plots(self) -> Path:
        """The folder of pictures."""
        return self.path / "plots"

    @property
    def samples(self) -> Path:
        """What the states showed as the run learned, named by step."""
        return self.path / "samples"

    @property
    def failure(self) -> Path:
        """Batch and state of the step that was not finite, where there was one."""
        return self.path / "failure.npz"

    @property
    def members(self) -> Path:
        """The run folders of members that were trained together."""
        return self.path / "members"

    @property
    def report(self) -> Path:
        """One self-contained page with all of it."""
        return self.path / "report.html"

    def holds_run(self) -> bool:
        """Whether a run was begun here: its settings or its states are there."""
        return self.flags.is_file() or self.states.is_dir()

    def contains(self, path: Path) -> bool:
        """Whether ``path``, links followed, lies inside the folder.

        A folder may come from a stranger: nothing that it links to is read.
        """
        return path.resolve().is_relative_to(self.path.resolve())


def create(path: str | os.PathLike) -> RunFolder:
    """Makes the folder of a run, or opens one that is empty or holds a run.

    Raises:
      ValueError: ``path`` is a file, holds files but no run, or is not writable.
    """
    # Resolved at once: checkpoints need absolute paths, and the run must not
    # move when the process changes its working directory.
    folder = RunFolder(Path(path).expanduser().resolve())
    try:
        if folder.path.exists() and not folder.path.is_dir():
            raise ValueError(f"workdir {folder.path} is a file; name a folder")
        folder.path.mkdir(parents=True, exist_ok=True)
        _refuse_links(folder)
        stranger = _stranger(folder)
        # Asking for the right to write is not having it (full or read-only disks).
        with tempfile.TemporaryFile(dir=folder.path) as probe:
            probe.write(b"jaxdl")
    except OSError as error:
        raise ValueError(
            f"workdir {folder.path} cannot be written: {error.strerror or error}; "
            "choose another --workdir"
        ) from error
    if stranger and not folder.holds_run():
        raise ValueError(
            f"workdir {folder.path} holds other files ({stranger}) and no run; "
            "choose an empty or a new --workdir"
        )
    return folder


def _refuse_links(folder: RunFolder) -> None:
    """Refuse a folder in which a name of a run's is a link out of it: a stranger's
    folder shall not have us read or write elsewhere."""
    for name in _NAMES:
        path = folder.path / name
        if path.is_symlink() and not folder.contains(path):
            raise ValueError(
                f"{path} is a link to what lies outside of the run's folder: nothing "
                "is read or written through it; put the thing itself there"
            )


def _stranger(folder: RunFolder) -> str | None:
    """The first file that no run writes; dot files are not counted."""
    names = sorted(entry.name for entry in folder.path.iterdir())
    for name in names:
        known = name in _NAMES or name.startswith(("events.out.tfevents.", "."))
        if not known:
            return name
    return None


def open_folder(path: str | os.PathLike) -> RunFolder:
    """The folder of a run that exists.

    Raises:
      FileNotFoundError: there is no such folder.
      ValueError: it is a file, or holds no run.
    """
    folder = RunFolder(Path(path).expanduser().resolve())
    if not folder.path.exists():
        raise FileNotFoundError(f"no run at {folder.path}: there is no such folder")
    if not folder.path.is_dir():
        raise ValueError(f"{folder.path} is a file; name the folder of a run")
    _refuse_links(folder)
    if not folder.holds_run():
        raise ValueError(
            f"{folder.path} holds no run (no flags.txt); name the folder that a "
            "training command printed, such as checkpoints/EXPERIMENT/DATE-TIME"
        )
    return folder


def default_workdir(
    experiment: str,
    clock: Callable[[], datetime] = datetime.now,
    root: str | os.PathLike = "checkpoints",
) -> Path:
    """``checkpoints/<experiment>/<YYYYmmdd-HHMMSS>``; with ``-2``... when taken."""
    first = Path(root) / experiment / clock().strftime("%Y%m%d-%H%M%S")
    path, count = first, 1
    while path.exists():
        count += 1
        path = first.with_name(f"{first.name}-{count}")
    return path


@contextlib.contextmanager
def lock(folder: RunFolder) -> Iterator[None]:
    """Keeps other processes from writing to the folder; released even when killed.

    Raises:
      ValueError: another process holds it.
    """
    import fcntl

    # No link is followed: a stranger's folder must not have us write elsewhere.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    descriptor = os.open(folder.path / ".lock", flags, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Some network file systems know no locks: there, go on without one.
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                owner = os.read(descriptor, 100).decode("ascii", "replace").strip()
                raise ValueError(
                    f"workdir {folder.path} is in use by another process "
                    f"({owner or 'unknown'}); wait for it, stop it, or choose "
                    "another --workdir"
                ) from error
        os.ftruncate(descriptor, 0)
        owner = f"{os.getpid()} on {socket.gethostname()}\n"
        os.pwrite(descriptor, owner.encode(), 0)
        yield
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all: a reader never sees half of it."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """As ``write_text``, for bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile: its files are for their owner alone, a run's for the group too.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def jsonable(value: Any) -> Any:
    """``value`` in JSON's own types, exactly.

    Floats keep every bit (Python's repr round-trips). JSON has no NaN and no
    infinity: they become the strings "nan", "inf" and "-inf", which ``float``
    reads back. NumPy and JAX scalars and arrays become numbers and lists.

    Raises:
      TypeError: a value that JSON cannot hold, such as a function.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(name): jsonable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"cannot write {value!r} ({type(value).__name__}) as JSON")


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` (see ``jsonable``) as indented JSON, whole or not at all."""
    text = json.dumps(jsonable(value), indent=2, allow_nan=False, ensure_ascii=False)
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """Reads what ``write_json`` wrote.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not JSON.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is broken: not JSON ({error})") from error
