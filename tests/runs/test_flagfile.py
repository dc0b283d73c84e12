"""Flagfiles: what is written is what absl reads, and differences are told."""

import pytest
from absl import flags
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl.runs.flagfile import difference, read_flagfile, write_flagfile

LINE = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=20
).filter(lambda text: text == text.rstrip())


@given(
    text=LINE,
    number=st.floats(allow_nan=False),
    count=st.integers(-(10**9), 10**9),
    on=st.booleans(),
    items=st.lists(st.text("ab,\" -='", min_size=1).map(str.strip).filter(bool)),
)
@settings(max_examples=60, deadline=None)
def test_absl_reads_every_value_back(tmp_path_factory, text, number, count, on, items):
    path = tmp_path_factory.mktemp("flags") / "flags.txt"
    given = {"text": text, "number": number, "count": count, "on": on, "items": items}
    write_flagfile(path, given, "python -m experiments.x --flagfile=THIS_FILE")
    values = flags.FlagValues()
    flags.DEFINE_string("text", "default", "", flag_values=values)
    flags.DEFINE_float("number", 1.0, "", flag_values=values)
    flags.DEFINE_integer("count", 1, "", flag_values=values)
    flags.DEFINE_bool("on", not on, "", flag_values=values)
    flags.DEFINE_list("items", ["default"], "", flag_values=values)
    values(["program", f"--flagfile={path}"])
    assert values.flag_values_dict() == given


def test_reading_gives_the_text_of_each_flag(tmp_path):
    path = tmp_path / "flags.txt"
    given = {"rate": 1e-3, "freeze": None, "name": "csv:/a b/c=d.csv", "empty": ""}
    write_flagfile(path, given, "first line\nsecond line")
    text = path.read_text()
    assert text.startswith("# first line\n# second line\n--rate=0.001\n")
    assert read_flagfile(path) == {
        "rate": "0.001",
        "name": "csv:/a b/c=d.csv",
        "empty": "",
    }


@pytest.mark.parametrize(
    ("flags_", "message"),
    [
        ({"name": "two\nlines"}, "--name holds a line break"),
        ({"name": "space "}, "--name ends in white space"),
        ({"flagfile": "/etc/passwd"}, "no flag of an experiment"),
        ({"two words": 1}, "no flag of an experiment"),
    ],
)
def test_what_no_flagfile_can_hold_is_refused(tmp_path, flags_, message):
    with pytest.raises(ValueError, match=message):
        write_flagfile(tmp_path / "flags.txt", flags_)
    assert not (tmp_path / "flags.txt").exists()


@pytest.mark.parametrize(
    "line", ["--flagfile=/etc/passwd", "epochs=3", "--epochs", "rm -rf"]
)
def test_other_lines_are_refused_with_their_number(tmp_path, line):
    path = tmp_path / "flags.txt"
    path.write_text(f"# a comment\n\n{line}\n")
    with pytest.raises(ValueError, match="line 3") as error:
        read_flagfile(path)
    assert "\n" not in str(error.value)


def test_a_binary_file_is_broken(tmp_path):
    path = tmp_path / "flags.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="broken"):
        read_flagfile(path)
    with pytest.raises(FileNotFoundError, match="missing"):
        read_flagfile(tmp_path / "none.txt")


def test_differences_are_told_as_old_and_new():
    old = {"learning_rate": "0.001", "epochs": "20", "model": "mlp", "gone": "1"}
    new = {"learning_rate": 0.01, "epochs": 20, "model": "mlp", "seed": 3}
    assert difference(old, new) == [
        "learning_rate: 0.001 -> 0.01",
        "gone: 1 -> not set",
        "seed: not set -> 3",
    ]


def test_equal_settings_do_not_differ_however_they_were_typed():
    old = {"rate": "1e-3", "freeze": None, "nesterov": "true", "augment": "shift,flip"}
    new = {"rate": 0.001, "nesterov": True, "augment": ["shift", "flip"]}
    assert difference(old, new) == []


@given(st.dictionaries(st.sampled_from("abcdef"), LINE | st.integers() | st.none()))
@settings(max_examples=40, deadline=None)
def test_a_run_never_differs_from_its_own_flagfile(tmp_path_factory, given):
    path = tmp_path_factory.mktemp("flags") / "flags.txt"
    write_flagfile(path, given)
    assert difference(read_flagfile(path), given) == []
