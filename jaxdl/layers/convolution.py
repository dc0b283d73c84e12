"""Convolution by the lowering that suits the shape; equal to ``nn.Conv``."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from jaxdl import kernels
from jaxdl.layers.windows import Padding, per_axis, window_pads, window_slices

SPATIAL_AXES = {1: "W", 2: "HW", 3: "DHW"}


class Geometry(NamedTuple):
    """How the kernel moves: everything of a convolution that isn't an array."""

    strides: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int


Images = Float[Array, "batch *space inputs"]
Kernel = Float[Array, "*window inputs_of_group outputs"]
Maps = Float[Array, "batch *out outputs"]


def _xla(x: Images, kernel: Kernel, geometry: Geometry) -> Maps:
    """One convolution of the compiler's."""
    axes = SPATIAL_AXES[x.ndim - 2]
    pads = geometry.pads
    if any(sum(p) >= k for p, k in zip(pads, kernel.shape, strict=False)):
        # Padding that enlarges the image sends XLA's kernel gradient on CPU down a
        # slow path, smaller image and larger gradient changing places: one such
        # convolution of deep_cnn made its step 690 ms of processor time, now 165.
        x, pads = jnp.pad(x, ((0, 0), *pads, (0, 0))), ((0, 0),) * len(pads)
    return lax.conv_general_dilated(
        x,
        kernel,
        geometry.strides,
        pads,
        rhs_dilation=geometry.dilation,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        feature_group_count=geometry.groups,
    )


def _slices(x: Images, kernel: Kernel, geometry: Geometry) -> Iterator[Images]:
    """What each place of the kernel sees of the input."""
    x = jnp.pad(x, ((0, 0), *geometry.pads, (0, 0)))
    return window_slices(x, kernel.shape[:-2], geometry.strides, geometry.dilation)


def _split_channels(x: Images, groups: int) -> Array:
    return x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)


def _product(x: Array, kernel: Array, groups: int) -> Maps:
    """[..., inputs] by [inputs of a group, outputs], a product for each group."""
    if groups == 1:
        return x @ kernel
    kernel = _split_channels(kernel, groups)
    y = jnp.einsum("...gi,igo->...go", _split_channels(x, groups), kernel)
    return y.reshape(*y.shape[:-2], -1)


def _im2col(x: Images, kernel: Kernel, geometry: Geometry) -> Maps:
    """Expand every window to a row, then one matrix product (row-major places)."""
    groups = geometry.groups
    slices = [_split_channels(s, groups) for s in _slices(x, kernel, geometry)]
    patches = jnp.concatenate(slices, axis=-1)
    rows = patches.reshape(*patches.shape[:-2], -1)
    return _product(rows, kernel.reshape(-1, kernel.shape[-1]), groups)


def _shifted(x: Images, kernel: Kernel, geometry: Geometry) -> Maps:
    """The sum, over places of the kernel, of the shifted input by its weights."""
    weights = kernel.reshape(-1, *kernel.shape[-2:])
    slices = _slices(x, kernel, geometry)
    products = (
        _product(s, w, geometry.groups) for s, w in zip(slices, weights, strict=True)
    )
    return reduce(jnp.add, products)


def _compiled(
    x: Images, kernel: Kernel, geometry: Geometry, bias: Array | None = None
) -> Maps:
    """One call of ``jaxdl.kernels``, which knows its own derivatives."""
    if x.ndim == 3:  # one axis: an image of one line
        flat = Geometry((1, *geometry.strides), ((0, 0), *geometry.pads), (1, 1), 1)
        return _compiled(x[:, None], kernel[None], flat, bias)[:, 0]
    (top, _), (left, _) = geometry.pads
    height, width = (
        (x.shape[1 + axis] + sum(geometry.pads[axis]) - kernel.shape[axis])
        // geometry.strides[axis]
        + 1
        for axis in range(2)
    )
    stride_y, stride_x = geometry.strides
    window = kernels.Window(stride_y, stride_x, top, left)
    return kernels.convolve(x, kernel, window, (height, width), bias)


