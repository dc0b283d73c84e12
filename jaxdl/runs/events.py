"""TensorBoard's events, written by hand: three kinds, of a few fields.

Its own library takes PyTorch in where that is installed, two seconds at the start of
each run. Fields are those of TensorFlow's ``event.proto`` and ``summary.proto``, in
the order of their numbers, as Protocol Buffers write them.
"""

import ctypes
import struct
from collections.abc import Mapping

_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5
_START = 1  # SessionLog.START


def version(time: float) -> bytes:
    """The record that every file begins with."""
    return _record(_double(1, time) + _bytes(3, b"brain.Event:2"))


def scalars(time: float, step: int, values: Mapping[str, float]) -> bytes:
    """The record of values by tag at a step."""
    tagged = [
        _bytes(1, tag.encode()) + _key(2, _FLOAT) + _single(value)
        for tag, value in values.items()
    ]
    summary = b"".join(_bytes(1, value) for value in tagged)
    return _record(_double(1, time) + _number(2, step) + _bytes(5, summary))


def start(time: float, step: int) -> bytes:
    """The record that hides what earlier files hold from a step on."""
    return _record(_double(1, time) + _number(2, step) + _bytes(7, _number(1, _START)))


def _record(event: bytes) -> bytes:
    """Length, hash, content, hash."""
    length = struct.pack("<Q", len(event))
    return length + _hash(length) + event + _hash(event)


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; none here is negative."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _number(field: int, number: int) -> bytes:
    return _key(field, _VARINT) + _varint(number) if number else b""  # 0 is left out


def _double(field: int, number: float) -> bytes:
    return _key(field, _DOUBLE) + struct.pack("<d", number)


def _single(number: float) -> bytes:
    """Four bytes; what is too large for them is infinite, and no error."""
    return struct.pack("<f", ctypes.c_float(number).value)


def _bytes(field: int, content: bytes) -> bytes:
    return _key(field, _BYTES) + _varint(len(content)) + content


def _remainders() -> tuple[int, ...]:
    """CRC-32C (Castagnoli) of each byte."""
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_TABLE = _remainders()


def _hash(content: bytes) -> bytes:
    """TFRecord's masked CRC-32C."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _TABLE[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    masked = (crc >> 15 | crc << 17) + 0xA282EAD8
    return struct.pack("<I", masked & 0xFFFFFFFF)
