"""What Orbax says: left out where it is noise, one reason where a save failed."""

import logging
import sys
import types
import warnings

import pytest

from jaxdl.train import orbax_words


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (caused(ValueError("x"), PermissionError(13, "denied")), "denied"),
        (
            ValueError("OUT: \"a/b\": Failed: File too large [os_error_code='27']"),
            "File too large",
        ),
        (ValueError("RESOURCE_EXHAUSTED: Error opening"), "No space left on device"),
        (RuntimeError("two\n lines"), "two lines"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_one_reason_in_a_few_words(error, reason):
    assert orbax_words.reason(error) == reason


def record(name, path, message, error=None):
    trace = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord(name, logging.ERROR, path, 1, message, (), trace)


def test_only_orbax_is_silenced():
    orbax_words.quiet()
    absl, asyncio = logging.getLogger("absl"), logging.getLogger("asyncio")
    assert not absl.filter(record("absl", "/x/orbax/checkpoint/a.py", "Saving"))
    assert absl.filter(record("absl", "/x/jaxdl/a.py", "Saving"))
    lost = "Future exception was never retrieved"
    code = compile("raise OSError(28, 'full')", "/x/orbax/path.py", "exec")
    with pytest.raises(OSError) as caught:
        exec(code)
    error, other = caught.value, OSError("elsewhere")
    assert not asyncio.filter(record("asyncio", "/x/base_events.py", lost, error))
    assert asyncio.filter(record("asyncio", "/x/base_events.py", lost, other))
    assert asyncio.filter(record("asyncio", "/x/base_events.py", "slow", error))


def test_other_exceptions_that_nobody_waits_for_are_told(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    for _ in range(2):
        orbax_words.quiet()
    for text, thing in [("Event loop is closed", None), ("else", None), ("x", 1)]:
        about = types.SimpleNamespace(exc_value=RuntimeError(text), object=thing)
        sys.unraisablehook(about)
    assert [str(about.exc_value) for about in told] == ["else", "x"]


def test_coroutines_that_a_failed_save_leaves_are_not_told_and_others_are():
    lost = "coroutine 'async_serialize_from_host.<locals>.write' was never awaited"
    mine = "coroutine 'mine' was never awaited"
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        orbax_words.quiet()
        for message in (lost, mine):
            warnings.warn(message, RuntimeWarning, stacklevel=1)
    assert [str(warning.message) for warning in told] == [mine]


def test_no_save_counts_its_bytes_and_so_none_leaks_them():
    counting = pytest.importorskip(
        "orbax.checkpoint._src.serialization.tensorstore_utils"
    )
    orbax_words.quiet()
    assert counting.get_tensorstore_raw_bytes() == 0
