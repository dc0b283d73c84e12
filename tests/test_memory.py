"""Freed memory that is kept."""

import subprocess
import sys

import pytest

# Page faults of touching 64 MiB again and again, as each step of a run does.
TRY = """
import resource, sys
import numpy as np
from jaxdl.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
np.ones(2**23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    np.ones(2**23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
    done = subprocess.run(
        [sys.executable, "-c", TRY, how], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_pages_are_asked_for_once():
    assert faults("keep") < 0.1 * faults("leave")
