"""What Orbax says, and what of it is worth saying again."""

import logging
import re


def quiet() -> None:
    """Leave Orbax's dozen log lines a save out, harmless warnings among them: what
    goes wrong it raises as well."""
    logger = logging.getLogger("absl")
    if _from_orbax not in logger.filters:
        logger.addFilter(_from_orbax)


def _from_orbax(record: logging.LogRecord) -> bool:
    """False for what a log leaves out."""
    return "orbax" not in record.pathname


def reason(error: BaseException) -> str:
    """Why a save failed, in a few words."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    text = " ".join(str(error).split())
    # TensorStore: "...: Failed to write ...: No space left on device [os_error...]".
    found = re.search(r"([^:\]]+) \[os_error_code", text)
    return found[1].strip() if found else text[:160] or type(error).__name__
