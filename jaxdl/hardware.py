"""What this machine lets a process use."""

import os
import platform
from functools import cache
from pathlib import Path


def cpu_count() -> int:
    """How many CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model() -> str:
    """The processor's name, such as "AMD EPYC"; where that is not told, its kind."""
    return _told("model name") or platform.processor() or platform.machine()


@cache
def cpu_instructions() -> str:
    """The processor's instruction sets, "fma avx2" among many ("flags" on x86,
    "Features" on ARM); where they are not told, its kind."""
    return _told("flags", "Features") or platform.machine()


def _told(*names: str) -> str:
    """The first line of /proc/cpuinfo of one of these names, without it; empty where
    there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    found = (line.partition(":")[2] for line in lines if line.startswith(names))
    return next(found, "").strip()


def memory_bytes() -> int | None:
    """Main memory in bytes, or the container's limit if lower; None if unknown."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):
        return total
    return min(total, limit)


def require_memory(what: str, needed: int, advice: str) -> None:
    """Raise ValueError, in a line with the advice, where something needs more bytes
    than there are: the system would kill the process in place of an error."""
    there = memory_bytes()
    if there is not None and needed > there:
        raise ValueError(
            f"{what} takes {needed / 2**30:,.1f} GiB, and this machine has "
            f"{there / 2**30:,.1f}: {advice}."
        )