def compilable(x: Images, geometry: Geometry) -> bool:
    """Whether a compiled kernel is there for such a convolution."""
    return (
        x.ndim in (3, 4)
        and geometry.groups == 1
        and set(geometry.dilation) == {1}
        and min(map(min, geometry.pads)) >= 0
        and kernels.supports(x.dtype)
    )


Lowering = Callable[[Images, Kernel, Geometry], Maps]
LOWERINGS: dict[str, Lowering] = {
    "xla": _xla,
    "im2col": _im2col,
    "shifted": _shifted,
    "compiled": _compiled,
}


class Choice(NamedTuple):
    """The lowering of each of the three convolutions that training needs."""

    forward: str = "xla"
    input_gradient: str = "xla"
    kernel_gradient: str = "xla"


XLA = Choice()

COMPILED = Choice(*["compiled"] * 3)


def automatic(x: Images, geometry: Geometry) -> Choice:
    """What "auto" stands for: a fixed rule of backend, type and shape, never a timing.

    The compiled kernel where there is one, else the compiler's own convolution: what
    wins alone need not win in a step. ``python -m experiments.lowerings`` measures all
    of them on a machine. On jax 0.10.1 and 0.12 some kernel gradients alone were twice
    as quick by im2col or shifted; yet the whole step of simple_cnn with im2col took 36
    to 41 ms of processor time against 24 to 30, of deep_cnn with shifted 204 against
    165: the expanded images travel through memory between the two passes.
    """
    return COMPILED if compilable(x, geometry) else XLA


def convolve(
    x: Images, kernel: Kernel, geometry: Geometry, choice: Choice = XLA
) -> Maps:
    """A convolution whose value and two gradients each have their own lowering.

    Convolution is linear in the input and in the kernel, so the derivative is two
    convolutions; written as a JVP, reverse mode is their transposes and forward
    mode, higher derivatives, vmap, scan and sharding all work.
    """
    forward, by_input, by_kernel = (LOWERINGS[name] for name in choice)
    if forward is by_input is by_kernel:
        return forward(x, kernel, geometry)

    @jax.custom_jvp
    def value(x: Images, kernel: Kernel) -> Maps:
        return forward(x, kernel, geometry)

    def jvp(primals: tuple[Array, Array], tangents: tuple[Any, Any]) -> tuple:
        (x, kernel), (x_dot, kernel_dot) = primals, tangents
        y = value(x, kernel)
        # A symbolic zero (the images of a first layer) must cost nothing.
        y_dot = jnp.zeros_like(y)
        if not isinstance(x_dot, SymbolicZero):
            y_dot = y_dot + by_input(x_dot, kernel, geometry)
        if not isinstance(kernel_dot, SymbolicZero):
            y_dot = y_dot + by_kernel(x, kernel_dot, geometry)
        return y, y_dot

    value.defjvp(jvp, symbolic_zeros=True)
    return value(x, kernel)


