"""Two-dimensional convolution by the compiled kernel, as a JAX primitive.

One primitive, of three kinds: the value, its gradient by the input and its gradient
by the kernel. Each is linear in both operands, and each one's derivatives are the two
others: forward and reverse mode of any order follow. A second primitive is the value
with a bias, a third its gradients by kernel and bias in one. Under ``vmap`` all members
are one call; a batch that is sharded over devices stays so. Inside ``shard_map`` it
needs ``check_vma=False``, as inside ``pmap``.
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
WITH_BIAS, BY_BOTH = "forward_with_bias", "kernel_gradient_with_bias"

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
by_both = Primitive("jaxdl_convolution_by_kernel_and_bias")
by_both.multiple_results = True
PRIMITIVES = (primitive, biased, by_both)


def _bind(kind: str, *operands: Array, window: Window, shape: tuple[int, ...]) -> Any:
    one = {WITH_BIAS: biased, BY_BOTH: by_both}.get(kind, primitive)
    return one.bind(*operands, kind=kind, window=window, shape=shape)


def _shapes(kind: str, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Of the results: of the first, and of the bias's gradient."""
    return [shape, (shape[0], shape[-1])] if kind == BY_BOTH else [shape]


def _results(kind: str, results: Any) -> Any:
    """All of them, or the only one."""
    return list(results) if kind == BY_BOTH else results[0]


def _abstract(*operands: Any, kind: str, window: Window, shape: tuple[int, ...]) -> Any:
    types = {operand.dtype for operand in operands}
    if len(types) > 1:
        raise TypeError(f"operands of one type are needed, not {types}")
    made = [operands[0].update(shape=each) for each in _shapes(kind, shape)]
    return _results(kind, made)


# Derivatives. Of a kind, what its operands and its result are: images ("x"), kernel
# ("w"), maps ("y") or bias ("b"); its operands are always named in this order.
OPERANDS = {
    FORWARD: ("x", "w"),
    WITH_BIAS: ("x", "w", "b"),
    BY_INPUT: ("y", "w"),
    BY_KERNEL: ("x", "y"),
    BY_BOTH: ("x", "y"),
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
    """With a bias: what the image adds if it moves, and what kernel and bias do."""
    x, kernel, _ = primals
    bind = partial(_bind, window=window, shape=shape)
    moves = [type(tangent) is not ad.Zero for tangent in tangents]
    parts = [bind(FORWARD, tangents[0], kernel)] if moves[0] else []
    if moves[1]:
        parts.append(bind(kind, x, tangents[1], ad.instantiate_zeros(tangents[2])))
    elif moves[2]:
        parts.append(jnp.broadcast_to(tangents[2][:, None, None, None], shape))
    return bind(kind, *primals), reduce(jnp.add, parts)


ad.primitive_jvps[biased] = _jvp


def _transpose_biased(
    cotangent: Any,
    x: Array,
    kernel: Any,
    bias: Any,
    *,
    kind: str,
    window: Window,
    **_: Any,
) -> Any:
    """What kernel and bias receive, or the kernel alone; in these it is linear."""
    if type(cotangent) is ad.Zero:
        return [None] * 3
    bind = partial(_bind, window=window, shape=kernel.aval.shape)
    if ad.is_undefined_primal(bias):
        return [None, *bind(BY_BOTH, x, cotangent)]
    return [None, bind(BY_KERNEL, x, cotangent), None]


ad.primitive_transposes[biased] = _transpose_biased


def _jvp_by_both(
    primals: Any, tangents: Any, *, kind: str, window: Window, shape: Any
) -> Any:
    """By the kernel linear in both operands; by the bias a sum."""
    bind = partial(_bind, window=window, shape=shape)
    (x, slope), (moved_x, moved_slope) = primals, tangents
    pairs = ((moved_x, slope), (x, moved_slope))
    moved = [
        bind(BY_KERNEL, *pair)
        for pair, tangent in zip(pairs, tangents, strict=True)
        if type(tangent) is not ad.Zero
    ]
    sums = ad.instantiate_zeros(moved_slope).sum((1, 2, 3))
    return bind(kind, x, slope), [reduce(jnp.add, moved), sums]


ad.primitive_jvps[by_both] = _jvp_by_both


def _batch(
    operands: tuple[Array, ...],
    axes: tuple[Any, ...],
    *,
    kind: str,
    window: Window,
    shape: tuple[int, ...],
) -> Any:
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
    split = [
        part.reshape(size, *each)
        for part, each in zip(jax.tree.leaves(whole), _shapes(kind, shape), strict=True)
    ]
    return _results(kind, split), _results(kind, [0] * len(split))


# Where batch axes (and members) lie over devices, each does its part.


def _call(kind: str, window: Window, shape: tuple[int, ...], *operands: Array) -> Any:
    dtype = operands[0].dtype
    results = [jax.ShapeDtypeStruct(each, dtype) for each in _shapes(kind, shape)]
    call = jax.ffi.ffi_call(f"jaxdl_{kind}", results)
    return _results(kind, call(*operands, window=np.array(window, np.int64)))


# Kinds that sum over the batch.
_SUMMED = (BY_KERNEL, BY_BOTH)


def _parts(kind: str, operand: Any, mesh: Any) -> tuple[Any, Any, PartitionSpec]:
    """Axes that share the batch; the layout of the operands, and of the result."""
    members, batch = layout(operand, mesh)[:2]
    examples, weights = PartitionSpec(members, batch), PartitionSpec(members)
    lies = [weights if name in "wb" else examples for name in OPERANDS[kind]]
    return batch, lies, weights if kind in _SUMMED else examples


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
        reduced = kind in _SUMMED and batch is not None
        return jax.lax.psum(y, batch) if reduced else y

    return mesh, part, _alike(kind, on(out)), tuple(map(on, lies))


def _alike(kind: str, lies: NamedSharding) -> Any:
    """All results lie so."""
    return _results(kind, [lies, lies])


def _infer(
    kind: str,
    window: Window,
    shape: tuple[int, ...],
    mesh: Any,
    arguments: Any,
    result: Any,
) -> Any:
    return _alike(kind, NamedSharding(mesh, _parts(kind, arguments[0], mesh)[2]))


_RULES = {
    FORWARD: "m n h w i, m u v i o -> m n p q o",
    WITH_BIAS: "m n h w i, m u v i o, m o -> m n p q o",
    BY_INPUT: "m n p q o, m u v i o -> m n h w i",
    BY_KERNEL: "m n h w i, m n p q o -> m u v i o",
    BY_BOTH: "m n h w i, m n p q o -> m u v i o, m o",
}


def _lower(*operands: Array, kind: str, window: Window, shape: Any) -> Any:
    call = custom_partitioning(_call, static_argnums=(0, 1, 2))
    call.def_partition(
        partition=_partition,
        infer_sharding_from_operands=_infer,
        decode_shardings=False,
        sharding_rule=_RULES[kind],
        reduction_factors=("n",) if kind in _SUMMED else (),
    )
    return call(kind, window, shape, *operands)


for one in PRIMITIVES:
    one.def_impl(jax.jit(one.bind, static_argnames=("kind", "window", "shape")))
    one.def_abstract_eval(_abstract)
    batching.primitive_batchers[one] = _batch
    dispatch.prim_requires_devices_during_lowering.add(one)
    mlir.register_lowering(
        one,
        mlir.lower_fun(_lower, multiple_results=one.multiple_results),
        platform="cpu",
    )
