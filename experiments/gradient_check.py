"""Gradients three ways: written by hand, by differences, by JAX; how equal, how long.

A two-layer network, one with batch norm and dropout, and a small convolutional one, on
digits. Last, backward passes that are wrong are checked, to see them found. A minute.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import comparing, flags
from experiments.flags import option
from jaxdl import analysis
from jaxdl import data as data_room
from jaxdl.analysis import backpropagation as by_hand
from jaxdl.analysis import backpropagation_of_images as of_images
from jaxdl.parameters import path_name
from jaxdl.runs import comparison
from jaxdl.runs.folder import RunFolder

NAME = "gradient_check"
# The books' mean absolute differences, numeric against by hand, by network and array.
BOOKS = {
    "two layers": "1.8e-6, 2.4e-5, 6.2e-9, 1.4e-7",
    "batch norm and dropout": "1e-7",
    "convolution": "1e-11 to 1e-7",
}
EPSILON = 1e-4
REPEATS = 20
CAPTIONS = {
    "times.png": "Seconds of one gradient, compiled. Differences evaluate the network "
    "twice for every parameter."
}


@dataclasses.dataclass(frozen=True)
class Settings(comparing.ComparisonSettings):
    """What ``gradient_check`` lets one set."""

    hidden: int = option(20, "hidden units of the two-layer network")
    filters: int = option(4, "of the convolution")
    batch_size: int = option(3, "digits in the batch")
    seed: int = option(0, "of parameters and digits")


@dataclasses.dataclass(frozen=True)
class Network:
    """A chain of nodes that ends in a loss.

    Attributes:
      nodes, params: of ``jaxdl.analysis.backpropagation``.
      x: its input.
    """

    nodes: Sequence[by_hand.Node]
    params: Sequence[Any]
    x: Any

    def loss(self, params: Sequence[Any]) -> Any:
        """By the forward passes alone."""
        x = self.x
        for node, own in zip(self.nodes, params, strict=True):
            x, _ = node.forward(own, x)
        return x

    def by_hand(self, params: Sequence[Any]) -> list[Any]:
        """The gradient by the backward passes as they are written."""
        return by_hand.value_and_gradients(self.nodes, params, self.x)[1]


@dataclasses.dataclass(frozen=True)
class Checked:
    """What came of one network.

    Attributes:
      parameters: how many numbers.
      differences: mean absolute difference, numeric against by hand, by array.
      hand, automatic: worst relative error of ``gradient_check`` of the backward
        passes by hand, and of JAX's.
      seconds: way to the time of one gradient.
    """

    parameters: int
    differences: dict[str, float]
    hand: float
    automatic: float
    seconds: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Networks, and mistakes that were planted."""

    networks: dict[str, Checked]
    planted: dict[str, str]

    def tables(self) -> list[comparison.Table]:
        """Differences, times, mistakes."""
        return [
            comparison.Table(
                "Numeric, by hand and automatic",
                f"central differences of {EPSILON:g} in float64; relative errors are "
                "the worst of all arrays",
                (
                    "network",
                    "mean difference by array (numeric - by hand)",
                    "the books'",
                    "error by hand",
                    "error of JAX",
                ),
                [
                    [
                        name,
                        ", ".join(f"{a} {d:.0e}" for a, d in found.differences.items()),
                        BOOKS[name],
                        f"{found.hand:.1e}",
                        f"{found.automatic:.1e}",
                    ]
                    for name, found in self.networks.items()
                ],
            ),
            comparison.Table(
                "Time of one gradient",
                "compiled; numeric: two evaluations for every parameter, one after the "
                "other, and the time to start them",
                ("network", "parameters", "numeric", "by hand", "JAX", "numeric / JAX"),
                [
                    [
                        name,
                        f"{found.parameters:,}",
                        *(f"{1e3 * s:.3g} ms" for s in found.seconds.values()),
                        f"{found.seconds['numeric'] / found.seconds['JAX']:,.0f}",
                    ]
                    for name, found in self.networks.items()
                ],
            ),
            comparison.Table(
                "Planted mistakes",
                "backward passes made wrong on purpose, and what the check says",
                ("mistake", "found"),
                [list(row) for row in self.planted.items()],
            ),
        ]

    def to_json(self) -> dict[str, Any]:
        """All numbers."""
        networks = {n: vars(found) for n, found in self.networks.items()}
        return {"networks": networks, "planted": self.planted}

    def draw(self, folder: RunFolder) -> dict[str, str]:
        """The times."""
        comparison.bars(
            {name: found.seconds for name, found in self.networks.items()},
            "seconds of one gradient",
            folder.plots / "times.png",
        )
        return CAPTIONS


