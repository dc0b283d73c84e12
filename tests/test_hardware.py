"""What the machine has, and what it has not."""

import pytest

from jaxdl import hardware


def test_more_memory_than_there_is_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(hardware, "memory_bytes", lambda: 3 * 2**30)
    hardware.require_memory("this", 3 * 2**30, "give less")
    line = "this takes 4.5 GiB, and this machine has 3.0: give less."
    with pytest.raises(ValueError, match=line):
        hardware.require_memory("this", 9 * 2**29, "give less")
    monkeypatch.setattr(hardware, "memory_bytes", lambda: None)
    hardware.require_memory("this", 2**60, "give less")
