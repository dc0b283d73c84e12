"""Image files: what is read, how it is converted, what is refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from jaxdl.data import images, read_images

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)


def _save(path, pixels, mode=None, **options):
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def _bytes(pixels, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def test_pixels_come_back_as_they_were(tmp_path):
    colour = RNG.integers(0, 256, (5, 4, 3), dtype=np.uint8)
    file = _save(tmp_path / "a.png", colour)
    assert images.header(file) == (5, 4, 3)
    np.testing.assert_array_equal(images.decode(file, 3, name="a"), colour)
    np.testing.assert_array_equal(images.decode(_bytes(colour), 3, name="a"), colour)


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 1), ("1", 1), ("P", 3), ("RGBA", 3)]
)
def test_grey_and_colour_are_told_apart(tmp_path, mode, channels):
    pixels = RNG.integers(0, 256, (5, 4, 3), dtype=np.uint8)
    file = _save(tmp_path / "a.png", pixels, mode)
    assert images.header(file) == (5, 4, channels)
    assert images.decode(file, 1, name="a").shape == (5, 4, 1)
    assert images.decode(file, 3, name="a").shape == (5, 4, 3)


def test_grey_becomes_three_equal_channels():
    grey = RNG.integers(0, 256, (5, 4), dtype=np.uint8)
    colour = images.decode(_bytes(grey), 3, name="a")
    np.testing.assert_array_equal(colour, np.repeat(grey[..., None], 3, -1))


def test_resizing_keeps_the_middle_undistorted():
    wide = np.zeros((8, 24), np.uint8)
    wide[:, 8:16] = 200
    middle = images.decode(_bytes(wide), 1, (4, 4), name="a")
    assert middle.shape == (4, 4, 1)
    assert (middle[:, 1:3] == 200).all()


def _bomb(width, height):
    def chunk(kind, body):
        return (
            struct.pack(">I", len(body))
            + kind
            + body
            + zlib.crc32(kind + body).to_bytes(4, "big")
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 1_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "a.png can't be read as a PNG or JPEG image"),
        (b"not an image at all", "a.png can't be read"),
        (_bytes(NOISE)[:2_000], "can't be read"),
        (_bytes(NOISE, "JPEG")[:2_000], "can't be read"),
        (_bytes(np.zeros((4, 4), np.uint8), "GIF"), "can't be read as a PNG or JPEG"),
        (
            _bytes(np.zeros((4, 4), np.uint16)),
            "pixels of mode I;16; convert it to 8 bits",
        ),
        (_bomb(20_000, 20_000), "a.png .*20000.*|a.png can't be read .*exceeds limit"),
        (_bomb(9_000, 9_000), "a.png claims 9000 x 9000 pixels"),
    ],
    ids=[
        "empty",
        "text",
        "truncated",
        "truncated jpeg",
        "gif",
        "16 bits",
        "bomb",
        "large",
    ],
)
def test_what_cannot_be_read_is_named_in_one_line(data, message, recwarn):
    with pytest.raises(ValueError, match=message) as caught:
        images.decode(data, 3, name="a.png")
    assert "\n" not in str(caught.value)
    assert not recwarn.list


def test_many_images_equal_one_by_one(monkeypatch):
    pixels = RNG.integers(0, 256, (20, 6, 5, 3), dtype=np.uint8)
    encoded, names = [_bytes(p) for p in pixels], [str(i) for i in range(20)]
    for plenty, threads in ((1, 10**9), (10**9, 1), (10**9, 10**9)):
        monkeypatch.setattr(images, "_WORTH_VECTORISING", plenty)
        monkeypatch.setattr(images, "_WORTH_A_THREAD", threads)
        found = images.decode_many(encoded, (6, 5, 3), names)
        np.testing.assert_array_equal(found, pixels)
    # One JPEG among them is no trouble, a broken image is named.
    encoded[3] = _bytes(pixels[3], "JPEG")
    mixed = images.decode_many(encoded, (6, 5, 3), names)
    np.testing.assert_array_equal(np.delete(mixed, 3, 0), np.delete(pixels, 3, 0))
    for threads in (1, 10**9):
        monkeypatch.setattr(images, "_WORTH_A_THREAD", threads)
        encoded[7] = b"broken"
        with pytest.raises(ValueError, match="^7 can't be read"):
            images.decode_many(encoded, (6, 5, 3), names)


def test_files_to_predict_are_brought_to_the_stored_scale(tmp_path):
    white = _save(tmp_path / "white.png", np.full((20, 20), 255, np.uint8))
    pixels = read_images([white, str(white)], (8, 8, 1), 16.0)
    assert pixels.shape == (2, 8, 8, 1)
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels, 16.0)
    assert read_images([white], (8, 8, 3)).dtype == np.uint8


def test_files_that_cannot_be_predicted(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.png does not exist"):
        read_images([tmp_path / "no.png"], (8, 8, 1))
    for shape, high in (((5,), 255.0), ((8, 8, 1), None)):
        with pytest.raises(ValueError, match="are no images"):
            read_images([tmp_path / "no.png"], shape, high)
