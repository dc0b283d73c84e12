"""Runs the checks of two players in a process that has four devices."""

import os
import subprocess
import sys
from pathlib import Path

CHECKS = Path(__file__).with_name("adversarial_on_four_devices.py")


def test_every_way_equals_plain_jit_on_four_virtual_devices():
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        # Compiling is most of the time, optimising most of that.
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4 "
        "--xla_backend_optimization_level=0",
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
