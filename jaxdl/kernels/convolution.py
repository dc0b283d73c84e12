"""Two-dimensional convolution by the compiled kernel, as a JAX primitive.

One primitive, of three kinds: the value, its gradient by the input and its gradient
by the kernel. Each is linear in both operands, and each one's derivatives are the two
others: forward and reverse mode of any order follow. A second primitive is the value
with a bias. Under ``vmap`` all members are one call; a batch that is sharded over
devices stays so. Inside ``shard_map`` it needs ``check_vma=False``, as inside
``pmap``.
"""

from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax._src import dispatch  # as Transformer Engine does, for want of a public name
from jax.experimental.custom_partitioning import custom_partitioning
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from jaxdl.kernels.calls import layout

FORWARD, BY_INPUT, BY_KERNEL = "forward", "input_gradient", "kernel_gradient"
WITH_BIAS = "forward_with_bias"

Images = Float[Array, "batch height width inputs"]
Kernel = Float[Array, "window_height window_width inputs outputs"]
Maps = Float[Array, "batch out_height out_width outputs"]


class Window(NamedTuple):
    """How the window moves: pixels a step, and zeros before the first pixel."""

    stride_y: int
    stride_x: int
    top: int
    left: int


def convolve(
    x: Images,
    kernel: Kernel,
    window: Window,
    out_size: tuple[int, int],
    bias: Float[Array, " outputs"] | None = None,
) -> Maps:
    """A convolution (cross-correlation) whose output has ``out_size``, and its bias.

    What the last windows see beyond the image is zero. float32 or float64, both alike.
    """
    shape = (1, x.shape[0], *out_size, kernel.shape[-1])
    if bias is not None:
        operands = x[None], kernel[None], bias[None]
        return _bind(WITH_BIAS, *operands, window=window, shape=shape)[0]
    return _bind(FORWARD, x[None], kernel[None], window=window, shape=shape)[0]


def convolve_transposed(
    slope: Maps, kernel: Kernel, window: Window, size: tuple[int, int]
) -> Images:
    """The transpose, by the input, of a convolution of images of ``size``."""
    shape = (1, slope.shape[0], *size, kernel.shape[-2])
    return _bind(BY_INPUT, slope[None], kernel[None], window=window, shape=shape)[0]


primitive = Primitive("jaxdl_convolution")
biased = Primitive("jaxdl_convolution_with_bias")


def _bind(kind: str, *operands: Array, window: Window, shape: tuple[int, ...]) -> Array:
    one = biased if kind == WITH_BIAS else primitive
    return one.bind(*operands, kind=kind, window=window, shape=shape)


def _shape(*operands: Any, kind: str, window: Window, shape: tuple[int, ...]) -> Any:
    types = {operand.dtype for operand in operands}
    if len(types) > 1:
        raise TypeError(f"operands of one type are needed, not {types}")
    return operands[0].update(shape=shape)


# Derivatives. Of a kind, what its operands and its result are: images ("x"), kernel
# ("w"), maps ("y") or bias ("b"); its operands are always named in this order.
OPERANDS = {
    FORWARD: ("x", "w"),
    WITH_BIAS: ("x", "w", "b"),
    BY_INPUT: ("y", "w"),
    BY_KERNEL: ("x", "y"),
}
_MAKING = {"y": FORWARD, "x": BY_INPUT, "w": BY_KERNEL}
_RESULT = {kind: name for name, kind in _MAKING.items()}


def _transpose(
    place: int, cotangent: Array, a: Any, b: Any, *, kind: str, window: Window, **_: Any
) -> Array:
    """What the operand at ``place`` receives: the kind that makes such arrays."""
    wanted, other = OPERANDS[kind][place], OPERANDS[kind][1 - place]
    known = {other: (a, b)[1 - place], _RESULT[kind]: cotangent}
    shape = (a, b)[place].aval.shape
    making = _MAKING[wanted]
    first, second = (known[name] for name in OPERANDS[making])
    return _bind(making, first, second, window=window, shape=shape)


ad.defbilinear(primitive, partial(_transpose, 0), partial(_transpose, 1))


