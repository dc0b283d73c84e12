"""What Orbax says, and what of it is worth saying again."""

import contextlib
import logging
import re
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

# Of the coroutines that write arrays, where one before them has failed.
_NOT_AWAITED = r"coroutine '[^']*serialize[^']*' was never awaited"


def quiet() -> None:
    """Leave out Orbax's dozen log lines a save, harmless warnings among them, and what
    is printed of its parts that still run when one has failed (Python's way of telling
    of exceptions that nobody waits for): what goes wrong it raises as well."""
    for name, kept in (("absl", _from_elsewhere), ("asyncio", _waited_for)):
        logger = logging.getLogger(name)
        if kept not in logger.filters:
            logger.addFilter(kept)
    _count_no_bytes()
    warnings.filterwarnings("ignore", _NOT_AWAITED, RuntimeWarning)
    if not isinstance(sys.unraisablehook, _Unraisable):
        sys.unraisablehook = _Unraisable(sys.unraisablehook)


def _count_no_bytes() -> None:
    """Orbax counts the bytes of each save for a metric that nobody reads here, by a
    function of TensorStore's that keeps some 15 kB each time: 30 MB in 1,000 saves."""
    with contextlib.suppress(ImportError):
        from orbax.checkpoint._src.serialization import tensorstore_utils as counting

        if hasattr(counting, "get_tensorstore_raw_bytes"):
            counting.get_tensorstore_raw_bytes = lambda *_: 0  # type: ignore[attr-defined]


def _from_elsewhere(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname


def _waited_for(record: logging.LogRecord) -> bool:
    """False for an exception of a future that a failed save has left behind."""
    trace = record.exc_info[2] if record.exc_info else None
    frames = traceback.extract_tb(trace)
    left = "never retrieved" in record.getMessage()
    ours = any("orbax" in frame.filename for frame in frames)
    stored = record.exc_info is not None and "OCDBT" in str(record.exc_info[1])
    return not (left and (ours or stored))


class _Unraisable:
    """``sys.unraisablehook`` as it was, but for TensorStore's words to an event loop
    that a failed save has closed."""

    def __init__(self, before: Callable[[Any], Any]) -> None:
        self._before = before

    def __call__(self, about: Any) -> None:
        closed = str(about.exc_value) == "Event loop is closed"
        if not (closed and about.object is None):
            self._before(about)


def reason(error: BaseException) -> str:
    """Why a save failed, in a few words."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    text = " ".join(str(error).split())
    # TensorStore: "...: Failed to write ...: No space left on device [os_error...]",
    # or no more than the kind of error.
    if "RESOURCE_EXHAUSTED" in text and "[os_error_code" not in text:
        return "No space left on device"
    found = re.search(r"([^:\]]+) \[os_error_code", text)
    return found[1].strip() if found else text[:160] or type(error).__name__
