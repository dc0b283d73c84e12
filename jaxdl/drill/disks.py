"""Disks that fill up, limits on files, folders that become read-only or vanish."""

import os
import random
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jaxdl.drill.running import Drill, Running, Tally, steps_of
from jaxdl.train import manifest


def disk(drill: Drill, draw: random.Random, count: int) -> Tally:
    """A file system that is full at a random byte, by a small tmpfs; where none may be
    mounted (only root may), as ``limit``.

    The run must end with a line and an exit code that is not 0, or go on where room
    comes back; every checkpoint must be whole; with room, the same command must end
    as the whole run did.
    """
    if not _may_mount(drill.scratch):
        tally = limit(drill, draw, count)
        tally.notes.append("no right to mount: a limit on the size of files instead")
        return Tally("disk", tally.tried, tally.survived, tally.lost, tally.notes)
    tally = Tally("disk")
    # The room that a run takes, two saves' worth of it from the beginning.
    size = sum(p.stat().st_size for p in drill.whole.rglob("*") if p.is_file())
    for _ in range(count):
        room = int(draw.uniform(0.02, 1.0) * size)
        folder = drill.fresh("disk")
        with _mounted(folder.parent, room):
            running = drill.begin(folder)
            wrong = _ended(running, running.wait())
            _remount(folder.parent, 64 * size + 2**26)
            wrong += drill.end(folder)
        said = running.last_line()[:160]
        drill.say(f"disk: full at {room:,} bytes: {said} Then {wrong or 'equal'}")
        tally.count([f"full at {room:,} bytes: {line}" for line in wrong])
    return tally


def limit(drill: Drill, draw: random.Random, count: int) -> Tally:
    """A limit on the size of a file (RLIMIT_FSIZE), drawn anew for each run: writing
    fails as on a full disk, at that byte of each file."""
    tally = Tally("limit")
    sizes = [p.stat().st_size for p in drill.whole.rglob("*") if p.is_file()]
    for _ in range(count):
        size = int(max(sizes) ** draw.uniform(0.3, 1.0))
        folder = drill.fresh("limit")
        running = drill.begin(
            folder,
            preexec_fn=lambda size=size: resource.setrlimit(
                resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY)
            ),
        )
        wrong = [*_ended(running, running.wait()), *drill.end(folder)]
        said = running.last_line()[:160]
        drill.say(f"limit: files of {size:,} bytes: {said} Then {wrong or 'equal'}")
        tally.count([f"files of {size:,} bytes: {line}" for line in wrong])
    return tally


def readonly(drill: Drill, draw: random.Random, count: int) -> Tally:
    """A run folder that can no longer be written to, from a moment on."""

    def fault(folder: Path) -> Callable[[], None]:
        if _may_mount(folder.parent):
            _mount_read_only(folder)
            return lambda: _call("umount", "-l", folder)
        places = [folder, *(p for p in folder.rglob("*") if p.is_dir())]
        for place in places:
            place.chmod(0o555)

        def mend() -> None:
            for place in places:
                with suppress(FileNotFoundError):
                    place.chmod(0o755)

        return mend

    return _on_the_way("readonly", fault, drill, draw, count)


def vanish(drill: Drill, draw: random.Random, count: int) -> Tally:
    """A run folder that is gone from a moment on, and later is back."""

    def fault(folder: Path) -> Callable[[], None]:
        away = folder.with_name("away")
        folder.rename(away)

        def mend() -> None:
            if folder.exists():  # whatever was written there is none of the run
                shutil.rmtree(folder)
            away.rename(folder)

        return mend

    return _on_the_way("vanish", fault, drill, draw, count)


def _on_the_way(
    name: str,
    fault: Callable[[Path], Callable[[], None]],
    drill: Drill,
    draw: random.Random,
    count: int,
) -> Tally:
    """A fault at a random moment of training, which gives what undoes it."""
    tally = Tally(name)
    for _ in range(count):
        folder = drill.fresh(name)
        running = drill.begin(folder)
        if not running.until_training():
            continue
        time.sleep(draw.uniform(0.0, 0.5))
        mend = fault(folder)
        try:
            wrong = _ended(running, running.wait())
            over = running.process.returncode == 0
        finally:
            mend()
        if over:
            tally.notes.append("over before the fault came")
        wrong += drill.end(folder)
        drill.say(f"{name}: {running.last_line()[:200]} Then {wrong or 'equal'}")
        tally.count(wrong)
    return tally


def _ended(running: Running, code: int) -> list[str]:
    """What is wrong with the end of a run that could not write, and with what it
    leaves."""
    _, err = running.printed
    wrong = []
    if code < 0:
        wrong.append(f"ended by signal {-code}")
    if code != 0 and not running.last_line():
        wrong.append(f"exit code {code} without a word")
    if "Traceback" in err:
        wrong.append("a traceback")
    for place in steps_of(running.folder):
        if found := manifest.wrong(place):
            wrong.append(f"checkpoint {place.name} is not whole: {found}")
    return wrong


def _may_mount(scratch: Path) -> bool:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    probe = scratch / "probe"
    probe.mkdir(exist_ok=True)
    try:
        with _mounted(probe, 2**16):
            return True
    except OSError:
        return False
    finally:
        probe.rmdir()


def _mount_read_only(folder: Path, tries: int = 200) -> None:
    """The folder over itself, read-only. A file that is opened to be written between
    mounting and forbidding makes that fail: then again."""
    for attempt in range(tries):
        try:
            _call("mount", "-o", "bind,ro", folder, folder)
            return
        except OSError:
            with suppress(OSError):
                _call("umount", "-l", folder)
            if attempt == tries - 1:
                raise
            time.sleep(0.01)


@contextmanager
def _mounted(place: Path, size: int) -> Iterator[None]:
    _call("mount", "-t", "tmpfs", "-o", f"size={size}", "jaxdl-drill", place)
    try:
        yield
    finally:
        _call("umount", "-l", place)


def _remount(place: Path, size: int) -> None:
    _call("mount", "-o", f"remount,size={size}", place)


def _call(*command: object) -> None:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"{command[0]} failed: {done.stderr.strip()}")
