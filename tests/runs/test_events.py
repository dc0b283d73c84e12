"""TensorBoard's events: the bytes that its own library writes."""

import math
import struct

import pytest

from jaxdl.runs import events

TIME = 1_900_000_000.25


def _framed(**fields):
    """The record of an event, by TensorBoard's library."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    content = Event(wall_time=TIME, **fields).SerializeToString()
    length = struct.pack("<Q", len(content))
    hashes = [struct.pack("<I", masked_crc32c(part)) for part in (length, content)]
    return length + hashes[0] + content + hashes[1]


def test_a_file_begins_as_tensorboards_do():
    assert events.version(TIME) == _framed(file_version="brain.Event:2")


@pytest.mark.parametrize("step", [0, 1, 127, 128, 300, 2**31 - 1])
def test_scalars_are_those_of_its_library_to_the_byte(step):
    from tensorboardX.proto.summary_pb2 import Summary

    values = {"train/loss": 0.1, "ä" * 200: 0.0, "x": math.nan, "y": -math.inf}
    values["z"] = 1e39
    each = [Summary.Value(tag=tag, simple_value=v) for tag, v in values.items()]
    told = _framed(step=step, summary=Summary(value=each))
    assert events.scalars(TIME, step, values) == told


@pytest.mark.parametrize("step", [1, 4481])
def test_a_start_is_that_of_its_library_to_the_byte(step):
    from tensorboardX.proto.event_pb2 import SessionLog

    told = _framed(step=step, session_log=SessionLog(status=SessionLog.START))
    assert events.start(TIME, step) == told
