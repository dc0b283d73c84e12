"""Gradient descent by one example, by mini-batches and by all examples at once.

Without flags: a small network on handwritten digits. Each batch size trains for as many
passes over the data, at every rate of a sweep as one program; its gradient's noise at
the start is measured, and what an epoch takes.
"""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import comparing, flags, stacks
from experiments.flags import option
from jaxdl import data as data_room
from jaxdl import models
from jaxdl import optimizers as recipes
from jaxdl.runs import comparison
from jaxdl.runs.families import Network
from jaxdl.runs.folder import RunFolder

NAME = "batch_sizes"
FULL = "full"
DRAWS = 256  # mini-batches from which the noise of a gradient is measured
CAPTIONS = {
    "curves.png": "Training loss by epochs and by steps, each batch size at its best "
    "rate by validation loss.",
    "noise.png": "How far a batch's gradient is from that of all examples: the mean "
    "squared distance over the squared norm, measured and by theory "
    "(v / B (1 - (B - 1) / (N - 1))).",
}


@dataclasses.dataclass(frozen=True)
class Settings(comparing.DataSettings):
    """What ``batch_sizes`` lets one set."""

    sizes: str = option("1,8,32,128,full", "examples a step, by commas; full: all")
    rates: str = option("0.01,0.03,0.1,0.3,1,3", "learning rates, by commas")
    units: int = option(50, "units of the one hidden layer, as in the book")
    epochs: int = option(10, "passes over the training part")
    examples: int = option(1000, "training examples, at most")


@dataclasses.dataclass(frozen=True)
class Found:
    """Courses by batch size, whose members are the rates, and the gradients' noise."""

    settings: Settings
    data: str
    examples: int
    rates: tuple[float, ...]
    courses: Mapping[int, stacks.Course]
    noise: Mapping[int, float]
    expected: Mapping[int, float]

    def best(self, size: int) -> int:
        """The rate with the least validation loss at the end."""
        loss = self.courses[size].validation["loss"][:, -1]
        return int(np.argmin(np.where(np.isfinite(loss), loss, np.inf)))

    def label(self, size: int) -> str:
        """What a size is called."""
        return f"all {size}" if size == self.examples else str(size)

    def tables(self) -> list[comparison.Table]:
        """A row a batch size."""
        rows = []
        for size, course in self.courses.items():
            best = self.best(size)
            steps = int(course.at[-1])
            losses = course.running[best]
            rows.append(
                [
                    self.label(size),
                    f"{steps:,}",
                    f"{self.rates[best]:g}",
                    f"{course.train['loss'][best, -1]:.3g}",
                    f"{100 * course.validation['accuracy'][best, -1]:.1f}%",
                    f"{100 * course.test[best]:.1f}%",
                    f"{self.noise[size]:.2g} ({self.expected[size]:.2g})",
                    str(int(np.sum(np.diff(losses) > 0))),
                    f"{course.seconds:.1f}",
                ]
            )
        return [
            comparison.Table(
                title="One example, mini-batches, all examples",
                about=f"{self.settings.units} hidden units, plain SGD, "
                f"{self.settings.epochs} epochs of {self.examples} examples of "
                f"{self.data}, each size at its best rate by validation loss; noise: "
                f"squared distance of a batch's gradient from the whole one's over its "
                f"squared norm, at the start, over {DRAWS} batches (by theory); "
                f"seconds of all {len(self.rates)} rates as one program",
                columns=(
                    *("batch", "steps", "best rate", "training loss", "validation"),
                    *("test", "gradient noise", "times loss rose", "seconds"),
                ),
                rows=rows,
            )
        ]

    def to_json(self) -> dict[str, Any]:
        """All numbers."""
        return {
            "rates": self.rates,
            "sizes": {
                str(size): {
                    "at": course.at,
                    "train": course.train,
                    "validation": course.validation,
                    "test": course.test,
                    "noise": self.noise[size],
                    "noise_expected": self.expected[size],
                    "seconds": course.seconds,
                }
                for size, course in self.courses.items()
            },
        }

    def draw(self, folder: RunFolder) -> dict[str, str]:
        """Draw ``plots/``; file name to caption."""
        labels = {size: f"batch {self.label(size)}" for size in self.courses}
        lines = {
            labels[size]: course.train["loss"][self.best(size)][None]
            for size, course in self.courses.items()
        }
        epochs = {
            labels[size]: course.at * size / self.examples
            for size, course in self.courses.items()
        }
        steps = {labels[size]: course.at for size, course in self.courses.items()}
        title, loss = "each size at its best rate", "training loss"
        comparison.draw(
            [
                comparison.Panel(title, "epoch", loss, epochs, lines),
                comparison.Panel(title, "step", loss, steps, lines, log_x=True),
            ],
            folder.plots / "curves.png",
        )
        some = [size for size in self.noise if size < self.examples]
        told = {"measured": self.noise, "theory": self.expected}
        panel = comparison.Panel(
            title="noise of the gradient at the start",
            x="batch size",
            y="squared distance / squared norm",
            at={name: np.array(some) for name in told},
            lines={n: np.array([[v[size] for size in some]]) for n, v in told.items()},
            log_x=True,
        )
        comparison.draw([panel], folder.plots / "noise.png")
        return CAPTIONS


