"""Where metrics go: JSON lines, TensorBoard, or several places at once.

A writer has three functions: ``append(step, split, values)``, ``cut(step)``,
which a resumed run calls once with the step it starts from, and ``close()``.
"""

import json
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
class TensorBoard:
    """Event files for TensorBoard, scalars named ``split/name``; opened when used."""

    folder: Path
    _writer: Any = field(default=None, init=False, repr=False)

    def append(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """Adds each value as the scalar ``split/name`` at ``step``."""
        writer = self._open()
        for name, value in values.items():
            writer.add_scalar(f"{split}/{name}", float(value), int(step))

    def cut(self, step: int) -> None:
        """Has TensorBoard hide what earlier event files hold after ``step``."""
        self.close()
        self._open(purge_step=int(step) + 1)

    def close(self) -> None:
        """Writes out and closes the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self, purge_step: int | None = None) -> Any:
        if self._writer is None:
            from tensorboardX import SummaryWriter

            self._writer = SummaryWriter(
                str(self.folder),
                purge_step=purge_step,
                flush_secs=10,
                # Files are named by the second: one resumed within it would
                # overwrite the first.
                filename_suffix=f".{time.time_ns()}",
            )
        return self._writer


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

    def close(self) -> None:
        """Closes every writer."""
        for writer in self.writers:
            writer.close()


def tee(*writers: Writer) -> Tee:
    """One writer that hands everything to each of ``writers``."""
    return Tee(writers)


def run_log(metrics: Path, folder: Path) -> Tee:
    """Where a run's metrics go: its ``metrics.jsonl``, and TensorBoard."""
    return tee(MetricsLog(metrics), TensorBoard(folder))


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
    with path.open("ab") as file:
        file.write(line.encode() + b"\n")


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
