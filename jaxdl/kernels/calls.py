"""Calls of compiled kernels as one JAX primitive: vmapped, they are one call of more
members; what lies over devices along axes that a kernel takes apart stays so.

They have no derivatives of their own: who calls gives them, by another kernel.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
from jax._src import dispatch  # as in the convolution
from jax._src.sharding_impls import parse_flatten_op_sharding
from jax.experimental.custom_partitioning import custom_partitioning
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array


class Axes(NamedTuple):
    """What the axes of a kernel's operands and results are.

    Attributes:
      operands, results: of each the names of its axes, "b q h f"; an equal name is an
        equal size, "h/2" half that of "h", rounded down. The first axis of each is that
        of members: a kernel treats them apart, however many there are.
      split: names of those along which a part can be computed without the rest.
    """

    operands: tuple[str, ...]
    results: tuple[str, ...]
    split: str


def layout(operand: Any, mesh: Any) -> tuple[Any, ...]:
    """By which axes of the mesh each axis of an operand is cut.

    XLA may lay it out as no axes of the mesh can (8 devices as 4 x 2, behind a
    reshape), or unevenly. Then it is whole: gathered before the kernel. JAX itself
    would refuse it (``decode_shardings``).
    """
    none = (None,) * len(operand.shape)
    cut = operand.sharding._to_xla_hlo_sharding(len(none))
    try:
        spec = parse_flatten_op_sharding(cut, mesh)[0]
        NamedSharding(mesh, spec).shard_shape(operand.shape)  # cut evenly?
    except ValueError:
        return none
    return (*spec, *none)[: len(none)]


def call(target: str, axes: Axes, *operands: Array, **attributes: Any) -> list[Array]:
    """The results of a kernel.

    Args:
      target: its name in the compiled library.
      axes: of its operands and results.
      operands: all of one type.
      attributes: what else it is told: numbers of NumPy, or truth values.
    """
    told = tuple(sorted(attributes.items()))
    return primitive.bind(*operands, target=target, axes=axes, attributes=told)


primitive = Primitive("jaxdl_kernel")
primitive.multiple_results = True
primitive.def_impl(
    jax.jit(primitive.bind, static_argnames=("target", "axes", "attributes"))
)


def sizes(axes: Axes, shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """Of all axes, by the operands' shapes."""
    of: dict[str, int] = {}
    for names, shape in zip(axes.operands, shapes, strict=True):
        of |= dict(zip(names.split(), shape, strict=True))
    return of


def _shapes(axes: Axes, operands: Sequence[Any]) -> list[tuple[int, ...]]:
    """Of the results."""
    of = sizes(axes, [operand.shape for operand in operands])
    of |= {f"{name}/2": size // 2 for name, size in of.items()}
    return [tuple(of[name] for name in names.split()) for names in axes.results]


@primitive.def_abstract_eval
def _abstract(*operands: Any, target: str, axes: Axes, attributes: Any) -> list[Any]:
    types = {operand.dtype for operand in operands}
    if len(types) > 1:
        raise TypeError(f"operands of one type are needed, not {types}")
    dtype = operands[0].dtype
    return [jax.core.ShapedArray(shape, dtype) for shape in _shapes(axes, operands)]


def _batch(operands: Sequence[Array], batched: Sequence[Any], **told: Any) -> Any:
    """A stack of calls is one call of more members."""
    pairs = list(zip(operands, batched, strict=True))
    size = next(x.shape[axis] for x, axis in pairs if axis is not None)
    wide = [batching.bdim_at_front(x, axis, size) for x, axis in pairs]
    flat = [x.reshape(-1, *x.shape[2:]) for x in wide]
    results = primitive.bind(*flat, **told)
    return [y.reshape(size, -1, *y.shape[1:]) for y in results], [0] * len(results)


batching.primitive_batchers[primitive] = _batch


def _run(target: str, axes: Axes, attributes: Any, *operands: Array) -> Any:
    results = [
        jax.ShapeDtypeStruct(shape, operands[0].dtype)
        for shape in _shapes(axes, operands)
    ]
    return jax.ffi.ffi_call(target, results)(*operands, **dict(attributes))


def _layouts(axes: Axes, mesh: Any, arguments: Any) -> tuple[Any, Any]:
    """Of operands and results, by how the first operand lies."""
    names = axes.operands[0].split()
    spec = layout(arguments[0], mesh)
    over = {n: on for n, on in zip(names, spec, strict=True) if n in axes.split}

    def lies(names: str) -> NamedSharding:
        spec = PartitionSpec(*(over.get(name) for name in names.split()))
        return NamedSharding(mesh, spec)

    return tuple(map(lies, axes.operands)), list(map(lies, axes.results))


def _infer(
    target: str, axes: Axes, attributes: Any, mesh: Any, arguments: Any, results: Any
) -> Any:
    return _layouts(axes, mesh, arguments)[1]


def _partition(
    target: str, axes: Axes, attributes: Any, mesh: Any, arguments: Any, results: Any
) -> Any:
    into, out = _layouts(axes, mesh, arguments)
    return mesh, partial(_run, target, axes, attributes), out, into


def _lower(*operands: Array, target: str, axes: Axes, attributes: Any) -> Any:
    rule = f"{', '.join(axes.operands)} -> {', '.join(axes.results)}".replace("/", "_")
    run = custom_partitioning(_run, static_argnums=(0, 1, 2))
    run.def_partition(
        partition=_partition,
        infer_sharding_from_operands=_infer,
        decode_shardings=False,
        sharding_rule=rule,
    )
    return run(target, axes, attributes, *operands)


dispatch.prim_requires_devices_during_lowering.add(primitive)
mlir.register_lowering(
    primitive, mlir.lower_fun(_lower, multiple_results=True), platform="cpu"
)
