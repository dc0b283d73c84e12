"""No source of ours runs what a file holds: nothing is unpickled, evaluated, or
imported by a name that was read."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "jaxdl").rglob("*.py")) + sorted(
    (ROOT / "experiments").rglob("*.py")
)
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
MODULES |= {"yaml", "code", "runpy"}
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}
# Names that these import by are written in source, not read.
IMPORTERS = {"jaxdl/__init__.py", "jaxdl/runs/__init__.py", "jaxdl/runs/ahead.py"}


def offences(source, name="a.py"):
    """Lines of a source that could run what a file holds."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            names = []
        found += [n for n in names if n.split(".")[0] in MODULES]
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            found += [called] if called in CALLS else []
            if called.endswith("import_module") and name not in IMPORTERS:
                found.append(called)
            for keyword in node.keywords:
                on = not (
                    isinstance(keyword.value, ast.Constant)
                    and keyword.value.value is False
                )
                if keyword.arg in ("allow_pickle", "shell") and on:
                    found.append(f"{called}({keyword.arg})")
            if called in ("np.load", "numpy.load") and not node.keywords:
                found.append(called)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_source_runs_what_it_reads(path):
    name = path.relative_to(ROOT).as_posix()
    assert offences(path.read_text(encoding="utf-8"), name) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from yaml import load",
        "eval(x)",
        "np.load(p)",
        "np.load(p, allow_pickle=True)",
        "np.load(p, allow_pickle=flag)",
        "importlib.import_module(name)",
        "subprocess.run(x, shell=True)",
        "__import__(x)",
    ],
)
def test_what_would_is_found(source):
    assert offences(source)


def test_there_are_sources():
    assert len(SOURCES) > 100
