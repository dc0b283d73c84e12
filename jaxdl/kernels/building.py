"""Compiling the kernels: with the user's C++ compiler, for this CPU, once."""

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax

from jaxdl.hardware import cpu_instructions, cpu_model

_HERE = Path(__file__).parent
_NAMES = (
    *("attention", "convolution", "layer_norm", "lstm", "normalization", "pooling"),
    *("product", "rows", "updates"),
)
KINDS = (
    "attention, convolutions, LSTMs, batch norm, layer norm, max pooling, "
    "dense layers, Adam"
)
SOURCES = tuple(_HERE / f"{name}.cc" for name in _NAMES)
HEADERS = (_HERE / "tiles.h", _HERE / "packing.h")
COMPILERS = ("g++", "clang++", "c++")
FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-std=c++17")
QUIET = ("-fPIC", "-w")


class BuildError(RuntimeError):
    """The kernels could not be compiled; the message says why, in a line."""


def location() -> Path:
    """Where the compiled library of these sources, CPU and jaxlib is or would be.

    Under ``$XDG_CACHE_HOME/jaxdl/kernels`` or ``~/.cache/jaxdl/kernels``: code for the
    CPU that compiled it, which another one with the same home folder must not run.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    jaxlib = importlib.metadata.version("jaxlib")
    code = [path.read_text() for path in (*HEADERS, *SOURCES)]
    about = (*code, " ".join(FLAGS), jaxlib, cpu_model(), cpu_instructions())
    name = hashlib.sha256("\n".join(about).encode()).hexdigest()[:16]
    return Path(home) / "jaxdl" / "kernels" / f"{name}.so"


def built() -> Path | None:
    """The compiled library, if it is there and this user's own to be run."""
    path = location()
    try:
        owner = path.stat().st_uid
    except OSError:
        return None
    return path if not hasattr(os, "getuid") or owner == os.getuid() else None


def buildable() -> bool:
    """Whether there is a C++ compiler to build them with."""
    try:
        return bool(_compiler(""))
    except BuildError:
        return False


def build(compiler: str = "") -> Path:
    """Compiles the library, and gives where it is.

    Args:
      compiler: a C++17 compiler; empty: ``$CXX``, or the first of g++, clang++, c++.

    Raises:
      BuildError: there is no compiler, it failed, or the folder cannot be written.
    """
    command, path = [*_compiler(compiler), *FLAGS, *QUIET], location()
    compiling = [*command, f"-I{jax.ffi.include_dir()}", "-c"]
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as room:
            parts = [Path(room) / f"{source.stem}.o" for source in SOURCES]
            pairs = zip(SOURCES, parts, strict=True)
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(_run, [[*compiling, s, "-o", o] for s, o in pairs]))
            made = Path(room) / path.name
            _run([*command, "-shared", *parts, "-o", made])
            made.replace(path)  # whole or not at all
    except OSError as error:
        raise BuildError(
            f"cannot write the kernels to {path.parent}: {error}"
        ) from None
    return path


def _run(command: Sequence[str | Path]) -> None:
    """Run a compiler.

    Raises:
      BuildError: it failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "error" in line]
        first = (said or done.stderr.splitlines() or ["it said nothing"])[0]
        raise BuildError(f"{command[0]} could not compile the kernels: {first}")


def _compiler(name: str) -> list[str]:
    """A compiler's command.

    Raises:
      BuildError: there is none.
    """
    asked = (name or os.environ.get("CXX", "")).split()
    for command in [asked] if asked else [[each] for each in COMPILERS]:
        if shutil.which(command[0]):
            return command
    names = " ".join(asked) or ", ".join(COMPILERS)
    raise BuildError(
        f"no C++ compiler found ({names}): install one, such as g++, or set CXX. "
        "Without the kernels everything runs, only slower."
    )
