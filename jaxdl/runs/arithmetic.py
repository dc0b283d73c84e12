"""Floating-point operations: what a step takes, and the most that a device does.

The operations of a step are those of its matrix products and convolutions, as model
FLOP utilisation counts them (Chowdhery et al. 2022, appendix B). They are counted in
the step's jaxpr: XLA's own cost analysis takes the body of a loop once, and so a
recurrent layer for one of its steps.
"""

import importlib.metadata
import json
import time
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jaxdl import kernels
from jaxdl.hardware import cpu_count
from jaxdl.runs.folder import write_json

# How long a peak is looked for, and the side of the products: large enough to keep all
# units of a device busy, small enough for several products in that time.
PEAK_SECONDS = 0.25
_SIDES = {"cpu": 1024}
_SIDE = 8192


def operations(step: Callable[..., Any], state: Any, batch: Any) -> int:
    """Floating-point operations of the products and convolutions in a step.

    A multiplication and an addition are two. The body of a loop counts as often as it
    runs (once for a ``while`` of unknown length), of branches the dearest counts.

    Args:
      step: the pure step.
      state: its state, or shapes of it.
      batch: a batch, or shapes of it.
    """
    return _count(jax.jit(step).trace(state, batch).jaxpr.jaxpr)


def _count(jaxpr: core.Jaxpr) -> int:
    return sum(map(_of_equation, jaxpr.eqns))


def _of_equation(equation: Any) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left = equation.invars[0].aval.shape
        out = equation.outvars[0].aval.shape
        return 2 * prod(out) * prod(left[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel, out = equation.invars[1].aval.shape, equation.outvars[0].aval.shape
        features = kernel[params["dimension_numbers"].rhs_spec[0]]
        return 2 * prod(out) * prod(kernel) // features
    if known := kernels.multiplications(equation):
        return 2 * known
    inner = [
        _count(value.jaxpr if isinstance(value, core.ClosedJaxpr) else value)
        for value in jax.tree.leaves(
            list(params.values()),
            is_leaf=lambda x: isinstance(x, core.Jaxpr | core.ClosedJaxpr),
        )
        if isinstance(value, core.Jaxpr | core.ClosedJaxpr)
    ]
    if name == "cond":
        return max(inner, default=0)
    return sum(inner) * (params["length"] if name == "scan" else 1)


def peak(devices: Any, dtype: str = "float32", most: float = 0.0) -> float | None:
    """Operations a second that devices reach together in a square matrix product.

    Measured once for a kind of device and kept beside the compiled programs, and again
    where a run was faster (``most``): the machine was busy then. The devices of a CPU
    share its cores. None where it cannot be known: they belong to several processes,
    or have no room.
    """
    first = devices[0]
    if len({device.process_index for device in devices}) > 1:
        return None
    count = 1 if first.platform == "cpu" else len(devices)
    cores = f" {cpu_count()} cores" if first.platform == "cpu" else ""
    jaxlib = importlib.metadata.version("jaxlib")
    name = f"{first.device_kind}{cores} {dtype} jaxlib {jaxlib}"
    known = _kept()
    best = known.get(name, 0.0)
    if not best > 0 or most / count > best:
        try:
            best = max(best, _measured(first, dtype))
        except (RuntimeError, MemoryError):
            return None
        _keep({**known, name: best})
    return best * count


def _measured(device: jax.Device, dtype: str) -> float:
    """The fastest of as many products as a moment holds."""
    side = _SIDES.get(device.platform, _SIDE)
    values = np.linspace(-1, 1, side * side, dtype=np.float32).reshape(side, side)
    a = jax.device_put(values, device).astype(dtype)
    product = jax.jit(jnp.matmul)
    product(a, a).block_until_ready()
    shortest, until = float("inf"), time.perf_counter() + PEAK_SECONDS
    while (began := time.perf_counter()) < until:
        product(a, a).block_until_ready()
        shortest = min(shortest, time.perf_counter() - began)
    return 2 * side**3 / shortest


def _place() -> Path | None:
    folder = jax.config.values.get("jax_compilation_cache_dir")
    return Path(folder) / "peak.json" if folder else None


def _kept() -> dict[str, float]:
    place = _place()
    try:
        found = json.loads(place.read_bytes()) if place else {}
        return {str(name): float(value) for name, value in found.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _keep(peaks: dict[str, float]) -> None:
    place = _place()
    try:
        if place is not None:
            write_json(place, peaks)
    except OSError:
        pass  # it is measured again, then
