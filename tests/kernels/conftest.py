"""The kernels, compiled once for the tests that need them."""

import shutil

import pytest

from jaxdl import kernels
from jaxdl.kernels import building


@pytest.fixture(scope="session")
def library_folder(tmp_path_factory):
    """A cache folder with the library of this source. One for all tests of a process:
    XLA takes a kernel twice only from the same library."""
    if not any(shutil.which(name) for name in building.COMPILERS):
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        kernels.build()
    return folder


@pytest.fixture(scope="module")
def compiled(request):
    """The user's own library, or one built for the tests."""
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
