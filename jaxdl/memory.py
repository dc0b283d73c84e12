"""Memory that a step frees is kept for the next one."""

import ctypes
import sys

# Parameters of mallopt, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Tell the C library to keep large blocks that are freed, and give them out again.

    By default glibc takes each large block from the operating system and gives it back
    at once. XLA's CPU backend asks for its temporary arrays anew at every call, so
    that each step then waits for the system to hand over, and clear, the same pages:
    digits' CNN took 37 and 47 ms a step, and 25 and 35 with its memory kept (a busy
    virtual machine). The price: the process holds on to the most memory that it used,
    and threads that ask for memory at once wait for one another (those of the compiled
    kernels keep some back).

    All threads share the one heap that can be kept: another thread's own heap gives
    back what it frees, and maps blocks of over 64 MB apart, whatever it is told. XLA
    computes on a thread of its own, where a Transformer of four layers faulted in 4,750
    pages a step: 14 of the 390 ms that two cores had for it.

    Call it before JAX has begun to compute. It is for the whole process.

    Returns:
      Whether it was done: False where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    # No block is mapped apart from the heap, which is never cut, and the only one.
    options = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _ARENA_MAX: 1}
    return all(library.mallopt(name, value) for name, value in options.items())
