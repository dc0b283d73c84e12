"""A dense layer's product of matrices by the compiled kernel, as a JAX primitive.

One primitive, of three kinds: the value, its gradient by the input and its gradient by
the kernel. Each is linear in both operands, and each one's derivatives are the two
others: forward and reverse mode of any order follow. Under ``vmap`` all members are
one call. Over devices each computes its part, along whichever axes operands lie over
them. Inside ``shard_map`` it needs ``check_vma=False``, as inside ``pmap``.
"""

from functools import partial
from typing import Any

import jax
from jax._src import dispatch  # as in the convolution
from jax.experimental.custom_partitioning import custom_partitioning
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from jaxdl.kernels.calls import layout

FORWARD = "jaxdl_product"
BY_INPUT, BY_KERNEL = "jaxdl_product_by_input", "jaxdl_product_by_kernel"

# Of members, rows (a batch), inputs and outputs: the input, the kernel, what comes out.
_AXES = {"x": "mri", "w": "mio", "y": "mro"}
# Of a kind its operands, and what it makes of them.
_OPERANDS = {FORWARD: "xw", BY_INPUT: "yw", BY_KERNEL: "xy"}
_RESULT = {FORWARD: "y", BY_INPUT: "x", BY_KERNEL: "w"}
_MAKING = {name: kind for kind, name in _RESULT.items()}


def product(
    x: Float[Array, "rows inputs"], kernel: Float[Array, "inputs outputs"]
) -> Float[Array, "rows outputs"]:
    """x times the kernel. float32 or float64, both alike; no size may be 0."""
    return primitive.bind(x[None], kernel[None], kind=FORWARD)[0]


primitive = Primitive("jaxdl_product")
primitive.def_impl(jax.jit(primitive.bind, static_argnames="kind"))


def sizes(kind: str, shapes: Any) -> dict[str, int]:
    """Of all axes, by the operands' shapes."""
    of: dict[str, int] = {}
    for name, shape in zip(_OPERANDS[kind], shapes, strict=True):
        of |= dict(zip(_AXES[name], shape, strict=True))
    return of


def _shape(kind: str, operands: Any) -> tuple[int, ...]:
    """Of the result."""
    of = sizes(kind, [operand.shape for operand in operands])
    return tuple(of[axis] for axis in _AXES[_RESULT[kind]])


@primitive.def_abstract_eval
def _abstract(*operands: Any, kind: str) -> Any:
    types = {operand.dtype for operand in operands}
    if len(types) > 1:
        raise TypeError(f"operands of one type are needed, not {types}")
    return operands[0].update(shape=_shape(kind, operands))


def _transpose(place: int, cotangent: Array, a: Any, b: Any, *, kind: str) -> Array:
    """What the operand at ``place`` receives: the kind that makes such arrays."""
    wanted, other = _OPERANDS[kind][place], _OPERANDS[kind][1 - place]
    known = {other: (a, b)[1 - place], _RESULT[kind]: cotangent}
    making = _MAKING[wanted]
    return primitive.bind(*(known[name] for name in _OPERANDS[making]), kind=making)


ad.defbilinear(primitive, partial(_transpose, 0), partial(_transpose, 1))


def _batch(operands: Any, axes: Any, *, kind: str) -> tuple[Array, int]:
    """A stack of calls is one call of more members."""
    pairs = list(zip(operands, axes, strict=True))
    size = next(x.shape[axis] for x, axis in pairs if axis is not None)
    wide = [batching.bdim_at_front(x, axis, size) for x, axis in pairs]
    whole = primitive.bind(*[x.reshape(-1, *x.shape[2:]) for x in wide], kind=kind)
    return whole.reshape(size, -1, *whole.shape[1:]), 0


batching.primitive_batchers[primitive] = _batch


def _call(kind: str, *operands: Array) -> Any:
    result = jax.ShapeDtypeStruct(_shape(kind, operands), operands[0].dtype)
    return jax.ffi.ffi_call(kind, result)(*operands)


def _over(kind: str, mesh: Any, operands: Any) -> dict[str, Any]:
    """By which axes of the mesh each axis is cut: as the operands lie, the first
    before the second, but none of the mesh twice."""
    over: dict[str, Any] = {}
    used: set[str] = set()
    for name, operand in zip(_OPERANDS[kind], operands, strict=True):
        for axis, cut in zip(_AXES[name], layout(operand, mesh), strict=True):
            names = set() if cut is None else {cut} if isinstance(cut, str) else {*cut}
            if names and axis not in over and not names & used:
                over[axis] = cut
                used |= names
    return over


def _lies(name: str, over: dict[str, Any], mesh: Any) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(*(over.get(a) for a in _AXES[name])))


def _summed(kind: str) -> str:
    """The axis along which it sums."""
    first, second = (set(_AXES[name]) for name in _OPERANDS[kind])
    return next(iter(first & second - set(_AXES[_RESULT[kind]])))


def _partition(kind: str, mesh: Any, arguments: Any, result: Any) -> Any:
    over = _over(kind, mesh, arguments)
    among = over.get(_summed(kind))

    def part(*operands: Array) -> Array:
        own = _call(kind, *operands)
        return own if among is None else jax.lax.psum(own, among)

    into = tuple(_lies(name, over, mesh) for name in _OPERANDS[kind])
    return mesh, part, _lies(_RESULT[kind], over, mesh), into


def _infer(kind: str, mesh: Any, arguments: Any, result: Any) -> NamedSharding:
    return _lies(_RESULT[kind], _over(kind, mesh, arguments), mesh)


def _lower(*operands: Array, kind: str) -> Array:
    first, second = (" ".join(_AXES[name]) for name in _OPERANDS[kind])
    call = custom_partitioning(_call, static_argnums=(0,))
    call.def_partition(
        partition=_partition,
        infer_sharding_from_operands=_infer,
        decode_shardings=False,
        sharding_rule=f"{first}, {second} -> {' '.join(_AXES[_RESULT[kind]])}",
        reduction_factors=(_summed(kind),),
    )
    return call(kind, *operands)


dispatch.prim_requires_devices_during_lowering.add(primitive)
mlir.register_lowering(
    primitive, mlir.lower_fun(_lower, multiple_results=False), platform="cpu"
)
