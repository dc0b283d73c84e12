"""The environment: a JAX that computes right, what is recorded, the cache."""

import json
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.runs import environment
from jaxdl.runs.folder import jsonable


@pytest.mark.parametrize(("dtype", "rows"), [("float64", 16_385), ("float32", 32_769)])
def test_the_installed_jax_sums_right(dtype, rows):
    """jax 0.10.2 does not: jax-ml/jax#39103, whose reproduction this is."""
    with jax.enable_x64(True):
        index = np.arange(rows, dtype=dtype)
        points = jnp.asarray(np.stack([index, 0 * index, 0 * index], axis=1))
        matrix = jnp.eye(3, dtype=dtype)
        squares = jax.jit(jax.vmap(lambda row: jnp.sum((matrix @ row) ** 2)))(points)
        np.testing.assert_array_equal(np.asarray(squares), index**2)


def test_the_installed_jax_is_accepted():
    environment.check_jax()


@pytest.mark.parametrize(
    ("jax_", "jaxlib"), [("0.10.2", "0.10.1"), ("0.12.0", "0.11.0")]
)
def test_a_bad_jax_is_refused_in_a_line_that_says_what_to_install(jax_, jaxlib):
    with pytest.raises(RuntimeError, match="must not be used") as error:
        environment.check_jax(jax_, jaxlib)
    assert "pip install" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_packaging_refuses_what_check_jax_refuses():
    from importlib.metadata import requires

    (line,) = [x for x in requires("jaxdl") if re.match(r"jax\W", x)]
    for bad in ("0.10.2", "0.11.0"):
        assert f"!={bad}" in line


def test_the_environment_names_versions_devices_and_command(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    about = json.loads(json.dumps(jsonable(environment.environment(["python", "-m"]))))
    assert about["command"] == ["python", "-m"]
    assert about["versions"]["jax"] == jax.__version__
    assert about["versions"]["optax"]
    assert sum(kind["count"] for kind in about["devices"]) == jax.device_count()
    assert "XLA_FLAGS" in about["variables"]
    assert "hunter2" not in json.dumps(about)
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$", about["started"])
    assert about["cpu"]["count"] >= 1
    assert about["memory_bytes"] > 2**20


def _git(*arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


def test_the_commit_is_that_of_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment.environment()["git"] is None
    _git("init")
    (tmp_path / "a").write_text("1")
    _git("add", "a")
    _git("commit", "-m", "a")
    clean = environment.environment()["git"]
    (tmp_path / "a").write_text("2")
    dirty = environment.environment()["git"]
    assert re.fullmatch("[0-9a-f]{40}", clean["commit"])
    assert (clean["dirty"], dirty["dirty"]) == (False, True)


CACHED = """
import sys, jax, jax.numpy as jnp
from jaxdl.runs.environment import enable_compilation_cache
print(enable_compilation_cache())
hits = []
jax.monitoring.register_event_listener(
    lambda name, **_: name.endswith("/cache_hits") and hits.append(name))
jax.jit(lambda x: jax.lax.fori_loop(0, 3, lambda i, y: jnp.sort(jnp.tan(y @ y)), x))(
    jnp.ones((8, 8)))
print(len(hits))
"""


def _cached(home, **more):
    variables = {k: v for k, v in os.environ.items() if not k.startswith("JAX_COMP")}
    variables |= {"XDG_CACHE_HOME": str(home), "JAX_PLATFORMS": "cpu", **more}
    run = [sys.executable, "-c", CACHED]
    done = subprocess.run(
        run, env=variables, capture_output=True, text=True, check=True
    )
    folder, hits = done.stdout.split()
    return folder, int(hits), done.stderr


def test_a_second_process_need_not_compile(tmp_path):
    folder, hits, _ = _cached(tmp_path)
    assert folder.startswith(str(tmp_path / "jaxdl" / "xla"))
    assert hits == 0
    assert os.stat(folder).st_mode & 0o077 == 0
    _, hits, errors = _cached(tmp_path)
    assert hits >= 1
    assert errors == ""


def test_a_chosen_level_of_logging_is_kept(tmp_path):
    code = (
        "import logging, jax\n"
        "from jaxdl.runs.environment import enable_compilation_cache\n"
        "before = jax.config.jax_logging_level\n"
        "enable_compilation_cache()\n"
        "print(before == jax.config.jax_logging_level, logging.getLogger('jax').level)"
    )
    for level, shown in (("", "True 0\n"), ("DEBUG", "True 10\n")):
        variables = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
        variables |= {"JAX_LOGGING_LEVEL": level} if level else {}
        run = [sys.executable, "-c", code]
        done = subprocess.run(run, env=variables, capture_output=True, text=True)
        assert done.stdout == shown, done.stderr


def test_the_users_own_cache_folder_is_kept(tmp_path):
    own = str(tmp_path / "own")
    folder, _, _ = _cached(tmp_path, JAX_COMPILATION_CACHE_DIR=own)
    assert folder == own
    assert not (tmp_path / "jaxdl").exists()


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    (tmp_path / "file").write_text("")
    folder, hits, errors = _cached(tmp_path / "file")
    assert (folder, hits) == ("None", 0)
    assert "cache" not in errors


def test_deterministic_kernels_are_asked_for_once_and_recorded(monkeypatch):
    given = "--xla_cpu_enable_fast_math=false --xla_gpu_deterministic_ops=false"
    monkeypatch.setenv("XLA_FLAGS", given)
    for _ in range(2):
        environment.make_deterministic()
    asked = "--xla_cpu_enable_fast_math=false --xla_gpu_deterministic_ops=true"
    assert os.environ["XLA_FLAGS"] == asked
    assert environment.environment()["variables"]["XLA_FLAGS"] == asked
