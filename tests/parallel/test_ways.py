"""Runs the checks that need devices in a process that has eight."""

import os
import subprocess
import sys
from pathlib import Path

CHECKS = Path(__file__).with_name("on_eight_devices.py")


def test_every_way_equals_plain_jit_on_eight_virtual_devices():
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
    }
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-o", "addopts=", str(CHECKS)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    assert " passed" in result.stdout