def _jvp(primals: Any, tangents: Any, *, kind: str, window: Window, shape: Any) -> Any:
    """With a bias: of each operand that moves what it adds."""
    x, kernel, _ = primals
    bind = partial(_bind, window=window, shape=shape)
    y = bind(kind, *primals)
    adds = (
        lambda moved: bind(FORWARD, moved, kernel),
        lambda moved: bind(FORWARD, x, moved),
        lambda moved: jnp.broadcast_to(moved[:, None, None, None], shape),
    )
    pairs = zip(adds, tangents, strict=True)
    parts = [add(moved) for add, moved in pairs if type(moved) is not ad.Zero]
    return y, reduce(jnp.add, parts)  # of nothing that moves JAX does not ask


ad.primitive_jvps[biased] = _jvp


def _batch(
    operands: tuple[Array, ...],
    axes: tuple[Any, ...],
    *,
    kind: str,
    window: Window,
    shape: tuple[int, ...],
) -> tuple[Array, int]:
    """A stack of calls is one call of more members."""
    size = next(
        operand.shape[axis]
        for operand, axis in zip(operands, axes, strict=True)
        if axis is not None
    )

    def members(operand: Array, axis: Any) -> Array:
        if axis is None:
            stacked = jnp.broadcast_to(operand, (size, *operand.shape))
        else:
            stacked = jnp.moveaxis(operand, axis, 0)
        return stacked.reshape(-1, *stacked.shape[2:])

    wide = [members(*each) for each in zip(operands, axes, strict=True)]
    together = (size * shape[0], *shape[1:])
    whole = _bind(kind, *wide, window=window, shape=together)
    return whole.reshape(size, *shape), 0


# Where batch axes (and members) lie over devices, each does its part.


def _call(kind: str, window: Window, shape: tuple[int, ...], *operands: Array) -> Any:
    result = jax.ShapeDtypeStruct(shape, operands[0].dtype)
    call = jax.ffi.ffi_call(f"jaxdl_{kind}", result)
    return call(*operands, window=np.array(window, np.int64))


def _parts(kind: str, operand: Any, mesh: Any) -> tuple[Any, Any, PartitionSpec]:
    """Axes that share the batch; the layout of the operands, and of the result."""
    members, batch = layout(operand, mesh)[:2]
    examples, weights = PartitionSpec(members, batch), PartitionSpec(members)
    lies = [weights if name in "wb" else examples for name in OPERANDS[kind]]
    return batch, lies, weights if kind == BY_KERNEL else examples


def _partition(
    kind: str,
    window: Window,
    shape: tuple[int, ...],
    mesh: Any,
    arguments: Any,
    result: Any,
) -> Any:
    batch, lies, out = _parts(kind, arguments[0], mesh)
    on = partial(NamedSharding, mesh)
    share = on(out).shard_shape(shape)

    def part(*operands: Array) -> Array:
        y = _call(kind, window, share, *operands)
        reduced = kind == BY_KERNEL and batch is not None
        return jax.lax.psum(y, batch) if reduced else y

    return mesh, part, on(out), tuple(map(on, lies))


def _infer(
    kind: str,
    window: Window,
    shape: tuple[int, ...],
    mesh: Any,
    arguments: Any,
    result: Any,
) -> NamedSharding:
    return NamedSharding(mesh, _parts(kind, arguments[0], mesh)[2])


_RULES = {
    FORWARD: "m n h w i, m u v i o -> m n p q o",
    WITH_BIAS: "m n h w i, m u v i o, m o -> m n p q o",
    BY_INPUT: "m n p q o, m u v i o -> m n h w i",
    BY_KERNEL: "m n h w i, m n p q o -> m u v i o",
}


def _lower(*operands: Array, kind: str, window: Window, shape: Any) -> Array:
    call = custom_partitioning(_call, static_argnums=(0, 1, 2))
    call.def_partition(
        partition=_partition,
        infer_sharding_from_operands=_infer,
        decode_shardings=False,
        sharding_rule=_RULES[kind],
        reduction_factors=("n",) if kind == BY_KERNEL else (),
    )
    return call(kind, window, shape, *operands)


for one in (primitive, biased):
    one.def_impl(jax.jit(one.bind, static_argnames=("kind", "window", "shape")))
    one.def_abstract_eval(_shape)
    batching.primitive_batchers[one] = _batch
    dispatch.prim_requires_devices_during_lowering.add(one)
    mlir.register_lowering(
        one, mlir.lower_fun(_lower, multiple_results=False), platform="cpu"
    )
