"""Frequencies of images: what a checkerboard is, and which kernels leave one."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.layers import ConvTranspose
from jaxdl.runs.spectrum import checkerboard, power


def grid(height=8, width=6):
    return np.meshgrid(np.arange(height), np.arange(width), indexing="ij")


def image(values):
    return np.asarray(values, np.float64)[None, :, :, None]


def test_power_is_that_of_parseval_without_the_mean():
    images = np.random.default_rng(0).normal(size=(3, 8, 6, 2)) + 5
    spectrum = power(images)
    assert spectrum.shape == (8, 6)
    assert spectrum[0, 0] == pytest.approx(0, abs=1e-20)
    centred = images - images.mean(axis=(1, 2), keepdims=True)
    assert spectrum.sum() == pytest.approx(np.mean((centred**2).sum((1, 2))) * 48)


def test_patterns_of_every_other_pixel_are_all_checkerboard_and_others_none():
    rows, columns = grid()
    for pattern in (rows % 2, columns % 2, (rows + columns) % 2):
        assert checkerboard(image(3 + 2 * pattern)) == pytest.approx(1)
    for pattern in (np.cos(2 * np.pi * rows / 8), columns // 3, np.ones_like(rows)):
        # A step along columns has a little of every frequency.
        assert checkerboard(image(pattern)) < 0.2
    assert checkerboard(image(np.ones_like(rows))) == 0
    assert checkerboard(image(np.cos(2 * np.pi * rows / 8))) < 1e-20


def test_noise_has_the_share_that_the_frequencies_have():
    images = np.random.default_rng(0).normal(size=(400, 8, 6, 1))
    assert checkerboard(images) == pytest.approx((8 + 6 - 1) / (48 - 1), rel=0.05)


def test_a_stride_that_does_not_divide_the_kernel_leaves_a_checkerboard():
    """Trick 5: with equal weights, as initial ones are in the mean, only such a kernel
    makes more of a constant than the noise that is added here."""
    draw = np.random.default_rng(0)

    def upsampled(kernel):
        module = ConvTranspose(4, (kernel, kernel), 2, use_bias=False)
        params = {"params": {"kernel": jnp.ones((kernel, kernel, 3, 4))}}
        y = module.apply(params, jnp.ones((1, 16, 16, 3)))
        return np.asarray(y)[:, 6:-6, 6:-6] + draw.normal(size=(1, 20, 20, 4))

    shares = {kernel: checkerboard(upsampled(kernel)) for kernel in (3, 4, 5)}
    assert shares[3] > 3 * shares[4]
    assert shares[5] > 3 * shares[4]


def test_odd_sides_have_no_such_frequency():
    with pytest.raises(ValueError, match="7 x 6 pixels: a checkerboard needs even"):
        checkerboard(np.zeros((1, 7, 6, 1)))
