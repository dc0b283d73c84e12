"""Building the kernels: what is told where it cannot be done."""

import pytest

from jaxdl import kernels
from jaxdl.kernels import __main__ as command


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    return tmp_path


def test_nothing_is_built_in_an_empty_folder(empty_cache):
    assert kernels.built() is None
    assert kernels.location().is_relative_to(empty_cache)


def test_without_a_compiler_one_line_says_so(empty_cache, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(empty_cache))
    assert not kernels.buildable()
    assert command.main([]) == 1
    said = capsys.readouterr().err
    assert said.startswith("no C++ compiler found")
    assert said.count("\n") == 1


def test_a_compiler_that_fails_leaves_nothing_behind(empty_cache):
    with pytest.raises(kernels.BuildError, match="could not compile"):
        kernels.build("false")
    assert kernels.built() is None
    assert not list(kernels.location().parent.iterdir())
