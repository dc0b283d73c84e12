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
    seconds = {"first_step": 12.0, "first_step_cached": 2.0}
    seconds |= {"compile": 4.0, "compile_cached": 1.5}
    monkeypatch.setattr(startup, "import_seconds", lambda: 1.0)
    monkeypatch.setattr(startup, "measure", lambda experiment, model: seconds)
    settings = startup.Settings(json=True, experiments="vae,gan")
    assert startup.main(settings) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [row["of"] for row in rows] == ["jaxdl"] + ["vae"] * 3 + ["gan"] * 3
    assert {row["measure"]: row["within"] for row in rows} == {
        "import": True,
        "first_step": False,
        "first_step_cached": True,
        "compile_cached": False,
    }
    seconds |= {"first_step": 9.0, "compile_cached": 0.9}
    assert startup.main(startup.Settings()) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_an_experiment_that_is_none_is_told():
    with pytest.raises(ValueError, match="did you mean vae"):
        startup.main(startup.Settings(experiments="vea"))


@pytest.mark.slow
def test_a_start_is_measured_as_the_run_records_it():
    seconds = startup.measure("image_classification", "logistic_regression")
    assert len(seconds) == 6
    assert all(math.isfinite(value) and value > 0 for value in seconds.values())


def test_a_command_that_fails_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="nosuchmodel"):
        startup.start(tmp_path, "image_classification", "nosuchmodel")