class Conv(nn.Module):
    """Convolution (cross-correlation) over one, two or three spatial axes.

    Parameters (``kernel`` [*window, inputs / groups, features], ``bias``
    [features]) and results are those of ``nn.Conv``.

    Attributes:
      features: how many output channels, that is kernels.
      kernel_size: the window, one integer an axis.
      strides, dilation: one integer, or one an axis.
      padding: "SAME", "VALID", an integer for all sides, one integer an axis, or a
        (before, after) pair an axis.
      feature_group_count: groups of channels that do not see each other; the number
        of input channels makes the convolution depthwise.
      lowering: "auto" (a fixed rule), "xla", "im2col", "shifted", "compiled" (by
        ``jaxdl.kernels``), or a ``Choice`` of one each for value and gradients.
        Values agree to rounding, speeds don't.
      dtype: of the computation; None infers it from input and parameters.

    Raises:
      ValueError: an unknown lowering or padding, a compiled one that isn't there, a
        window that doesn't fit, groups that don't divide the channels.
    """

    features: int
    kernel_size: Sequence[int]
    strides: int | Sequence[int] = 1
    padding: Padding = "SAME"
    dilation: int | Sequence[int] = 1
    feature_group_count: int = 1
    use_bias: bool = True
    lowering: str | Choice = "auto"
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, x: Images) -> Maps:
        window, groups = tuple(self.kernel_size), self.feature_group_count
        _check(x, window, self.features, groups)
        strides = per_axis(self.strides, len(window))
        dilation = per_axis(self.dilation, len(window))
        extent = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
        pads = window_pads(x.shape[1:-1], extent, strides, self.padding)
        shape = (*window, x.shape[-1] // groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = None
        if self.use_bias:
            bias_shape = (self.features,)
            bias = self.param("bias", self.bias_init, bias_shape, self.param_dtype)
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        geometry = Geometry(strides, pads, dilation, groups)
        choice = self._choice(x, geometry)
        if choice == COMPILED:
            return _compiled(x, kernel, geometry, bias)
        y = convolve(x, kernel, geometry, choice)
        return y if bias is None else y + bias

    def _choice(self, x: Images, geometry: Geometry) -> Choice:
        if self.lowering == "auto":
            return automatic(x, geometry)
        names = (
            (self.lowering,) * 3 if isinstance(self.lowering, str) else self.lowering
        )
        for name in names:
            if name not in LOWERINGS:
                known = ", ".join(LOWERINGS)
                raise ValueError(f"unknown lowering {name!r}: give auto, {known}")
        if "compiled" in names and not compilable(x, geometry):
            raise ValueError(
                "lowering 'compiled' is for float32 and float64 on CPU, over one or "
                "two axes, without dilation and groups, and once python -m "
                "jaxdl.kernels has built it: give auto"
            )
        return Choice(*names)


def _check(x: Images, window: tuple[int, ...], features: int, groups: int) -> None:
    if x.ndim != len(window) + 2 or len(window) not in SPATIAL_AXES:
        raise ValueError(
            f"a convolution with kernel size {window} takes [batch, "
            f"{len(window)} spatial axes, channels], but the input is {x.shape}"
        )
    if x.shape[-1] % groups or features % groups:
        raise ValueError(
            f"{groups} groups do not divide {x.shape[-1]} input channels and "
            f"{features} features"
        )


class SeparableConv(nn.Module):
    """Depthwise separable convolution (Chollet 2017): each channel, then across.

    A k x k kernel for every input channel and a 1x1 convolution over channels:
    ``k*k*C + C*C'`` weights where a full convolution has ``k*k*C*C'``.

    Attributes: as of ``Conv``; the bias is the pointwise convolution's.
    """

    features: int
    kernel_size: Sequence[int]
    strides: int | Sequence[int] = 1
    padding: Padding = "SAME"
    use_bias: bool = True
    dtype: Dtype | None = None
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Images) -> Maps:
        conv = partial(Conv, dtype=self.dtype, kernel_init=self.kernel_init)
        channels = x.shape[-1]
        x = conv(
            channels,
            self.kernel_size,
            self.strides,
            self.padding,
            feature_group_count=channels,
            use_bias=False,
            name="depthwise",
        )(x)
        ones = (1,) * len(self.kernel_size)
        return conv(self.features, ones, use_bias=self.use_bias, name="pointwise")(x)


def to_nhwc(x: Float[Array, "batch channels *space"]) -> Images:
    """Channels first (the books' and PyTorch's order) to channels last."""
    return jnp.moveaxis(x, 1, -1)


def to_nchw(x: Images) -> Float[Array, "batch channels *space"]:
    """Channels last to channels first."""
    return jnp.moveaxis(x, -1, 1)
