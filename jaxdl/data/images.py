"""Image files: PNG and JPEG bytes to uint8 arrays, and nothing that harms.

A picture is decoded alike wherever it comes from (a folder, a TFDS record, a
file to predict), with Pillow.
"""

import io
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jaxdl.data import png

SUFFIXES = (".png", ".jpg", ".jpeg")
# A file of a few kilobytes may claim to hold billions of pixels and exhaust the
# memory on decoding: larger ones than this (8192 x 8192) are refused unread.
MAX_PIXELS = 2**26
# Nothing is brought to a larger size than this either.
MAX_SIDE = 2**13

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_GREY = {"1", "L", "LA", "La"}
_COLOUR = {"P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV"}

# Below this many values an image is decoded faster than threads can share it out.
_WORTH_A_THREAD = 64 * 64

# Fewer small images than this are decoded faster one by one than all at once.
_WORTH_VECTORISING = 512


def header(file: Path) -> tuple[int, int, int]:
    """(height, width, channels) of an image file, 1 channel if grey, else 3.

    Raises:
      ValueError: not a PNG or JPEG, or too large, or of 16 bits.
    """
    if not file.is_file():  # a pipe of that name would be waited for
        raise ValueError(f"{file} is no image file: remove it")
    with _opened(file, str(file)) as image:
        return image.height, image.width, 1 if image.mode in _GREY else 3


def decode(
    data: bytes | Path,
    channels: int,
    size: tuple[int, int] | None = None,
    *,
    name: str,
) -> UInt8[np.ndarray, "height width channels"]:
    """One image as uint8.

    Args:
      data: the encoded bytes, or the file that holds them.
      channels: 1 (grey), 3 (RGB) or 4 (RGBA); the image is converted.
      size: (height, width) to bring it to: its shorter side is scaled (bilinear,
        antialiased) and the middle cut out, so that nothing is distorted.
      name: what to call it in errors.

    Raises:
      ValueError: corrupt, truncated, too large, of 16 bits, not PNG or JPEG.
    """
    with _opened(data, name) as image:
        converted = image.convert(_MODES[channels])
        if size is not None and (converted.height, converted.width) != size:
            from PIL import Image, ImageOps

            bilinear = Image.Resampling.BILINEAR
            converted = ImageOps.fit(converted, (size[1], size[0]), bilinear)
        shape = (converted.height, converted.width, channels)
        return np.frombuffer(converted.tobytes(), np.uint8).reshape(shape)


def decode_many(
    encoded: Sequence[bytes] | Sequence[Path],
    shape: tuple[int, int, int],
    names: Sequence[str],
) -> UInt8[np.ndarray, "images height width channels"]:
    """Images as `decode` gives them, each brought to `shape`, in one array.

    Large images are shared out to threads (Pillow decodes outside the
    interpreter's lock); small ones are quicker in turn, and small PNG images of
    the right shape all at once.
    """
    small = prod(shape) < _WORTH_A_THREAD
    plenty = small and len(encoded) >= _WORTH_VECTORISING
    if plenty and all(isinstance(data, bytes) for data in encoded):
        found = png.decode_alike(encoded, shape)  # type: ignore[arg-type]
        if found is not None:
            return found
    out = np.empty((len(encoded), *shape), np.uint8)

    def fill(part: Iterable[int]) -> None:
        for i in part:
            out[i] = decode(encoded[i], shape[2], shape[:2], name=names[i])

    workers = min(os.cpu_count() or 1, 16, len(encoded))
    if small or workers < 2:
        fill(range(len(encoded)))
        return out
    with ThreadPoolExecutor(workers) as pool:
        starts = range(8 * workers)
        list(pool.map(fill, (range(k, len(encoded), len(starts)) for k in starts)))
    return out


def read_images(
    files: Sequence[str | Path], shape: tuple[int, ...], high: float | None = 255.0
) -> np.ndarray:
    """Image files as a trained model's stored inputs [files, *shape].

    Args:
      files: PNG or JPEG.
      shape: (height, width, channels) of the model's inputs; images are brought
        to it as in `decode`.
      high: `Preprocess.high`: the value of a white pixel in the stored scale.
        Inputs are uint8 where it is 255, else float32.

    Raises:
      FileNotFoundError: a file is missing.
      ValueError: a file is no readable image, or the model takes no images.
    """
    if len(shape) != 3 or high is None:
        raise ValueError(
            f"inputs of shape {tuple(shape)} are no images; the model can't read "
            f"{', '.join(map(str, files))}"
        )
    paths = [Path(file).expanduser() for file in files]
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist or is no file")
    pixels = decode_many(paths, shape, [str(path) for path in paths])
    return pixels if high == 255.0 else pixels.astype(np.float32) * (high / 255.0)


@contextmanager
def _opened(data: bytes | Path, name: str) -> Iterator[Any]:
    """The Pillow image, loaded lazily; any trouble is one line naming it."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # Pillow warns from 89 million pixels on; ours is the stricter limit.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            file = io.BytesIO(data) if isinstance(data, bytes) else data
            with Image.open(file, formats=("PNG", "JPEG")) as image:
                _require_readable(image, name)
                yield image
    except _Refused as error:
        raise ValueError(str(error)) from None
    # Corrupt bytes make Pillow raise nearly anything (OSError, SyntaxError,
    # ValueError, struct.error, zlib.error, EOFError, ...).
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ValueError(
            f"{name} can't be read as a PNG or JPEG image ({reason}); repair or "
            "remove it"
        ) from error


class _Refused(Exception):
    """An image that Pillow could read, but this package will not."""


def _require_readable(image: Any, name: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise _Refused(
            f"{name} claims {image.width} x {image.height} pixels; images of more "
            f"than {MAX_PIXELS} are refused"
        )
    if image.mode not in _GREY | _COLOUR:
        raise _Refused(
            f"{name} has pixels of mode {image.mode}; convert it to 8 bits a channel"
        )
