"""Runs the checks that need devices in a process that has eight."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def run_on_eight(*names, chosen=""):
    """Runs files of checks, or those that -k chooses, in a process with eight virtual
    devices."""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} "
        "--xla_force_host_platform_device_count=8",
    }
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-o", "addopts="]
        + [f"-k={chosen}", *(str(HERE / name) for name in names)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    assert " passed" in result.stdout


@pytest.mark.first
def test_every_way_equals_plain_jit_on_eight_virtual_devices():
    run_on_eight("on_eight_devices.py", "members_on_eight_devices.py", "own_steps.py")


@pytest.mark.slow
@pytest.mark.first
def test_every_family_trains_alike_in_every_way():
    run_on_eight("every_family.py")


@pytest.mark.slow
def test_every_way_computes_in_bfloat16_and_twice():
    run_on_eight("bfloat16_on_eight_devices.py")
