"""README's code, run as it stands."""

import os
import re
import subprocess
import sys

import pytest

from tests.experiments.shared import ROOT, readme_block


def ran(code, folder, **variables):
    """What the code prints, run in a folder of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_model_of_ones_own_takes_under_25_lines_and_learns(tmp_path):
    code = readme_block("own model")
    assert len([line for line in code.splitlines() if line.strip()]) < 25
    assert not re.search(r"absl|argparse|experiments", code)
    printed = ran(code, tmp_path)
    accuracy = re.search(r"accuracy\D*([01]\.\d+)", printed)
    assert accuracy, printed
    assert float(accuracy[1]) > 0.9


def test_a_step_of_ones_own_runs_by_every_way(tmp_path):
    devices = "--xla_force_host_platform_device_count=8"
    printed = ran(readme_block("own step"), tmp_path, XLA_FLAGS=devices)
    rows = [line.split() for line in printed.splitlines()]
    assert [row[:2] for row in rows] == [
        *(["none", "1"], ["data", "8"], ["fsdp", "8"], ["pmap", "8"])
    ]
    losses = [float(row[-1]) for row in rows]
    assert losses == pytest.approx([losses[0]] * 4, rel=1e-5)
