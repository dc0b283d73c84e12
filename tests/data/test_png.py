"""PNG images all at once: equal to Pillow's decoding, and never taken in."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxdl.data.png import decode_alike


def _chunk(kind, body):
    check = zlib.crc32(kind + body).to_bytes(4, "big")
    return struct.pack(">I", len(body)) + kind + body + check


def _encode(values, filters, depth=8, colour=None, interlace=0, lines=None):
    """A PNG of which line y is declared to be filtered by filters[y].

    Its bytes are `values` as they stand, so that any bytes make an image.
    """
    height, width, channels = values.shape
    colour = {1: 0, 3: 2, 4: 6}[channels] if colour is None else colour
    if lines is None:
        lines = b"".join(
            bytes([kind]) + line.tobytes()
            for kind, line in zip(filters, values, strict=True)
        )
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    packed = zlib.compress(lines)
    half = len(packed) // 2  # Pixel data may be divided among chunks.
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"tEXt", b"Comment\0of no importance")
        + _chunk(b"IDAT", packed[:half])
        + _chunk(b"IDAT", packed[half:])
        + _chunk(b"IEND", b"")
    )


def _pillow(data, shape):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image).reshape(shape)


@given(
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 3, 4])),
    st.integers(1, 5),
    st.integers(0, 10_000),
)
@settings(max_examples=60, deadline=None)
def test_equals_pillow_for_every_filter(shape, count, seed):
    generator = np.random.default_rng(seed)
    values = generator.integers(0, 256, (count, *shape), dtype=np.uint8)
    kinds = generator.integers(0, 5, (count, shape[0]))
    encoded = [_encode(v, k) for v, k in zip(values, kinds, strict=True)]
    expected = np.stack([_pillow(data, shape) for data in encoded])
    np.testing.assert_array_equal(decode_alike(encoded, shape), expected)


def test_reads_what_pillow_writes():
    shape = (12, 9, 3)
    ramp = np.add.outer(np.arange(12), np.arange(9))[..., None] * np.array([3, 5, 7])
    pixels = ramp.astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    np.testing.assert_array_equal(decode_alike([file.getvalue()], shape)[0], pixels)


VALUES = np.random.default_rng(0).integers(0, 256, (4, 5, 1), dtype=np.uint8)
PLAIN = _encode(VALUES, [0] * 4)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8 a JPEG",
        PLAIN[:-30],
        PLAIN[:60] + bytes([PLAIN[60] ^ 1]) + PLAIN[61:],
        _encode(VALUES, [5] * 4),
        _encode(VALUES, [0] * 4, depth=16),
        _encode(VALUES, [0] * 4, colour=3),
        _encode(VALUES, [0] * 4, interlace=1),
        _encode(VALUES[:3], [0] * 3),
        _encode(VALUES, None, lines=b"\0" * 23),
        _encode(VALUES, None, lines=b"\0" * 25),
        _encode(VALUES, None, lines=b"\0" * 10**7),
    ],
    ids=[
        "empty",
        "jpeg",
        "truncated",
        "damaged",
        "filter",
        "depth",
        "palette",
        "interlaced",
        "shape",
        "short",
        "long",
        "bomb",
    ],
)
def test_whatever_is_not_plain_is_left_alone(data):
    assert decode_alike([PLAIN], (4, 5, 1)) is not None
    assert decode_alike([PLAIN, data], (4, 5, 1)) is None
    assert decode_alike([PLAIN], (4, 5, 2)) is None
