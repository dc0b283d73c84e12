"""What this machine lets a process use."""

import os
from pathlib import Path


def cpu_count() -> int:
    """How many CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
