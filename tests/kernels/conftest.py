"""The kernels, compiled once for the tests that need them."""

import shutil

import pytest

from jaxdl import kernels
from jaxdl.kernels import building


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The library of this source: the user's own, or one built for the tests."""
    if kernels.load():
        yield
        return
    if not any(shutil.which(name) for name in building.COMPILERS):
        pytest.skip("no C++ compiler")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("JAXDL_KERNELS", raising=False)
        kernels.build()
        kernels.load.cache_clear()
        assert kernels.load()
        yield
    kernels.load.cache_clear()
