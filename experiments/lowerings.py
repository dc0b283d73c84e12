"""Measure, on this machine, what each lowering of a convolution takes, shape by shape.

Value, input gradient and kernel gradient each alone, compiled, the least of some rounds
taken by turns. The rule behind "auto" rests on it (jaxdl/layers/convolution.py); what
wins alone need not win in a step.
"""

import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.table import Table

from experiments import flags
from experiments.flags import option
from jaxdl.layers.convolution import LOWERINGS, Choice, Geometry, compilable, convolve
from jaxdl.runs import screen

NAME = "lowerings"

# Batch, side, channels in, window, channels out, stride, groups: those of simple_cnn,
# of ResNet-20, of DCGAN's discriminator, and a depthwise one.
SHAPES = (
    (128, 28, 1, 5, 30, 1, 1),
    (128, 14, 32, 3, 64, 1, 1),
    (64, 32, 3, 3, 16, 1, 1),
    (64, 32, 16, 3, 16, 1, 1),
    (64, 16, 32, 3, 32, 1, 1),
    (64, 8, 64, 3, 64, 1, 1),
    (128, 28, 32, 4, 64, 2, 1),
    (128, 14, 64, 4, 128, 2, 1),
    (64, 28, 32, 3, 1, 1, 1),
    (64, 16, 32, 3, 32, 1, 32),
)
PARTS = Choice._fields


@dataclasses.dataclass(frozen=True)
class Settings:
    """What ``lowerings`` lets one set."""

    rounds: int = option(7, "how often to time each; the least counts")
    only: int = option(-1, "only the shape of this number, from 0 on; -1: all")
    json: bool = option(False, "print JSON, and nothing else, on stdout")
    traceback: bool = option(False, "show the traceback of an error")


def measure(settings: Settings) -> list[dict[str, Any]]:
    """A row for each shape and part: ``shape``, ``part``, and ms by lowering.

    Raises:
      ValueError: in one line, for a setting out of its range.
    """
    if settings.rounds < 1:
        raise ValueError(f"--rounds is {settings.rounds}: give 1 or more.")
    if not -1 <= settings.only < len(SHAPES):
        raise ValueError(
            f"--only is {settings.only}: give -1 (all) to {len(SHAPES) - 1}."
        )
    chosen = SHAPES if settings.only < 0 else SHAPES[settings.only : settings.only + 1]
    return [row for shape in chosen for row in _rows(shape, settings.rounds)]


def _rows(shape: tuple[int, ...], rounds: int) -> list[dict[str, Any]]:
    batch, side, inputs, window, outputs, stride, groups = shape
    before = (window - 1) // 2
    pads = ((before, window - 1 - before),) * 2
    geometry = Geometry((stride,) * 2, pads, (1, 1), groups)
    draw = np.random.default_rng(0)
    x = jnp.asarray(draw.normal(size=(batch, side, side, inputs)), jnp.float32)
    size = (window, window, inputs // groups, outputs)
    kernel = jnp.asarray(draw.normal(size=size), jnp.float32)
    slope = jnp.ones_like(convolve(x, kernel, geometry))
    names = [n for n in LOWERINGS if n != "compiled" or compilable(x, geometry)]
    parts: list[dict[str, Callable[[], Any]]] = [{}, {}, {}]
    for name in names:
        for part, run in zip(parts, _runs(geometry, Choice(*[name] * 3)), strict=True):
            part[name] = jax.jit(run).lower(x, kernel, slope).compile()
    title = f"{batch}x{side}x{side}x{inputs} {window}x{window} -> {outputs}"
    title += f" stride {stride}" * (stride > 1) + f" groups {groups}" * (groups > 1)
    return [
        {"shape": title, "part": name, **_least(part, (x, kernel, slope), rounds)}
        for name, part in zip(PARTS, parts, strict=True)
    ]


def _runs(geometry: Geometry, choice: Choice) -> tuple[Callable[..., Any], ...]:
    """The value and both gradients, of (input, kernel, slope)."""

    def value(x: Any, kernel: Any, slope: Any) -> Any:
        return convolve(x, kernel, geometry, choice)

    def by_input(x: Any, kernel: Any, slope: Any) -> Any:
        return jax.vjp(lambda x: convolve(x, kernel, geometry, choice), x)[1](slope)

    def by_kernel(x: Any, kernel: Any, slope: Any) -> Any:
        return jax.vjp(lambda k: convolve(x, k, geometry, choice), kernel)[1](slope)

    return value, by_input, by_kernel


def _least(
    ways: dict[str, Callable[..., Any]], operands: tuple[Any, ...], rounds: int
) -> dict[str, float]:
    """Milliseconds of each, taken by turns after one that doesn't count."""
    least = dict.fromkeys(ways, float("inf"))
    for counts in [False] + [True] * rounds:
        for name, run in ways.items():
            began = time.perf_counter()
            jax.block_until_ready(run(*operands))
            if counts:
                took = 1000 * (time.perf_counter() - began)
                least[name] = min(least[name], took)
    return least


def main(settings: Settings) -> int:
    """Print the figures; 0."""
    rows = measure(settings)
    if settings.json:
        print(json.dumps(rows, indent=2))
        return 0
    table = Table(title=f"milliseconds, {jax.default_backend()}, jax {jax.__version__}")
    table.add_column("convolution")
    table.add_column("part")
    for name in LOWERINGS:
        table.add_column(name, justify="right")
    for row in rows:
        times = [f"{row[n]:.2f}" if n in row else "-" for n in LOWERINGS]
        table.add_row(row["shape"], row["part"].replace("_", " "), *times)
    screen.console().print(table)
    if not any("compiled" in row for row in rows):
        screen.console().print("not built: python -m jaxdl.kernels compiles a kernel")
    return 0


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
