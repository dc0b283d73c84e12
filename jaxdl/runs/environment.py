"""Where a run runs: versions, devices, commit; known-bad JAX; the compile cache."""

import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import jax

from jaxdl import kernels
from jaxdl.hardware import cpu_count, cpu_instructions, cpu_model, memory_bytes
from jaxdl.runs import same_code

_PACKAGES = (
    "jaxdl",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "scikit-learn",
    "tensorflow-datasets",
    "array-record",
    "tensorboardX",
)
# More than --xla_gpu_exclude_nondeterministic_ops (openxla/xla#12520): it also keeps
# autotuning, which picks kernels by their time, from choosing others each time.
_DETERMINISTIC = "--xla_gpu_deterministic_ops"
_BAD_JAX = {
    "0.10.2": "it computes wrong sums on CPU (jax-ml/jax#39103)",
    "0.11.0": "its CPU kernels crash or hang (jax-ml/jax#39257, #40412)",
}


def check_jax(version: str | None = None, jaxlib: str | None = None) -> None:
    """Refuses a JAX that is known to compute wrong results or to crash.

    Raises:
      RuntimeError: with what is wrong and what to install.
    """
    found = {
        "jax": version or jax.__version__,
        "jaxlib": jaxlib or version or importlib.metadata.version("jaxlib"),
    }
    for package, installed in found.items():
        if installed in _BAD_JAX:
            raise RuntimeError(
                f"{package} {installed} must not be used: {_BAD_JAX[installed]}; "
                'install another: pip install "jax!=0.10.2,!=0.11.0" '
                '"jaxlib!=0.10.2,!=0.11.0"'
            )


def environment(command: list[str] | None = None) -> dict[str, Any]:
    """All that a run depends on besides its settings, for ``environment.json``.

    Initialises the devices. Of the environment variables only XLA's and JAX's
    are read.

    Args:
      command: the command line; this process's own by default.
    """
    return {
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": [sys.executable, *sys.argv] if command is None else command,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": {"model": cpu_model(), "count": cpu_count()},
        "memory_bytes": memory_bytes(),
        "versions": versions(),
        "devices": [
            {"platform": kind[0], "kind": kind[1], "count": count}
            for kind, count in Counter(
                (device.platform, device.device_kind) for device in jax.devices()
            ).items()
        ],
        "processes": jax.process_count(),
        # Compiled ones round otherwise than XLA's.
        "compiled_kernels": kernels.load(),
        "code": same_code.loaded_code(),
        "variables": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(("JAX_", "XLA_", "LIBTPU_"))
        },
        "git": _git(),
    }


def versions() -> dict[str, str | None]:
    """The installed version of each package that a run depends on."""
    return {name: _version(name) for name in _PACKAGES}


def make_deterministic() -> None:
    """Has XLA use on a GPU only kernels that give equal bits each time, and choose
    them without timing; on a CPU they do. ``environment()`` records it.

    Call it before anything touches a device: XLA reads its flags once. Shapes for which
    there is no such kernel are refused when they are compiled.
    """
    flags = os.environ.get("XLA_FLAGS", "").split()
    kept = [flag for flag in flags if not flag.startswith(_DETERMINISTIC)]
    os.environ["XLA_FLAGS"] = " ".join([*kept, f"{_DETERMINISTIC}=true"])


def process_seconds() -> float | None:
    """How long ago this process was started; None where the system does not tell."""
    try:
        # The command's name stands in parentheses and may hold spaces itself.
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[19])
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        return now - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return None


def process_began() -> float:
    """The start of this process by ``time.perf_counter``; now, where the system does
    not tell."""
    return time.perf_counter() - (process_seconds() or 0.0)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    """Commit of the working directory's checkout; None where there is none."""

    def ask(*arguments: str) -> str:
        # A checkout's own settings may name programs to run; this one does not.
        command = ["git", "-c", "core.fsmonitor=false", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()

    try:
        commit = ask("rev-parse", "HEAD")
        changed = ask("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": bool(changed)}


def enable_compilation_cache(folder: str | os.PathLike | None = None) -> Path | None:
    """Keeps compiled programs on disk, so that the next run need not compile.

    Call it before the first compilation. A folder that the user chose
    (``JAX_COMPILATION_CACHE_DIR``) is kept.

    Args:
      folder: where; ``$XDG_CACHE_HOME/jaxdl/xla`` or ``~/.cache/jaxdl/xla``.

    Returns:
      The folder in use; None when none can be written (training goes on).
    """
    chosen: str | None = jax.config.values.get("jax_compilation_cache_dir")
    if chosen and folder is None:
        path: Path | None = Path(chosen)
    else:
        path = _private(Path(folder) if folder else _cache_home() / "jaxdl" / "xla")
    if path is None:
        return None
    jax.config.update("jax_compilation_cache_dir", str(path))
    # JAX by itself keeps what took a second to compile. A small model's start is
    # made of dozens of programs that take a hundredth: keeping them all took a
    # second start from 2.0 s (kept from 0.05 s on) to 0.8 s, for half a megabyte.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    _quiet_loading()
    return path


def _quiet_loading() -> None:
    """Keeps old jaxlibs from crying wolf at every program read from the cache.

    Before 0.12 they take two tuning hints of LLVM for missing instructions, and
    print kilobytes at each load on CPU (jax-ml/jax#38445). Errors still come as
    exceptions. Someone who set a level of logging keeps it.
    """
    release = importlib.metadata.version("jaxlib").split(".")[:2]
    level = jax.config.values.get("jax_logging_level")
    chosen = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") != "1"
    if [int(part) for part in release] >= [0, 12] or level not in (None, "NOTSET"):
        return
    if not chosen:
        # The first sets C++'s and Python's level, the second Python's alone back.
        jax.config.update("jax_logging_level", "CRITICAL")
        jax.config.update("jax_logging_level", level)


def _cache_home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())


def _private(root: Path) -> Path | None:
    """A folder for this kind of CPU under ``root`` that only its owner writes.

    Compiled CPU programs hold the instructions of the CPU that compiled them: on
    another machine with the same home folder they could crash. And they are run,
    so a folder that someone else owns is not used.
    """
    told = f"{cpu_model()} {cpu_instructions()}"
    path = root / hashlib.sha256(told.encode()).hexdigest()[:12]
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid") and path.stat().st_uid != os.getuid():
            return None
        with tempfile.TemporaryFile(dir=path):
            return path
    except (OSError, RuntimeError):
        return None