def build(
    settings: Settings,
) -> tuple[data_room.Dataset, tuple[float, ...], tuple[int, ...]]:
    """The data, its training part cut to the examples; rates and batch sizes.

    Raises:
      ValueError, OSError: in one line, for a setting that cannot be used.
    """
    for name in ("units", "epochs", "examples"):
        if getattr(settings, name) < 1:
            raise ValueError(f"--{name} is {getattr(settings, name)}: give 1 or more.")
    rates = comparing.rates(settings.rates)
    data = comparing.load(settings)
    count = min(settings.examples, data.train.size)
    data = dataclasses.replace(
        data, train=data_room.subset(data.train, np.arange(count))
    )
    sizes = []
    for text in comparing.names(settings.sizes):
        size = count if text == FULL else int(text) if text.isdecimal() else 0
        if not 1 <= size <= count:
            raise ValueError(
                f"--sizes has {text!r}: give numbers from 1 to {count}, or {FULL}."
            )
        sizes.append(size)
    if not sizes:
        raise ValueError("--sizes is empty: give some, separated by commas.")
    return data, rates, tuple(dict.fromkeys(sizes))


def gradients(network: Network, state: Any, batches: Any) -> jax.Array:
    """The mean gradient of each batch, flat: [batches, parameters].

    Args:
      network: whose objective is differentiated.
      state: where.
      batches: stacked [batches, examples, ...].
    """

    def loss(params: Any, batch: Any) -> jax.Array:
        (total, count), _ = network.objective(
            params, state.model_state, state.hyper, batch, None, False
        )
        return total / count

    def flat(batch: Any) -> jax.Array:
        leaves = jax.tree.leaves(jax.grad(loss)(state.params, batch))
        return jnp.concatenate([leaf.ravel() for leaf in leaves])

    return jax.lax.map(flat, batches)


def noise(
    data: data_room.Dataset, network: Network, sizes: tuple[int, ...]
) -> tuple[dict[int, float], dict[int, float]]:
    """By batch size, the mean squared distance of a batch's gradient from that of all
    examples over the squared norm of the latter: measured, and by the variance of
    single examples' gradients, for batches drawn without replacement."""
    state = jax.jit(network.create)(0)
    count = data.train.size
    look = jax.jit(partial(gradients, network))
    rng = np.random.default_rng(0)
    everything = data.train.fetch(np.arange(count))
    single = np.asarray(look(state, _stacked(everything, np.arange(count)[:, None])))
    whole = single.mean(axis=0)
    variance = np.mean(np.sum((single - whole) ** 2, axis=1)) / np.sum(whole**2)
    measured, expected = {}, {}
    for size in sizes:
        draws = DRAWS if size < count else 1
        chosen = np.stack(
            [rng.choice(count, size, replace=False) for _ in range(draws)]
        )
        found = np.asarray(look(state, _stacked(everything, chosen)))
        distances = np.sum((found - whole) ** 2, axis=1)
        measured[size] = float(np.mean(distances) / np.sum(whole**2))
        left = 1 - (size - 1) / max(count - 1, 1)
        expected[size] = float(variance / size * left)
    return measured, expected


def _stacked(examples: Mapping[str, np.ndarray], chosen: np.ndarray) -> dict[str, Any]:
    batches = {name: values[chosen] for name, values in examples.items()}
    return {**batches, "mask": np.ones(chosen.shape, np.float32)}


def compare(
    settings: Settings,
    built: tuple[data_room.Dataset, tuple[float, ...], tuple[int, ...]],
    say: comparing.Say = print,
) -> Found:
    """Train by every batch size; what became of them."""
    data, rates, sizes = built
    mlp = models.create("mlp", classes=len(data.classes), hidden=(settings.units,))
    net = stacks.network(data, mlp, recipes.make("sgd"), {"learning_rate": 0.1})
    states = stacks.with_numbers(
        stacks.seeds(net, 1), [{"learning_rate": rate} for rate in rates]
    )
    courses = {}
    for size in sizes:
        steps = max(1, settings.epochs * data.train.size // size)
        length = stacks.Length(steps, size, checks=20)
        courses[size] = stacks.train_stack(data, net, states, length)
        say(f"batches of {size}: {steps:,} steps, {courses[size].seconds:.1f} s")
    measured, expected = noise(data, net, sizes)
    return Found(
        settings, data.name, data.train.size, rates, courses, measured, expected
    )


def main(settings: Settings) -> int:
    """Compare as the settings say; the exit code."""
    return comparing.run(NAME, settings, build, compare)


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
