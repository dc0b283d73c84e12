"""Freed memory that is kept."""

import subprocess
import sys

import numpy as np
import pytest

# Page faults of touching 96 MiB again and again, as each step of a run does, on this
# thread or another.
TRY = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from jaxdl.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()

def touch(times):
    for _ in range(times):
        np.ones(12 * 2**20)

def counted(call):
    call(touch, 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    call(touch, 8)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

counted(lambda function, times: function(times))
with ThreadPoolExecutor(1) as pool:
    counted(lambda function, times: pool.submit(function, times).result())
"""


def faults(how):
    done = subprocess.run(
        [sys.executable, "-c", TRY, how], capture_output=True, text=True, check=True
    )
    return np.array(done.stdout.split(), int)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_pages_are_asked_for_once():
    assert (faults("keep") < 0.1 * faults("leave")).all()
