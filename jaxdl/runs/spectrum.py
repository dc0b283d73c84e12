"""What frequencies images are made of; a checkerboard is the highest of them."""

import numpy as np
from jaxtyping import Float, Num


def power(
    images: Num[np.ndarray, "images height width channels"],
) -> Float[np.ndarray, "height width"]:
    """The mean power spectrum, each image's own mean taken away.

    Frequencies are in NumPy's order, 0 first; a pattern that repeats every other
    pixel down a column has index height / 2 of the first axis.
    """
    pixels = np.asarray(images, np.float64)
    pixels = pixels - pixels.mean(axis=(1, 2), keepdims=True)
    transformed = np.fft.fft2(pixels, axes=(1, 2))
    return np.mean(np.abs(transformed) ** 2, axis=(0, 3))


def checkerboard(
    images: Num[np.ndarray, "images height width channels"],
) -> float:
    """The share of the power that repeats every other pixel, along either axis.

    That is where upsampling by a stride of 2 leaves a checkerboard where the stride
    does not divide the kernel's size (Odena et al. 2016).

    Args:
      images: of even height and width.

    Raises:
      ValueError: an odd height or width, which has no such frequency.
    """
    height, width = np.shape(images)[1:3]
    if height % 2 or width % 2:
        raise ValueError(
            f"images of {height} x {width} pixels: a checkerboard needs even sides"
        )
    spectrum = power(images)
    total = spectrum.sum()
    rows, columns = spectrum[height // 2], spectrum[:, width // 2]
    both = spectrum[height // 2, width // 2]
    share = (rows.sum() + columns.sum() - both) / total if total > 0 else 0.0
    return float(share)
