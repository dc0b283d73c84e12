"""Where metrics go: JSON lines, TensorBoard, or several places at once.

A writer has ``append(step, split, values)``, ``cut(step)``, which a resumed run calls
once with the step it starts from, and ``close()``. No file is held open, and a line is
written whole or not at all: where a disk is full, what could not be written then is
written later.
"""

import json
import os
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from jaxdl.runs.folder import jsonable, write_bytes

Row = dict[str, Any]


class Writer(Protocol):
    """What every writer does."""

    def append(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """Records ``values`` (name to number) of ``split`` at ``step``."""

    def cut(self, step: int) -> None:
        """Forgets what lies after ``step``: the run goes on from there."""

    def settled(self) -> bool:
        """Whether all that it was given is where it belongs."""

    def close(self) -> None:
        """Writes out what is held back."""


@dataclass(frozen=True)
class MetricsLog:
    """``metrics.jsonl``: a JSON object a line, ``step``, ``split``, then the values.

    There is no clock in it, so equal runs leave equal files. Floats keep every
    bit; those that are not finite are the strings "nan", "inf" and "-inf".
    """

    path: Path

    def append(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """Adds one line, handed to the system at once (kill -9 loses none).

        Raises:
          ValueError: a value is named ``step`` or ``split``.
        """
        _append(self.path, {"step": int(step), "split": split}, values)

    def cut(self, step: int) -> None:
        """Keeps the lines up to ``step``, and of those no test line.

        The test part is read once, after training: a run that goes on has not
        been tested yet, and would write that line a second time. A last line
        that was torn goes too. The lines kept stay as they are, byte for byte.
        """
        _cut(self.path, lambda row: row["step"] <= step and row.get("split") != "test")

    def settled(self) -> bool:
        """Nothing is held back."""
        return True

    def close(self) -> None:
        """Nothing is held back."""


@dataclass(frozen=True)
class SpeedLog:
    """``speed.jsonl``: ``step``, ``time`` (ISO, UTC), then the values.

    Kept apart from the metrics since no two runs take equal times.
    """

    path: Path
    clock: Callable[[], float] = time.time

    def append(self, step: int, values: Mapping[str, Any]) -> None:
        """Adds one line.

        Raises:
          ValueError: a value is named ``step`` or ``time``.
        """
        seconds = self.clock()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        now = f"{stamp}.{int(seconds % 1 * 1000):03}Z"
        _append(self.path, {"step": int(step), "time": now}, values)

    def cut(self, step: int) -> None:
        """Keeps the lines up to ``step``."""
        _cut(self.path, lambda row: row["step"] <= step)

    def close(self) -> None:
        """Nothing is held back."""


@dataclass
class Patient:
    """Holds back rows that another writer cannot write, and tries again with the next.

    Checkpoints must wait for them: one that is newer than the rows on disk would let a
    run that is killed go on without them.
    """

    log: Writer
    warn: Callable[[str], None]
    _held: list[tuple[int, str, Mapping[str, Any]]] = field(
        default_factory=list, init=False, repr=False
    )

    def append(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """Writes what is held back and then this; or holds it back too."""
        self._held.append((step, split, values))
        error = self._write()
        if error is not None and len(self._held) == 1:
            self.warn(
                f"metrics cannot be written ({error.strerror or error}): they are "
                "held back, and so are checkpoints, until they can be."
            )

    def _write(self) -> OSError | None:
        """Writes as many rows as it can; what hindered it."""
        while self._held:
            try:
                self.log.append(*self._held[0])
            except OSError as error:
                return error
            self._held.pop(0)
        return None

    def cut(self, step: int) -> None:
        """Cuts the other writer."""
        self.log.cut(step)

    def settled(self) -> bool:
        """Whether nothing is held back, now that it is tried again."""
        return self._write() is None

    def close(self) -> None:
        """Tries for the last time.

        Raises:
          OSError: rows cannot be written.
        """
        error = self._write()
        self.log.close()
        if error is not None:
            raise OSError(
                error.errno,
                f"the last {len(self._held)} rows of metrics could not be written: "
                f"{error.strerror or error}",
            )


@dataclass
class TensorBoard:
    """Event files for TensorBoard, scalars named ``split/name``; opened when used.

    They repeat what other writers have: where they cannot be written, that is told and
    no more of them is.
    """

    folder: Path
    warn: Callable[[str], None] = lambda line: None
    _path: Path | None = field(default=None, init=False, repr=False)
    _given_up: bool = field(default=False, init=False, repr=False)

    def append(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """Adds each value as the scalar ``split/name`` at ``step``."""
        from jaxdl.runs.events import Summary

        self._write(
            {
                "step": int(step),
                "summary": Summary(
                    value=[
                        Summary.Value(tag=f"{split}/{name}", simple_value=float(value))
                        for name, value in values.items()
                    ]
                ),
            }
        )

    def cut(self, step: int) -> None:
        """Has TensorBoard hide what earlier event files hold after ``step``."""
        from jaxdl.runs.events import SessionLog

        self.close()
        log = SessionLog(status=SessionLog.START)
        self._write({"step": int(step) + 1, "session_log": log})

    def settled(self) -> bool:
        """Nothing is waited for."""
        return True

    def close(self) -> None:
        """The next scalar begins a new file."""
        self._path = None

    def _write(self, event: Mapping[str, Any]) -> None:
        """Adds an event (its fields), after the one that every file begins with."""
        if self._given_up:
            return
        content = b""
        if self._path is None:
            now = time.time_ns()  # named by the second alone, files would collide
            host = socket.gethostname()
            name = f"events.out.tfevents.{now // 10**9}.{host}.{now}"
            self._path = self.folder / name
            content = _framed({"file_version": "brain.Event:2"})
        try:
            _append_bytes(self._path, content + _framed(event))
        except OSError as error:
            self._given_up = True
            self.warn(f"TensorBoard's events are no longer written ({error.strerror}).")


@dataclass(frozen=True)
class Tee:
    """Several writers as one."""

    writers: tuple[Writer, ...]

    def append(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """Records in every writer, in order."""
        for writer in self.writers:
            writer.append(step, split, values)

    def cut(self, step: int) -> None:
        """Cuts every writer."""
        for writer in self.writers:
            writer.cut(step)

    def settled(self) -> bool:
        """Whether every writer is."""
        return all(writer.settled() for writer in self.writers)

    def close(self) -> None:
        """Closes every writer."""
        for writer in self.writers:
            writer.close()


def tee(*writers: Writer) -> Tee:
    """One writer that hands everything to each of ``writers``."""
    return Tee(writers)


def run_log(metrics: Path, folder: Path, warn: Callable[[str], None]) -> Tee:
    """Where a run's metrics go: its ``metrics.jsonl``, and TensorBoard; ``warn`` is
    told, in a line, of what cannot be written."""
    return tee(Patient(MetricsLog(metrics), warn), TensorBoard(folder, warn))


@dataclass
class MembersLog:
    """Metrics of members that train together, each to a log of its own.

    Rows hold arrays [members]. They are held back until ``settle`` says which
    members they are of: one that has stopped gets none.
    """

    logs: tuple[Tee, ...]
    _held: list[tuple[int, str, Mapping[str, Any]]] = field(
        default_factory=list, init=False, repr=False
    )

    def append(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """Holds a row back."""
        self._held.append((step, split, values))

    def settle(self, running: Sequence[bool]) -> None:
        """Hands what is held back to the logs of the members that were running."""
        for step, split, values in self._held:
            for index, log in enumerate(self.logs):
                if running[index]:
                    log.append(step, split, {k: v[index] for k, v in values.items()})
        self._held.clear()

    def cut(self, step: int) -> None:
        """Cuts every log."""
        for log in self.logs:
            log.cut(step)

    def settled(self) -> bool:
        """Whether every log is."""
        return not self._held and all(log.settled() for log in self.logs)

    def close(self) -> None:
        """Closes every log."""
        for log in self.logs:
            log.close()


def read(path: Path) -> list[Row]:
    """The rows of ``metrics.jsonl`` or ``speed.jsonl``; none if there is no file.

    "nan", "inf" and "-inf" are floats again. A torn last line is left out.

    Raises:
      ValueError: another line is not a row with a ``step``.
    """
    return [row for _, row in _lines(path)]


def _append(path: Path, head: Row, values: Mapping[str, Any]) -> None:
    for name in head:
        if name in values:
            raise ValueError(f"a metric may not be named {name!r}: each line has one")
    row = jsonable({**head, **values})
    line = json.dumps(row, allow_nan=False, ensure_ascii=False)
    _append_bytes(path, line.encode() + b"\n")


def _append_bytes(path: Path, content: bytes) -> None:
    """Adds all of the content to a file, or nothing.

    Raises:
      OSError: it cannot be written.
    """
    with path.open("ab", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            left = memoryview(content)
            while left:
                left = left[file.write(left) :]
        except OSError:
            os.ftruncate(file.fileno(), size)
            raise


def _framed(event: Mapping[str, Any]) -> bytes:
    """An event of TensorBoard as a record of its file: length, hash, content, hash."""
    from jaxdl.runs.events import Event, masked_crc32c

    content = Event(wall_time=time.time(), **event).SerializeToString()
    length = struct.pack("<Q", len(content))
    hashes = (struct.pack("<I", masked_crc32c(part)) for part in (length, content))
    return length + next(hashes) + content + next(hashes)


def _cut(path: Path, keep: Callable[[Row], bool]) -> None:
    if not path.is_file():
        return
    kept = b"".join(line for line, row in _lines(path) if keep(row))
    if kept != path.read_bytes():
        write_bytes(path, kept)


def _lines(path: Path) -> list[tuple[bytes, Row]]:
    """Each whole line as it stands, with its row."""
    if not path.is_file():
        return []
    pairs = []
    # A process that was killed leaves a last line without its end.
    whole = path.read_bytes().split(b"\n")[:-1]
    for number, line in enumerate(whole, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number} is broken: {error}") from error
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise ValueError(f"{path}, line {number} is broken: no step in it")
        pairs.append((line + b"\n", {name: _number(row[name]) for name in row}))
    return pairs


def _number(value: Any) -> Any:
    return float(value) if value in ("nan", "inf", "-inf") else value
