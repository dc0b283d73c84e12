"""Adam and the sums of a gradient's squares by the compiled kernel, over all parameters
in one pass each.

Under ``vmap`` all members are one call. What lies over devices stays there. Parameters
and moments are written where they lie, if nothing else reads them. Differentiated, both
are their formulas. Inside ``shard_map`` they need ``check_vma=False``.
"""

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax._src import dispatch  # as in the convolution
from jax.experimental.custom_partitioning import custom_partitioning
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Shaped

from jaxdl.kernels.calls import layout

Arrays = Sequence[Shaped[Array, "..."]]
Scalar = Float[Array, ""]


class Adam(NamedTuple):
    """Adam's constants (Kingma & Ba 2015, by its names).

    Attributes:
      b1, b2: decay rates of the moments.
      eps: beside the root of the second.
    """

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8


class Moments(NamedTuple):
    """Parameters, or what they become, and both moments of their gradient."""

    params: Arrays
    mu: Arrays
    nu: Arrays


class Numbers(NamedTuple):
    """What an update is told of a step: scalars.

    Attributes:
      factor: of the gradient.
      moves: false leaves all as it is.
      first, second: 1 - b1^t and 1 - b2^t.
      rate: the learning rate.
      decay: decoupled, of the arrays that have one.
    """

    factor: Scalar
    moves: Bool[Array, ""]
    first: Scalar
    second: Scalar
    rate: Scalar
    decay: Scalar


@jax.custom_jvp
def sums_of_squares(arrays: Arrays, factor: Scalar) -> Float[Array, " arrays"]:
    """Of each array times the factor. float32 or float64, all alike."""
    return squares.bind(factor, *arrays)


def sums_formula(arrays: Arrays, factor: Scalar) -> Float[Array, " arrays"]:
    """The same by JAX."""
    return jnp.stack([jnp.sum(jnp.square(x * factor)) for x in arrays])


@sums_of_squares.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return sums_of_squares(*primals), jax.jvp(sums_formula, primals, tangents)[1]


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def adam(
    constants: Adam,
    decays: tuple[bool, ...],
    gradient: Arrays,
    old: Moments,
    numbers: Numbers,
) -> Moments:
    """A step of Adam: parameters and moments after it.

    Args:
      constants: as float64.
      decays: of each array whether it has a decay.
      gradient: times ``numbers.factor`` it is the one that counts.
      old: before it; all arrays float32 or float64, alike.
      numbers: of the step.
    """
    told = jnp.stack([jnp.asarray(x, old.params[0].dtype) for x in numbers])
    constants_by_name = constants._asdict()
    made = update.bind(
        told, *gradient, *chain(*old), decays=decays, **constants_by_name
    )
    count = len(gradient)
    return Moments(made[:count], made[count : 2 * count], made[2 * count :])


def adam_formula(
    constants: Adam,
    decays: tuple[bool, ...],
    gradient: Arrays,
    old: Moments,
    numbers: Numbers,
) -> Moments:
    """The same by JAX."""
    b1, b2, eps = constants

    def one(decays: bool, slope: Array, p: Array, mu: Array, nu: Array) -> Any:
        slope = slope * numbers.factor
        mean = b1 * mu + (1 - b1) * slope
        square = b2 * nu + (1 - b2) * slope * slope
        step = mean / numbers.first / (jnp.sqrt(square / numbers.second) + eps)
        if decays:
            step += numbers.decay * p
        new = p - numbers.rate * step, mean, square
        pairs = zip(new, (p, mu, nu), strict=True)
        return [jnp.where(numbers.moves, *pair) for pair in pairs]

    made = [one(*each) for each in zip(decays, gradient, *old, strict=True)]
    return Moments(*(list(arrays) for arrays in zip(*made, strict=True)))


@adam.defjvp
def _(constants: Adam, decays: Any, primals: Any, tangents: Any) -> Any:
    formula = partial(adam_formula, constants, decays)
    slopes = jax.jvp(formula, primals, tangents)[1]
    return adam(constants, decays, *primals), slopes


# Operands: factor [], arrays. Result: [arrays]. Of members all lead with their axis:
# one of size 1 would make XLA copy what is to be written in place.
squares = Primitive("jaxdl_squares")
# Operands: numbers [6]; gradients, parameters, means and squares. Results: parameters,
# means and squares.
update = Primitive("jaxdl_adam")
update.multiple_results = True

squares.def_impl(jax.jit(squares.bind))
update.def_impl(jax.jit(update.bind, static_argnames=("decays", *Adam._fields)))


def _one_type(*operands: Any) -> None:
    types = {operand.dtype for operand in operands}
    if len(types) > 1:
        raise TypeError(f"operands of one type are needed, not {types}")


@squares.def_abstract_eval
def _(factors: Any, *arrays: Any) -> Any:
    _one_type(factors, *arrays)
    return factors.update(shape=(*factors.shape, len(arrays)))


