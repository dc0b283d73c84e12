"""Derivatives by differences, and gradient checks: numeric against automatic."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from jaxdl.batch import Batch
from jaxdl.models import EVALUATION, Model, forward
from jaxdl.objectives import Objective
from jaxdl.parameters import path_name

Tree = Any
Scalar = Callable[[Tree], Any]

# Lengths of a difference, tried in turn until one agrees. Long ones err by curvature,
# short ones by rounding, and either may step over the kink of a ReLU; a wrong gradient
# agrees with none of them.
STEPS = (1e-4, 1e-5, 1e-6)
# So close that a shorter step is not tried.
_CLOSE = 1e-8
# Below this share of the largest slope (or value) a slope cannot be told from rounding.
_FLOOR = 1e-3


def numeric_derivative(
    function: Callable[[float], Any], x: float, step: float = 1e-4
) -> float:
    """The slope of a function of one number: (f(x + h) - f(x - h)) / 2h.

    The central difference errs by h^2 f'''(x) / 6, the one-sided by h f''(x) / 2.
    Plain Python numbers are float64.
    """
    return float((function(x + step) - function(x - step)) / (2 * step))


def numeric_gradient(function: Scalar, at: Tree, step: float = 1e-4) -> Tree:
    """The gradient of a scalar function of a pytree, an entry at a time.

    Two evaluations for every number, in float64 if the function computes so: under
    ``jax.enable_x64``, or in NumPy. To be compared with ``jax.grad``, which needs
    about three evaluations for all of them.

    Args:
      function: of a tree like ``at``, to a scalar.
      at: a pytree of float arrays, whose values are changed one by one.
      step: h of the central difference.
    """
    leaves, treedef = jax.tree.flatten(_wide(at))
    gradients = []
    for number, leaf in enumerate(leaves):
        slopes = np.zeros(leaf.shape)
        for index in np.ndindex(leaf.shape):
            way = [np.zeros_like(other) for other in leaves]
            way[number][index] = 1.0
            slopes[index] = _slope(
                function, jax.tree.unflatten(treedef, leaves), treedef, way, step
            )
        gradients.append(slopes)
    return jax.tree.unflatten(treedef, gradients)


@dataclasses.dataclass(frozen=True)
class Slope:
    """One derivative found in two ways.

    Attributes:
      leaf: the path of the array, as ``Dense_0/kernel``.
      index: of the entry; None for a direction drawn at random through the leaf.
      numeric, automatic: the derivative by differences and by JAX.
      error: their difference, relative to the larger of them (see
        ``gradient_check``).
    """

    leaf: str
    index: tuple[int, ...] | None
    numeric: float
    automatic: float
    error: float


@dataclasses.dataclass(frozen=True)
class GradientCheck:
    """What a gradient check compared.

    Attributes:
      slopes: every derivative that was compared, leaf by leaf.
    """

    slopes: tuple[Slope, ...]

    @property
    def worst(self) -> Slope:
        """The entry that differs most, in the leaf that differs most.

        A direction, where it alone shows that its leaf is wrong.
        """
        most = max(self.slopes, key=lambda slope: slope.error)
        entries = [
            s for s in self.slopes if s.leaf == most.leaf and s.index is not None
        ]
        entry = max(entries, key=lambda slope: slope.error, default=most)
        return entry if entry.error > most.error / 100 else most

    @property
    def error(self) -> float:
        """The largest relative error; infinite where a slope is not finite."""
        return max(slope.error for slope in self.slopes)

    def wrong(self, tolerance: float = 1e-6) -> tuple[str, ...]:
        """The leaves in which a slope differs by more than the tolerance."""
        found = [slope.leaf for slope in self.slopes if slope.error > tolerance]
        return tuple(dict.fromkeys(found))

    def __str__(self) -> str:
        at = self.worst
        leaves = len({slope.leaf for slope in self.slopes})
        place = "a random direction" if at.index is None else f"index {list(at.index)}"
        return (
            f"{len(self.slopes)} slopes of {leaves} arrays: worst relative error "
            f"{at.error:.2g} in {at.leaf} at {place}, numeric {at.numeric:.10g}, "
            f"automatic {at.automatic:.10g}"
        )


def gradient_check(
    function: Scalar,
    at: Tree,
    *,
    gradient: Callable[[Tree], Tree] | None = None,
    entries: int | None = 2,
    steps: Sequence[float] = STEPS,
    seed: int = 0,
    jit: Callable[..., Any] = jax.jit,
) -> GradientCheck:
    """Compares a gradient with central differences, in float64.

    Of every leaf a direction drawn at random is compared, which every entry takes part
    in, and single entries: the one with the largest automatic slope, others at random.
    An error is |numeric - automatic| relative to the larger of the two, or to a
    thousandth of the largest slope of all (and of the value), below which differences
    see rounding alone.

    Args:
      function: a function of a pytree to a scalar, pure. Arrays that it brings along
        may be float32; what it computes of ``at`` must not be.
      at: the pytree; integers in it are left alone. Widened to float64.
      gradient: what is checked, ``jax.grad(function)`` by default: give a backward
        pass of your own.
      entries: how many of each leaf; None for all of them.
      steps: of the differences; the one that agrees best counts.
      seed: of directions and entries.
      jit: compiles; ``lambda f: f`` for a function that is no JAX.
    """
    with jax.enable_x64(True):
        at = _wide(at)
        value = jit(function)
        slopes = jit(gradient or jax.grad(function, allow_int=True))(at)
        automatic = [np.asarray(leaf) for leaf in jax.tree.leaves(slopes)]
        return GradientCheck(
            tuple(_compare(value, at, automatic, entries, steps, seed))
        )


def _compare(
    value: Scalar,
    at: Tree,
    automatic: Sequence[np.ndarray],
    entries: int | None,
    steps: Sequence[float],
    seed: int,
) -> Iterator[Slope]:
    """The slopes of ``gradient_check``, leaf by leaf."""
    paths, treedef = jax.tree_util.tree_flatten_with_path(at)
    leaves = [leaf for _, leaf in paths]
    real = [i for i, leaf in enumerate(leaves) if leaf.dtype.kind == "f"]
    sizes = [np.abs(automatic[i]).max(initial=0.0) for i in real]
    floor = _FLOOR * max(abs(float(value(at))), *sizes, np.finfo(float).tiny)
    rng = np.random.default_rng(seed)
    for number in real:
        name = path_name(paths[number][0]) or "the argument"
        for index, way in _ways(automatic[number], entries, rng):
            whole = [np.zeros_like(leaf) for leaf in leaves]
            whole[number] = way
            slope = float(np.sum(automatic[number] * way))
            by_step = [
                _compared(name, index, n, slope, floor)
                for n in _numeric(value, at, treedef, whole, steps, slope, floor)
            ]
            yield min(by_step, key=lambda each: each.error)


def check_model(
    model: Model,
    params: Tree,
    inputs: Any,
    *,
    model_state: Mapping[str, Any] | None = None,
    **options: Any,
) -> GradientCheck:
    """``gradient_check`` of a model: of its outputs' sine, summed, by its parameters.

    The sine, because a plain sum has the same slope everywhere and would not see
    outputs that are exchanged.

    Args:
      model: a Flax module that computes in float64 (``dtype="float64"`` of jaxdl's),
        or a function ``f(params, inputs)``.
      params: its parameters.
      inputs: as it takes them; float arrays are widened to float64.
      model_state: its other collections.
      **options: of ``gradient_check``.
    """
    run = forward(model)
    inputs, state = _wide(inputs), _wide(dict(model_state or {}))

    def total(params: Tree) -> Any:
        outputs, _ = run(params, state, inputs, EVALUATION, None)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(outputs))

    return gradient_check(total, params, **options)


def check_objective(
    objective: Objective,
    params: Tree,
    batch: Batch,
    *,
    model_state: Mapping[str, Any] | None = None,
    hyper: Mapping[str, Any] | None = None,
    key: Any = None,
    training: bool = True,
    **options: Any,
) -> GradientCheck:
    """``gradient_check`` of an objective's mean loss by the parameters.

    Args:
      objective: any of ``jaxdl.objectives``, or of that form.
      params, batch: what it takes; float arrays are widened to float64.
      model_state, hyper, key, training: likewise; the key fixes dropout and noise.
      **options: of ``gradient_check``.
    """
    batch, state = _wide(dict(batch)), _wide(dict(model_state or {}))
    numbers = dict(hyper or {})

    def loss(params: Tree) -> Any:
        (total, count), _ = objective(params, state, numbers, batch, key, training)
        return total / count

    return gradient_check(loss, params, **options)


def _wide(tree: Tree) -> Tree:
    """Every float array as float64 on the host, integers and keys as they are."""

    def widen(leaf: ArrayLike) -> Any:
        if jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.extended):
            return leaf
        array = np.asarray(leaf)
        return array.astype(np.float64) if array.dtype.kind == "f" else array

    return jax.tree.map(widen, tree)


def _ways(
    automatic: Float[np.ndarray, "*shape"], entries: int | None, rng: Any
) -> list[tuple[tuple[int, ...] | None, np.ndarray]]:
    """Directions through a leaf: a random one of length 1, and single entries."""
    size = automatic.size
    if not size:
        return []
    drawn = rng.normal(size=automatic.shape)
    ways: list[tuple[tuple[int, ...] | None, np.ndarray]] = []
    ways.append((None, drawn / np.linalg.norm(drawn)))
    order = rng.permutation(size)
    if entries is not None:
        largest = int(np.argmax(np.abs(automatic)))
        order = np.unique([largest, *order[: max(entries, 1) - 1]])
    for flat in order:
        index = tuple(int(i) for i in np.unravel_index(flat, automatic.shape))
        way = np.zeros(automatic.shape)
        way[index] = 1.0
        ways.append((index, way))
    return ways


def _slope(
    function: Scalar, at: Tree, treedef: Any, way: Sequence[np.ndarray], step: float
) -> float:
    """The central difference of a function along a direction."""
    leaves = jax.tree.leaves(at)

    def value(length: float) -> float:
        moved = [
            leaf + length * w if leaf.dtype.kind == "f" else leaf
            for leaf, w in zip(leaves, way, strict=True)
        ]
        return float(function(jax.tree.unflatten(treedef, moved)))

    return (value(step) - value(-step)) / (2 * step)


def _numeric(
    function: Scalar,
    at: Tree,
    treedef: Any,
    way: Sequence[np.ndarray],
    steps: Sequence[float],
    slope: float,
    floor: float,
) -> list[float]:
    """Differences by one step after the other, until one is close to the slope."""
    found = []
    for step in steps:
        found.append(_slope(function, at, treedef, way, step))
        if _error(found[-1], slope, floor) < _CLOSE:
            break
    return found


def _error(numeric: float, automatic: float, floor: float) -> float:
    if not np.isfinite([numeric, automatic]).all():
        return float("inf")
    return abs(numeric - automatic) / max(abs(numeric), abs(automatic), floor)


def _compared(
    leaf: str,
    index: tuple[int, ...] | None,
    numeric: float,
    automatic: float,
    floor: float,
) -> Slope:
    error = _error(numeric, automatic, floor)
    return Slope(leaf, index, numeric, automatic, error)
