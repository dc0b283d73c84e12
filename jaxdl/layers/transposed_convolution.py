"""Transposed convolution with quick gradients; equal to ``nn.ConvTranspose``."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer
from jax import lax

from jaxdl import kernels
from jaxdl.layers.convolution import SPATIAL_AXES, Geometry, Images, Kernel, Maps
from jaxdl.layers.convolution import compilable as _compilable
from jaxdl.layers.convolution import convolve as _convolve
from jaxdl.layers.windows import per_axis


class _Upsampling(NamedTuple):
    """Everything of a transposed convolution that isn't an array.

    Attributes:
      strides: how far apart the inputs are laid, one an axis.
      pads: places before and after the inputs so laid.
    """

    strides: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _transposed(x: Images, kernel: Kernel, how: _Upsampling) -> Maps:
    """Inputs laid ``strides`` apart with zeros between, then convolved."""
    axes = SPATIAL_AXES[x.ndim - 2]
    return lax.conv_general_dilated(
        x,
        kernel,
        (1,) * len(how.strides),
        how.pads,
        lhs_dilation=how.strides,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
    )


def _forward(x: Images, kernel: Kernel, how: _Upsampling) -> tuple[Maps, tuple]:
    return _transposed(x, kernel, how), (x, kernel)


def _backward(how: _Upsampling, saved: tuple, slope: Maps) -> tuple[Images, Kernel]:
    """Both gradients by the strided convolution that this is the transpose of.

    JAX's own rule for the kernel convolves dilated inputs with a window as large as
    the output, for which XLA on a CPU has only a slow path: kernel 4, stride 2,
    [64, 7, 7, 128] -> [64, 14, 14, 64] took 391 ms where this takes 10.
    """
    x, kernel = saved

    def downsample(kernel: Kernel) -> Images:
        return _convolve(slope, _turned(kernel), _adjoint(x, kernel, slope.shape, how))

    x_slope, pull = jax.vjp(downsample, kernel)
    return x_slope, *pull(x)


_transposed.defvjp(_forward, _backward)


def _upsample(x: Images, kernel: Kernel, how: _Upsampling) -> Maps:
    """By the compiled kernel where there is one: the transpose of a convolution."""
    size = tuple(
        (n - 1) * stride + 1 + before + after - k + 1
        for n, stride, (before, after), k in zip(
            x.shape[1:-1], how.strides, how.pads, kernel.shape[:-2], strict=True
        )
    )
    shape = (x.shape[0], *size, kernel.shape[-1])
    geometry = _adjoint(x, kernel, shape, how)
    if x.ndim != 4 or not _compilable(x, geometry):
        return _transposed(x, kernel, how)
    window = kernels.Window(*geometry.strides, *(before for before, _ in geometry.pads))
    return kernels.convolve_transposed(x, _turned(kernel), window, (size[0], size[1]))


def _turned(kernel: Kernel) -> Kernel:
    """The kernel of the convolution that takes outputs back to inputs."""
    return jnp.swapaxes(jnp.flip(kernel, tuple(range(kernel.ndim - 2))), -1, -2)


def _adjoint(
    x: Images, kernel: Kernel, out_shape: tuple[int, ...], how: _Upsampling
) -> Geometry:
    """How the strided convolution moves that takes outputs back to inputs."""
    pads = []
    for axis, (stride, (before, _)) in enumerate(
        zip(how.strides, how.pads, strict=True)
    ):
        extent = kernel.shape[axis]
        first = extent - 1 - before
        reach = stride * (x.shape[1 + axis] - 1) + extent
        pads.append((first, max(0, reach - out_shape[1 + axis] - first)))
    ones = (1,) * len(how.strides)
    return Geometry(how.strides, tuple(pads), ones, groups=1)


def _pads(extent: int, stride: int, padding: str) -> tuple[int, int]:
    """As ``lax.conv_transpose`` pads: "SAME" gives stride times the input's size,
    "VALID" all that a window touches."""
    if padding == "VALID":
        return extent - 1, stride - 1 + max(extent - stride, 0)
    whole = extent + stride - 2
    before = extent - 1 if stride > extent - 1 else -(-whole // 2)
    return before, whole - before


class ConvTranspose(nn.Module):
    """Transposed convolution over one, two or three spatial axes, to upsample.

    Parameters (``kernel`` [*window, inputs, features], ``bias`` [features]) and
    results are those of ``nn.ConvTranspose``; gradients are taken in reverse mode.

    Where the strides do not divide the kernel's size, some outputs lie under more
    of its weights than their neighbours, which shows as a checkerboard (Odena et
    al. 2016).

    Attributes:
      features: how many output channels.
      kernel_size: the window, one integer an axis.
      strides: how much larger the output is, one integer, or one an axis.
      padding: "SAME" or "VALID".
      divisible: refuse a kernel size that the strides do not divide.

    Raises:
      ValueError: when made, for such a size if ``divisible``, an unknown padding, or
        strides of other axes; when run, for inputs of other axes.
    """

    features: int
    kernel_size: Sequence[int]
    strides: int | Sequence[int] = 1
    padding: str = "SAME"
    divisible: bool = False
    use_bias: bool = True
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros_init()

    def __post_init__(self) -> None:
        window = tuple(self.kernel_size)
        strides = per_axis(self.strides, len(window))
        if self.padding not in ("SAME", "VALID"):
            raise ValueError(f"unknown padding {self.padding!r}: give SAME or VALID")
        if self.divisible and any(k % s for k, s in zip(window, strides, strict=True)):
            raise ValueError(
                f"a kernel size of {window} is not divisible by the strides {strides}, "
                "which leaves a checkerboard in what is upsampled: give multiples of "
                "the strides"
            )
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Images) -> Maps:
        window = tuple(self.kernel_size)
        if x.ndim != len(window) + 2 or len(window) not in SPATIAL_AXES:
            raise ValueError(
                f"a transposed convolution with kernel size {window} takes [batch, "
                f"{len(window)} spatial axes, channels], but the input is {x.shape}"
            )
        strides = per_axis(self.strides, len(window))
        shape = (*window, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = None
        if self.use_bias:
            bias_shape = (self.features,)
            bias = self.param("bias", self.bias_init, bias_shape, self.param_dtype)
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        pads = [_pads(k, s, self.padding) for k, s in zip(window, strides, strict=True)]
        y = _upsample(x, kernel, _Upsampling(strides, tuple(pads)))
        return y if bias is None else y + bias
