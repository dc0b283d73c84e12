"""What needs a process of its own: several devices, and a clean import."""

import os
import subprocess
import sys
from pathlib import Path

HEAVY = ("sklearn", "PIL", "tensorflow_datasets", "tensorflow", "matplotlib", "orbax")


def _python(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_four_devices_are_fed_and_augmented_as_one():
    script = Path(__file__).with_name("on_many_devices.py")
    flags = "--xla_force_host_platform_device_count=4"
    result = _python(str(script), XLA_FLAGS=flags)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "as one device"


def test_importing_is_light_and_touches_no_device():
    code = (
        "import sys, jaxdl.data, jax._src.xla_bridge as bridge;"
        f"print([m for m in {HEAVY} if m in sys.modules], bridge._backends)"
    )
    result = _python("-c", code)
    assert result.stdout.strip() == "[] {}", result.stderr
