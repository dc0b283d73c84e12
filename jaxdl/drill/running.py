"""A training command under drill: beginning it, following it, judging its end."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from jaxdl.drill.equal import differences

# How long a command may take before it counts as hung.
SECONDS = 600.0

LAUNCHER = "jaxdl.launch"


@dataclasses.dataclass(frozen=True)
class Drill:
    """A command, a scratch folder, and the run that nothing disturbed.

    Attributes:
      command: without ``--workdir``.
      scratch: where the runs of the drills lie.
      whole: the run to be equal to.
      say: told how it goes.
    """

    command: tuple[str, ...]
    scratch: Path
    whole: Path
    say: Callable[[str], None] = lambda line: None

    def begin(self, folder: Path, **options: object) -> "Running":
        """Start the command on a run folder; options are those of ``Popen``."""
        return Running(self.command, folder, self.scratch, **options)

    def fresh(self, name: str) -> Path:
        """A new place for a run."""
        number = 1
        while (self.scratch / f"{name}-{number}").exists():
            number += 1
        (self.scratch / f"{name}-{number}").mkdir()
        return self.scratch / f"{name}-{number}" / "run"

    def differences(self, folder: Path) -> list[str]:
        """What is other in a finished run than in the undisturbed one."""
        return differences(folder, self.whole)

    def end(self, folder: Path) -> list[str]:
        """Run to the end in a folder; what is wrong with that, or with its outcome."""
        done = self.begin(folder)
        code = done.wait()
        if code != 0:
            return [f"exit code {code} at the end: {done.last_line()}"]
        return self.differences(folder)


@dataclasses.dataclass
class Tally:
    """What came of a fault: how often it was tried, survived, and with what loss."""

    fault: str
    tried: int = 0
    survived: int = 0
    lost: int = 0
    notes: list[str] = dataclasses.field(default_factory=list)

    def count(self, wrong: Sequence[str], times: int = 1) -> None:
        """Count so many tries, survived where nothing is wrong."""
        self.tried += times
        if wrong:
            self.lost += times
            self.notes.append("; ".join(wrong)[:500])
        else:
            self.survived += times


class Running:
    """A started command."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        scratch: Path,
        **options: object,
    ) -> None:
        """``folder`` becomes its ``--workdir``; what it prints goes to files."""
        self.folder = folder
        stem = scratch / f"{folder.parent.name}.{time.monotonic_ns()}"
        self._out, self._err = (Path(f"{stem}.{name}") for name in ("out", "err"))
        variables = {
            "JAX_COMPILATION_CACHE_DIR": str(scratch / "xla"),
            **os.environ,
        }
        self._launched = LAUNCHER in command
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [*command, f"--workdir={folder}"],
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                env=variables,
                **options,  # type: ignore[call-overload]
            )

    @property
    def printed(self) -> tuple[str, str]:
        """What came on stdout and stderr so far."""
        out, err = (p.read_text(errors="replace") for p in (self._out, self._err))
        return out, err

    def last_line(self) -> str:
        """The last line of stderr."""
        lines = self.printed[1].strip().splitlines()
        return lines[-1][:300] if lines else ""

    def over(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def wait(self) -> int:
        """Its exit code; -9 where it hung and had to be ended."""
        try:
            return self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            for number in (*self.processes(), self.process.pid):
                os.kill(number, signal.SIGKILL)
            return self.process.wait()

    def processes(self) -> list[int]:
        """The processes that train: itself, or those that it has launched."""
        if not self._launched:
            return [self.process.pid]
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        try:
            return [int(number) for number in path.read_text().split()]
        except OSError:
            return []

    def until(self, happened: Callable[[], bool], pause: float = 0.005) -> bool:
        """Wait until something happens; false where the command ends before."""
        deadline = time.monotonic() + SECONDS
        while not self.over() and time.monotonic() < deadline:
            if happened():
                return True
            time.sleep(pause)
        return False

    def until_training(self) -> bool:
        """Wait until the metrics grow; false where the command ends before."""
        # Resuming cuts the file: what counts is that it was written to.
        before = _written(self.folder)
        return self.until(lambda: _written(self.folder) not in (before, (0, 0)))


def _written(folder: Path) -> tuple[int, int]:
    """Size and time of the run's metrics, or those of a member of several."""
    for path in sorted(folder.glob("members/*/metrics.jsonl"))[:1]:
        folder = path.parent
    try:
        about = (folder / "metrics.jsonl").stat()
    except OSError:
        return 0, 0
    return about.st_size, about.st_mtime_ns


def prepare(
    command: Sequence[str], scratch: Path, say: Callable[[str], None] = print
) -> Drill:
    """A drill of a command, after one run of it that nothing disturbs.

    Raises:
      ValueError: the command does not come to its end.
    """
    command = list(command)
    if command[:1] in (["python"], ["python3"]):  # the one with jaxdl in it
        command[0] = sys.executable
    scratch.mkdir(parents=True, exist_ok=True)
    drill = Drill(tuple(command), scratch.resolve(), scratch.resolve() / "whole", say)
    began = time.monotonic()
    done = drill.begin(drill.whole)
    code = done.wait()
    if code != 0 or _written(drill.whole) == (0, 0):
        raise ValueError(
            f"the command ends with exit code {code} undisturbed: {done.last_line()}"
        )
    say(f"undisturbed run: {time.monotonic() - began:.1f} s")
    return drill


def copied(folder: Path, place: Path) -> Path:
    """A copy of a run at another place; its parent is made."""
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder, place)
    return place


def interrupted(drill: Drill, wait: Callable[[], float] = lambda: 0.0) -> Path:
    """A run that was asked to stop on its way, and saved.

    Raises:
      ValueError: the command is over too soon for that.
    """
    for _ in range(5):
        folder = drill.fresh("half")
        running = drill.begin(folder)
        if running.until_training():
            time.sleep(wait())
            running.process.send_signal(signal.SIGTERM)
            if running.wait() == 128 + signal.SIGTERM:
                return folder
    raise ValueError("the command is over before it can be stopped: give more steps.")


def steps_of(folder: Path) -> Iterator[Path]:
    """The folders of a run's checkpoints, the newest first."""
    states = folder / "states"
    found = [p for p in states.iterdir() if p.name.isdigit()] if states.is_dir() else []
    yield from sorted(found, key=lambda path: -int(path.name))