@update.def_abstract_eval
def _(numbers: Any, *arrays: Any, **_: Any) -> Any:
    _one_type(numbers, *arrays)
    return list(arrays[len(arrays) // 4 :])


def _batched(primitive: Primitive, operands: Any, axes: Any, **told: Any) -> Any:
    """A stack of calls is one call of more members: they lead, also those of others."""
    pairs = list(zip(operands, axes, strict=True))
    size = next(x.shape[axis] for x, axis in pairs if axis is not None)
    made = primitive.bind(
        *[batching.bdim_at_front(x, axis, size) for x, axis in pairs], **told
    )
    return made, [0] * len(made) if primitive.multiple_results else 0


batching.primitive_batchers[squares] = partial(_batched, squares)
batching.primitive_batchers[update] = partial(_batched, update)


def _call_squares(factors: Array, *arrays: Array) -> Array:
    shape = jax.ShapeDtypeStruct((*factors.shape, len(arrays)), factors.dtype)
    return jax.ffi.ffi_call("jaxdl_squares", shape)(factors, *arrays)


def _call_update(
    decays: tuple[bool, ...], constants: Adam, numbers: Array, *arrays: Array
) -> Any:
    count = len(arrays) // 4
    made = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays[count:]]
    # Each result may lie where its operand does, behind the numbers and gradients.
    places = {1 + count + i: i for i in range(3 * count)}
    call = jax.ffi.ffi_call("jaxdl_adam", made, input_output_aliases=places)
    names = ("first", "second", "eps")
    told = dict(zip(names, map(np.float64, constants), strict=True))
    return call(numbers, *arrays, decays=np.asarray(decays, np.int64), **told)


def _lie(mesh: Any, leading: int, arrays: Any) -> tuple[Any, list[NamedSharding]]:
    """How members are cut, as the first array has it, and how each array lies."""
    specs = [layout(x, mesh) for x in arrays]
    members = specs[0][:leading]
    whole = [PartitionSpec(*members, *spec[leading:]) for spec in specs]
    return members, [NamedSharding(mesh, spec) for spec in whole]


def _infer_squares(mesh: Any, operands: Any, result: Any) -> NamedSharding:
    factors, *arrays = operands
    members, _ = _lie(mesh, len(factors.shape), arrays)
    return NamedSharding(mesh, PartitionSpec(*members, None))


def _partition_squares(mesh: Any, operands: Any, result: Any) -> Any:
    factors, *arrays = operands
    members, lies = _lie(mesh, len(factors.shape), arrays)
    within = [_names(place.spec[len(members) :]) for place in lies]

    def part(factors: Array, *arrays: Array) -> Array:
        own = _call_squares(factors, *arrays)
        if not any(within):
            return own
        columns = [
            jax.lax.psum(own[..., i], axes) if axes else own[..., i]
            for i, axes in enumerate(within)
        ]
        return jnp.stack(columns, axis=-1)

    into = (NamedSharding(mesh, PartitionSpec(*members)), *lies)
    return mesh, part, _infer_squares(mesh, operands, result), into


def _names(cuts: Sequence[Any]) -> tuple[str, ...]:
    """All axes of the mesh that cut an array; each cut is None, one or several."""
    several = [cut if isinstance(cut, tuple) else (cut,) for cut in cuts if cut]
    return tuple(chain(*several))


def _as_parameters(mesh: Any, operands: Any) -> tuple[Any, list[NamedSharding]]:
    """How members and each parameter lie: so shall its gradient and moments."""
    numbers, *arrays = operands
    count = len(arrays) // 4
    return _lie(mesh, len(numbers.shape) - 1, arrays[count : 2 * count])


def _infer_update(
    decays: Any, constants: Adam, mesh: Any, operands: Any, results: Any
) -> Any:
    return _as_parameters(mesh, operands)[1] * 3


def _partition_update(
    decays: Any, constants: Adam, mesh: Any, operands: Any, results: Any
) -> Any:
    members, lies = _as_parameters(mesh, operands)
    numbers = NamedSharding(mesh, PartitionSpec(*members, None))
    part = partial(_call_update, decays, constants)
    return mesh, part, lies * 3, (numbers, *lies * 4)


def _axes(leading: int, arrays: Arrays) -> tuple[str, list[str], list[str]]:
    """Names of axes for the partitioner: of the members, all of each array, and those
    of arrays alone."""
    members = [f"m{axis}" for axis in range(leading)]
    own = [
        [f"a{i}x{axis}" for axis in range(leading, x.ndim)]
        for i, x in enumerate(arrays)
    ]
    whole = [" ".join([*members, *names]) for names in own]
    return " ".join(members), whole, list(chain(*own))


def _lower_squares(factors: Array, *arrays: Array) -> Array:
    members, axes, own = _axes(factors.ndim, arrays)
    call = custom_partitioning(_call_squares)
    call.def_partition(
        partition=_partition_squares,
        infer_sharding_from_operands=_infer_squares,
        decode_shardings=False,
        sharding_rule=f"{members}, {', '.join(axes)} -> {members} n",
        reduction_factors=tuple(own),
    )
    return call(factors, *arrays)


def _lower_update(numbers: Array, *arrays: Array, decays: Any, **constants: Any) -> Any:
    members, axes, _ = _axes(numbers.ndim - 1, arrays[: len(arrays) // 4])
    call = custom_partitioning(_call_update, static_argnums=(0, 1))
    call.def_partition(
        partition=_partition_update,
        infer_sharding_from_operands=_infer_update,
        decode_shardings=False,
        sharding_rule=f"{members} n, {', '.join(axes * 4)} -> {', '.join(axes * 3)}",
    )
    return call(decays, Adam(**constants), numbers, *arrays)


for _primitive, _lower in ((squares, _lower_squares), (update, _lower_update)):
    dispatch.prim_requires_devices_during_lowering.add(_primitive)
    mlir.register_lowering(
        _primitive,
        mlir.lower_fun(_lower, multiple_results=_primitive.multiple_results),
        platform="cpu",
    )
