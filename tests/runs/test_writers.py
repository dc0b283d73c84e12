"""Metric writers: exact lines, cutting on resume, TensorBoard, composition."""

import json
import math
import resource
import struct

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl.runs import writers
from jaxdl.runs.writers import MetricsLog, SpeedLog, TensorBoard, tee


@given(value=st.floats())
@settings(max_examples=60, deadline=None)
def test_a_float_is_read_back_to_the_bit(tmp_path_factory, value):
    log = MetricsLog(tmp_path_factory.mktemp("log") / "metrics.jsonl")
    log.append(1, "train", {"loss": value})
    (row,) = writers.read(log.path)
    if math.isnan(value):
        assert math.isnan(row["loss"])
    else:
        assert struct.pack("d", row["loss"]) == struct.pack("d", value)


def test_a_line_is_plain_json_in_order(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append(np.int64(120), "validation", {"loss": jnp.float32(0.5), "accuracy": 1})
    log.append(240, "validation", {"loss": math.nan})
    assert log.path.read_text() == (
        '{"step": 120, "split": "validation", "loss": 0.5, "accuracy": 1}\n'
        '{"step": 240, "split": "validation", "loss": "nan"}\n'
    )


def test_names_of_the_line_itself_are_refused(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    with pytest.raises(ValueError, match="may not be named 'split'"):
        log.append(1, "train", {"split": 1.0})
    with pytest.raises(ValueError, match="may not be named 'time'"):
        SpeedLog(tmp_path / "speed.jsonl").append(1, {"time": 1.0})
    assert not log.path.exists()


def _rows(log, steps):
    for step in steps:
        log.append(step, "train", {"loss": 1 / (step + 1)})
        log.append(step, "validation", {"loss": 2 / (step + 1)})


@given(stop=st.integers(0, 9), torn=st.integers(0, 60))
@settings(max_examples=40, deadline=None)
def test_a_run_cut_and_continued_leaves_the_file_of_one_never_stopped(
    tmp_path_factory, stop, torn
):
    root = tmp_path_factory.mktemp("log")
    whole, broken = MetricsLog(root / "whole.jsonl"), MetricsLog(root / "broken.jsonl")
    _rows(whole, range(10))
    _rows(broken, range(10))
    # Killed while writing, after more steps than the checkpoint knows of.
    content = broken.path.read_bytes()
    length = sum(map(len, content.splitlines(keepends=True)[: 2 * (stop + 1)]))
    broken.path.write_bytes(content[: length + torn])
    broken.cut(stop)
    _rows(broken, range(stop + 1, 10))
    assert broken.path.read_bytes() == whole.path.read_bytes()


def test_a_run_that_goes_on_forgets_that_it_was_tested(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    _rows(log, [1, 2])
    before = log.path.read_bytes()
    log.append(1, "test", {"loss": 0.3})
    log.cut(2)
    assert log.path.read_bytes() == before


def test_cutting_leaves_an_untouched_file_and_needs_none(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.cut(5)
    assert not log.path.exists()
    _rows(log, [1, 2])
    inode = log.path.stat().st_ino
    log.cut(2)
    assert log.path.stat().st_ino == inode
    log.close()


@pytest.mark.parametrize("line", ["{", "[1]", '{"split": "train"}', '{"step": "1"}'])
def test_a_broken_line_is_named(tmp_path, line):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    _rows(log, [1])
    with log.path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match="line 3 is broken"):
        writers.read(log.path)


def test_a_torn_last_line_is_left_out(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    _rows(log, [1])
    with log.path.open("a") as file:
        file.write('{"step": 2, "spl')
    assert [row["split"] for row in writers.read(log.path)] == ["train", "validation"]


def test_no_file_has_no_rows(tmp_path):
    assert writers.read(tmp_path / "metrics.jsonl") == []


def test_speed_carries_the_clock_and_is_cut(tmp_path):
    log = SpeedLog(tmp_path / "speed.jsonl", clock=lambda: 1_900_000_000.25)
    log.append(1, {"steps_per_second": 10.0})
    log.append(2, {"steps_per_second": 12.0})
    log.cut(1)
    log.close()
    assert writers.read(log.path) == [
        {"step": 1, "time": "2030-03-17T17:46:40.250Z", "steps_per_second": 10.0}
    ]


def _scalars(folder):
    """(tag, step, value) of every event file, read by its own framing."""
    from tensorboardX.proto.event_pb2 import Event

    found, starts = [], []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            event = Event.FromString(content[at + 12 : at + 12 + length])
            at += 12 + length + 4
            if event.HasField("session_log"):
                starts.append(event.step)
            for value in event.summary.value:
                found.append((value.tag, event.step, value.simple_value))
    return found, starts


def test_tensorboard_gets_the_scalars_and_hides_what_was_cut(tmp_path):
    board = TensorBoard(tmp_path)
    assert list(tmp_path.iterdir()) == []
    board.append(1, "train", {"loss": 0.5})
    board.append(2, "validation", {"accuracy": 0.25})
    board.cut(1)
    board.append(2, "validation", {"accuracy": 0.75})
    board.close()
    scalars, starts = _scalars(tmp_path)
    assert sorted(scalars) == [
        ("train/loss", 1, 0.5),
        ("validation/accuracy", 2, 0.25),
        ("validation/accuracy", 2, 0.75),
    ]
    assert starts == [2]


def test_a_tee_hands_everything_to_all(tmp_path):
    logs = [MetricsLog(tmp_path / name) for name in ("a", "b")]
    both = tee(*logs)
    both.append(1, "train", {"loss": 1.0})
    both.append(2, "train", {"loss": 2.0})
    both.cut(1)
    both.close()
    one, other = (log.path.read_text() for log in logs)
    assert one == other
    assert [json.loads(line)["step"] for line in one.splitlines()] == [1]


def test_what_a_full_disk_does_not_take_is_written_later(tmp_path):
    log, said = MetricsLog(tmp_path / "metrics.jsonl"), []
    patient = writers.Patient(log, said.append)
    patient.append(1, "train", {"loss": 0.5})
    whole = log.path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 7, limits[1]))
    try:
        patient.append(2, "train", {"loss": 0.25})
        patient.append(3, "train", {"loss": 0.125})
        assert not patient.settled()
        with pytest.raises(OSError, match="last 2 rows .* File too large"):
            patient.close()
        # Not even the seven bytes that there was room for.
        assert log.path.read_bytes() == whole
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(said) == 1
    assert "File too large" in said[0]
    patient.append(4, "train", {"loss": 0.0})
    assert patient.settled()
    assert [row["step"] for row in writers.read(log.path)] == [1, 2, 3, 4]
    patient.close()


def test_rows_are_not_written_to_a_folder_that_is_gone(tmp_path):
    folder, said = tmp_path / "run", []
    log = writers.run_log(folder / "metrics.jsonl", folder, said.append)
    log.append(1, "train", {"loss": 0.5})
    log.append(2, "train", {"loss": 0.5})
    assert not log.settled()
    assert len(said) == 2  # metrics are held back, TensorBoard's copy is given up
    folder.mkdir()
    assert log.settled()
    assert [row["step"] for row in writers.read(folder / "metrics.jsonl")] == [1, 2]
    log.close()
