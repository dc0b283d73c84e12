"""``startup``: what it measures comes from fresh processes; no time is asserted."""

import json
import math
import subprocess
import sys

import pytest

from experiments import startup
from jaxdl.runs.environment import process_seconds
from tests.experiments.shared import ROOT

# What `import jaxdl` and its rooms must not load: each takes a while.
HEAVY = ("tensorflow", "sklearn", "matplotlib", "orbax", "PIL", "tensorboardX")


def test_importing_jaxdl_loads_no_heavy_library_and_touches_no_device():
    code = (
        "import sys, jaxdl\n"
        "for room in jaxdl.__all__: getattr(jaxdl, room)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
        "from jax._src import xla_bridge\n"
        "print(xla_bridge.backends_are_initialized())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.split("\n")[:2] == ["[]", "False"], done.stderr


def test_a_process_knows_how_long_it_lives():
    since = process_seconds()
    if not sys.platform.startswith("linux"):
        assert since is None
        return
    assert 0 < since < 24 * 3600
    assert process_seconds() >= since


def test_the_report_is_json_and_its_code_says_whether_targets_are_met(
    monkeypatch, capsys
):
    seconds = {"import": 1.0, "first_step": 12.0, "first_step_cached": 2.0}
    monkeypatch.setattr(startup, "measure", lambda model: seconds)
    assert startup.main(startup.Settings(json=True)) == 1
    rows = json.loads(capsys.readouterr().out)
    assert {name: row["within"] for name, row in rows.items()} == {
        "import": True,
        "first_step": False,
        "first_step_cached": True,
    }
    seconds["first_step"] = 9.0
    assert startup.main(startup.Settings()) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(startup.TARGETS)


@pytest.mark.slow
def test_a_start_is_measured_as_the_run_records_it(tmp_path):
    seconds = startup.measure("logistic_regression")
    assert set(seconds) == set(startup.TARGETS)
    assert all(math.isfinite(value) and value > 0 for value in seconds.values())


def test_a_command_that_fails_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="nosuchmodel"):
        startup.first_step_seconds(tmp_path, "nosuchmodel")
