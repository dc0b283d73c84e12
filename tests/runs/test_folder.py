"""The run folder: making and opening it, whole files, exact JSON, the lock."""

import math
import os
import socket
import stat
import subprocess
import sys
import threading
from datetime import datetime

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl.runs import folder
from jaxdl.runs.folder import RunFolder, create, open_folder

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text("abcé ", min_size=1), inner)
    ),
    max_leaves=20,
)


@given(value=JSON)
@settings(max_examples=50, deadline=None)
def test_json_reads_back_what_was_written(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "value.json"
    folder.write_json(path, value)
    assert folder.read_json(path) == value
    assert path.read_bytes().endswith(b"\n")


def test_json_holds_numbers_of_numpy_and_jax_exactly(tmp_path):
    third = np.float32(1) / np.float32(3)
    written = {
        "float32": third,
        "jax": jnp.float32(0.1),
        "bfloat16": jnp.bfloat16(0.1),
        "array": np.arange(3),
        "tuple": (1, 2),
        "path": tmp_path,
    }
    folder.write_json(tmp_path / "a.json", written)
    read = folder.read_json(tmp_path / "a.json")
    assert np.float32(read["float32"]) == third
    assert np.float32(read["jax"]) == np.float32(0.1)
    assert jnp.bfloat16(read["bfloat16"]) == jnp.bfloat16(0.1)
    assert read["array"] == [0, 1, 2]
    assert read["tuple"] == [1, 2]
    assert read["path"] == str(tmp_path)


def test_json_writes_what_is_not_finite_as_text_that_float_reads(tmp_path):
    values = [math.nan, math.inf, -math.inf, np.float32("nan")]
    folder.write_json(tmp_path / "a.json", values)
    read = folder.read_json(tmp_path / "a.json")
    assert read == ["nan", "inf", "-inf", "nan"]
    assert math.isnan(float(read[0]))


def test_json_refuses_what_it_cannot_hold_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    folder.write_json(path, 1)
    with pytest.raises(TypeError, match="cannot write"):
        folder.write_json(path, {"a function": print})
    assert folder.read_json(path) == 1
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    folder.write_text(path, "old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        folder.write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_readers_never_see_half_a_file(tmp_path):
    path = tmp_path / "a.txt"
    folder.write_text(path, "0" * 50_000)
    seen, over = set(), threading.Event()

    def read():
        while not over.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for digit in "123456789":
        folder.write_text(path, digit * 50_000)
    over.set()
    reader.join()
    assert seen
    assert all(len(text) == 50_000 and len(set(text)) == 1 for text in seen)


def test_written_files_follow_the_umask(tmp_path):
    folder.write_text(tmp_path / "a.txt", "a")
    (tmp_path / "b.txt").write_text("b")
    modes = [
        stat.S_IMODE((tmp_path / name).stat().st_mode) for name in os.listdir(tmp_path)
    ]
    assert modes[0] == modes[1]


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"", b"[" * 100_000])
def test_broken_json_is_one_line_with_its_path(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a.json is broken") as error:
        folder.read_json(path)
    assert "\n" not in str(error.value)


def test_missing_json_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.json is missing"):
        folder.read_json(tmp_path / "a.json")


def test_create_makes_parents_and_opens_what_is_empty_or_a_run(tmp_path):
    made = create(tmp_path / "deep" / "run")
    assert made.path.is_dir()
    assert made.path.is_absolute()
    assert not made.holds_run()
    assert create(made.path) == made
    folder.write_text(made.flags, "--epochs=1\n")
    (made.path / "notes of mine.md").write_text("a run may hold notes")
    assert made.holds_run()
    assert create(made.path) == open_folder(made.path) == made


def test_create_goes_on_where_a_run_was_killed_before_its_settings(tmp_path):
    with folder.lock(create(tmp_path)):
        folder.write_json(RunFolder(tmp_path).environment, {})
    assert not create(tmp_path).holds_run()


def test_create_refuses_folders_with_other_files_and_leaves_them(tmp_path):
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(ValueError, match=r"holds other files \(thesis\.tex\)"):
        create(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_create_refuses_a_file_and_what_lies_below_one(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(ValueError, match="is a file"):
        create(path)
    with pytest.raises(ValueError, match=r"cannot be written: Not a directory"):
        create(path / "run")


def test_create_refuses_a_folder_that_cannot_be_written(tmp_path):
    # Permissions do not bind root, so the attempt is made as another user.
    code = (
        "import os, sys\n"
        "from jaxdl.runs.folder import create\n"
        "os.getuid() or os.setuid(65534)\n"
        "try:\n"
        "    create(sys.argv[1])\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o500)
    run = [sys.executable, "-c", code, str(shut)]
    out = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert "cannot be written: Permission denied; choose another --workdir" in out
    assert out.count("\n") == 1


def test_open_folder_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        open_folder(tmp_path / "none")
    with pytest.raises(ValueError, match=r"holds no run \(no flags\.txt\)"):
        open_folder(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        open_folder(tmp_path / "file")


def test_default_workdir_is_new_and_sorts_by_time(tmp_path):
    def clock():
        return datetime(2030, 1, 2, 3, 4, 5)

    paths = []
    for _ in range(3):
        paths.append(folder.default_workdir("digits", clock, tmp_path))
        paths[-1].mkdir(parents=True)
    names = [str(path.relative_to(tmp_path)) for path in paths]
    assert names == [
        "digits/20300102-030405",
        "digits/20300102-030405-2",
        "digits/20300102-030405-3",
    ]


def test_links_that_lead_out_are_not_inside(tmp_path):
    made = create(tmp_path / "run")
    (tmp_path / "secret").write_text("")
    made.plots.symlink_to(tmp_path)
    assert made.contains(made.flags)
    assert not made.contains(made.plots / "secret")
    assert not made.contains(made.path / ".." / "secret")


LOCKED = """
import sys
from pathlib import Path
from jaxdl.runs.folder import RunFolder, lock
try:
    with lock(RunFolder(Path(sys.argv[1]))):
        print("locked", flush=True)
        sys.stdin.read()
except ValueError as error:
    print(error)
"""


def test_one_process_writes_at_a_time_and_a_killed_one_frees_the_folder(tmp_path):
    def start():
        return subprocess.Popen(
            [sys.executable, "-c", LOCKED, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    first = start()
    assert first.stdout.readline() == "locked\n"
    with (
        pytest.raises(
            ValueError, match=rf"in use by another process \({first.pid} on "
        ),
        folder.lock(RunFolder(tmp_path)),
    ):
        pass
    first.kill()
    first.communicate()
    with folder.lock(RunFolder(tmp_path)):
        host = socket.gethostname()
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()} on {host}\n"


def test_the_lock_follows_no_link(tmp_path):
    target = tmp_path / "target"
    target.write_text("keep")
    made = create(tmp_path / "run")
    (made.path / ".lock").symlink_to(target)
    with pytest.raises(OSError, match="symbolic"), folder.lock(made):
        pass
    assert target.read_text() == "keep"
