"""Whether a run goes on with the code that began it."""

import sys
import types

from jaxdl.runs import environment, same_code


def test_the_loaded_code_is_jaxdls_and_the_commands(tmp_path, monkeypatch):
    found = same_code.loaded_code()
    assert {"jaxdl", "jaxdl.runs.same_code"} <= set(found)
    assert not any(name.startswith("numpy") for name in found)
    script = tmp_path / "mine.py"
    script.write_text("1")
    main = types.ModuleType("__main__")
    main.__file__, main.__spec__ = str(script), None
    monkeypatch.setitem(sys.modules, "__main__", main)
    before = same_code.loaded_code()
    assert before["jaxdl"] == found["jaxdl"]
    script.write_text("2")
    now = same_code.loaded_code()
    assert [name for name in now if now[name] != before[name]] == ["mine.py"]


def test_modules_of_the_package_that_a_command_belongs_to_count(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text("1")
    main, other = types.ModuleType("__main__"), types.ModuleType("mine.other")
    main.__spec__ = types.SimpleNamespace(name="mine.command")
    main.__file__ = other.__file__ = str(tmp_path / "a.py")
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setitem(sys.modules, "mine.other", other)
    found = same_code.loaded_code()
    # By the name under which a notebook imports what the command line started.
    assert {"mine.other", "mine.command"} <= set(found)
    assert "__main__" not in found


def test_changes_are_named_in_words():
    before = {
        "code": {"jaxdl.a": "1", "jaxdl.b": "1", "jaxdl.gone": "1", "jaxdl.c": "1"},
        "versions": {"jax": "0.10.1", "matplotlib": "3.9"},
        "compiled_kernels": None,
    }
    now = {
        "code": {"jaxdl.a": "2", "jaxdl.b": "1", "jaxdl.new": "1", "jaxdl.c": "1"},
        "versions": {"jax": "0.12.0", "matplotlib": "3.10"},
        "compiled_kernels": "abc",
    }
    assert same_code.changes(before, before) == []
    assert same_code.changes(before, now) == [
        "changed: jaxdl.a",
        "jax 0.10.1 -> 0.12.0",
        "compiled kernels: None -> abc",
    ]
    many = {**now, "code": dict.fromkeys(now["code"], "3")}
    earlier = {**now, "code": {**now["code"], "jaxdl.d": "1"}}
    many["code"]["jaxdl.d"] = "3"
    assert same_code.changes(earlier, many) == [
        "changed: jaxdl.a, jaxdl.b, jaxdl.new and 2 more"
    ]


def test_an_environment_without_code_or_of_any_content_says_nothing():
    now = environment.environment([])
    assert now["code"]["jaxdl"] == same_code.loaded_code()["jaxdl"]
    assert same_code.changes({}, now) == []
    assert same_code.changes({"code": 3, "versions": []}, now) == []
