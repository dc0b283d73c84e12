"""What all tests share."""

import fcntl
import os
import shutil
from importlib import metadata

import pytest


def pytest_configure(config):
    """Compiling is most of what fast tests do: a quarter of it LLVM's optimising, a
    third XLA's newer way to write fusions, neither of which changes a result. Slow
    drills take programs as users get them."""
    if config.option.markexpr != "not slow":
        return
    flags = ["--xla_backend_optimization_level=0"]
    if metadata.version("jaxlib").startswith("0.10."):  # jaxlib 0.12 has it no more
        flags.append("--xla_cpu_use_fusion_emitters=false")
    given = os.environ.get("XLA_FLAGS", "")
    new = [flag for flag in flags if flag.split("=")[0] not in given]
    os.environ["XLA_FLAGS"] = " ".join([given, *new]).strip()


def pytest_collection_modifyitems(items):
    """What takes minutes is begun first: of two workers neither then waits long for
    the other in the end."""
    items.sort(key=lambda item: "first" not in item.keywords)


@pytest.fixture(scope="session")
def library_folder(tmp_path_factory):
    """A cache folder with the kernels of this source. One for all tests, whichever
    process runs them: XLA takes a kernel twice only from the same library."""
    from jaxdl import kernels
    from jaxdl.kernels import building

    if not any(shutil.which(name) for name in building.COMPILERS):
        pytest.skip("no C++ compiler")
    room = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        room = room.parent  # of all workers
    folder = room / "cache"
    with pytest.MonkeyPatch.context() as patch, open(room / "lock", "w") as lock:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
        if not kernels.built():
            kernels.build()
    return folder


@pytest.fixture(scope="module")
def compiled(request):
    """The kernels: the user's own library, or one built for the tests."""
    from jaxdl import kernels

    if kernels.load():
        yield
        return
    folder = request.getfixturevalue("library_folder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.delenv("JAXDL_KERNELS", raising=False)
        kernels.load.cache_clear()
        assert kernels.load()
        yield
    kernels.load.cache_clear()