def batch_of(settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Digits in [0, 1], float64, and their classes.

    Raises:
      ValueError: in one line, for a setting that cannot be used.
    """
    for name in ("hidden", "filters", "batch_size"):
        if getattr(settings, name) < 1:
            raise ValueError(f"--{name} is {getattr(settings, name)}: give 1 or more.")
    if settings.seed < 0:
        raise ValueError(f"--seed is {settings.seed}: give 0 or more.")
    data = data_room.load("digits")
    if settings.batch_size > data.train.size:
        raise ValueError(
            f"--batch_size is {settings.batch_size}, but there are only "
            f"{data.train.size} training examples: give that many or fewer."
        )
    batch = data.train.fetch(np.arange(settings.batch_size))
    return np.asarray(batch["inputs"], np.float64) / 16, batch["targets"]


def networks(settings: Settings) -> dict[str, Network]:
    """The three networks, in float64, with He's initial weights.

    Raises:
      ValueError: in one line, for a setting that cannot be used.
    """
    images, targets = batch_of(settings)
    rng = np.random.default_rng(settings.seed)

    def weights(*shape: int) -> dict[str, np.ndarray]:
        scale = np.sqrt(2 / np.prod(shape[:-1]))
        return {"kernel": scale * rng.normal(size=shape), "bias": np.zeros(shape[-1])}

    hidden, filters = settings.hidden, settings.filters
    first, last = weights(64, hidden), weights(hidden, 10)
    norm = {"scale": np.ones(hidden), "bias": np.zeros(hidden)}
    convolution, output = weights(3, 3, 1, filters), weights(9 * filters, 10)
    loss = by_hand.softmax_with_loss(jnp.asarray(targets))
    dropout = by_hand.dropout(0.3, jax.random.key(settings.seed))
    rows = images.reshape(len(images), -1)

    def chain(x: Any, *nodes: tuple[by_hand.Node, Any]) -> Network:
        every, params = zip(*nodes, (loss, None), strict=True)
        return Network(every, params, x)

    affine, relu = by_hand.affine, (by_hand.relu, None)
    return {
        "two layers": chain(rows, (affine, first), relu, (affine, last)),
        "batch norm and dropout": chain(
            rows,
            (affine, first),
            (by_hand.batch_norm(), norm),
            (by_hand.sigmoid, None),
            (dropout, None),
            (affine, last),
        ),
        "convolution": chain(
            images,
            (of_images.convolution(3), convolution),
            relu,
            (of_images.max_pooling(2), None),
            (of_images.flatten, None),
            (affine, output),
        ),
    }


def _timed(function: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """What it gives, and the least seconds of several goes."""
    result, seconds = function(), []
    for _ in range(repeats):
        began = time.perf_counter()
        result = jax.block_until_ready(function())
        seconds.append(time.perf_counter() - began)
    return result, min(seconds)


def measure(network: Network) -> Checked:
    """One network, three ways."""
    params = network.params
    with jax.enable_x64(True):
        value = jax.jit(network.loss)
        hand, automatic = jax.jit(network.by_hand), jax.jit(jax.grad(network.loss))
        value(params)
        numeric, slow = _timed(
            partial(analysis.numeric_gradient, value, params, EPSILON), 1
        )
        written, fast = _timed(partial(hand, params), REPEATS)
        _, quick = _timed(partial(automatic, params), REPEATS)
    leaves = jax.tree_util.tree_flatten_with_path(numeric)[0]
    differences = {
        path_name(path): float(np.mean(np.abs(leaf - np.asarray(own))))
        for (path, leaf), own in zip(leaves, jax.tree.leaves(written), strict=True)
    }
    # All three are compiled already.
    check = partial(analysis.gradient_check, value, params, jit=lambda f: f)
    return Checked(
        parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
        differences=differences,
        hand=check(gradient=hand).error,
        automatic=check(gradient=automatic).error,
        seconds={"numeric": slow, "by hand": fast, "JAX": quick},
    )


def plant(network: Network) -> dict[str, str]:
    """Mistakes in the backward pass of the two-layer network, and what is found."""
    affine, relu = by_hand.affine, by_hand.relu

    def no_gate(kept: Any, slope: Any) -> Any:
        return None, slope

    def mean_bias(kept: Any, slope: Any) -> Any:
        slopes, by_x = affine.backward(kept, slope)
        return {**slopes, "bias": jnp.mean(slope, axis=0)}, by_x

    def one_column(kept: Any, slope: Any) -> Any:
        slopes, by_x = affine.backward(kept, slope)
        return {**slopes, "kernel": slopes["kernel"].at[:, 5].multiply(1.01)}, by_x

    nodes = list(network.nodes)
    mistakes = {
        "ReLU lets every slope through": (1, relu._replace(backward=no_gate)),
        "the bias's slope is a mean, not a sum": (
            2,
            affine._replace(backward=mean_bias),
        ),
        "column 5 of a kernel 1% too large": (
            2,
            affine._replace(backward=one_column),
        ),
    }
    ways = {"none": nodes}
    for name, (place, wrong) in mistakes.items():
        ways[name] = [*nodes[:place], wrong, *nodes[place + 1 :]]
    value = jax.jit(network.loss)
    found = {}
    for name, way in ways.items():
        other = dataclasses.replace(network, nodes=way)
        check = analysis.gradient_check(
            value,
            network.params,
            gradient=jax.jit(other.by_hand),
            entries=None,
            jit=lambda f: f,
        )
        found[name] = str(check)
    return found


def compare(found: dict[str, Network], say: comparing.Say = print) -> Comparison:
    """Check all networks, and see mistakes found."""
    checked = {}
    for name, network in found.items():
        checked[name] = measure(network)
        say(f"{name}: worst relative error {checked[name].hand:.1e} by hand")
    return Comparison(checked, plant(found["two layers"]))


def main(settings: Settings) -> int:
    """Compare as the settings say; the exit code."""
    return comparing.run(
        NAME, settings, networks, lambda _, found, say: compare(found, say)
    )


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
