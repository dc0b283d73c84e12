"""Train one network by every optimizer, at every learning rate of a sweep.

Without flags: a 5-layer ReLU network on handwritten digits. All rates and seeds of an
optimizer train as one vmapped program, on the same batches in the same order.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments import comparing, flags, stacks
from experiments.flags import option
from jaxdl import data as data_room
from jaxdl import models
from jaxdl import optimizers as recipes
from jaxdl.runs import comparison
from jaxdl.runs.folder import RunFolder
from jaxdl.runs.plots.grids import value_grid

NAME = "optimizers"

# The book's (Deep Learning from Scratch, chapter 6): its rates, and the training loss
# after 2,000 steps of 128 MNIST images on 784-100-100-100-100-10.
BOOK = {
    "sgd": (0.01, 0.150),
    "momentum": (0.01, 0.050),
    "adagrad": (0.01, 0.016),
    "adam": (0.001, 0.032),
}
DRAWN = ("sgd", "momentum", "adagrad", "rmsprop", "adam", "muon")
CAPTIONS = {
    "rates.png": "Training loss at the end, by optimizer and learning rate: the mean "
    "over the seeds; a dash is not finite.",
    "curves.png": "Training loss over the steps, each optimizer at its best rate by "
    "validation loss; the mean over the seeds, between least and most.",
}


@dataclasses.dataclass(frozen=True)
class Settings(comparing.DataSettings):
    """What ``optimizers`` lets one set."""

    optimizers: str = option("all", "which, by commas; all: every one there is")
    rates: str = option(
        "0.0001,0.0003,0.001,0.003,0.01,0.03,0.1,0.3,1", "learning rates, by commas"
    )
    hidden_layers: int = option(4, "hidden layers of the ReLU network")
    units: int = option(100, "units of each hidden layer")
    steps: int = option(200, "steps of each")
    batch_size: int = option(128, "examples a step")
    seeds: int = option(2, "initial values 0, 1, ... of each")


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Every optimizer's course; its members are [rates, seeds], in one axis.

    Attributes:
      settings: what was asked for.
      rates: learning rates.
      courses: by optimizer.
      single: losses [rates * seeds, batches] of single batches at the end, of the
        optimizers that the book prints one of.
      data: its name.
    """

    settings: Settings
    rates: tuple[float, ...]
    courses: Mapping[str, stacks.Course]
    single: Mapping[str, np.ndarray]
    data: str

    def by_rate(self, values: np.ndarray) -> np.ndarray:
        """[rates, seeds, ...] of what leads with the members."""
        return values.reshape(len(self.rates), self.settings.seeds, *values.shape[1:])

    def loss(self, name: str) -> np.ndarray:
        """[rates, seeds], training loss after the last step."""
        return self.by_rate(self.courses[name].train["loss"][:, -1])

    def best(self, name: str) -> int:
        """The rate with the least validation loss at the end, over all seeds."""
        found = self.by_rate(self.courses[name].validation["loss"][:, -1]).mean(axis=1)
        return int(np.argmin(np.where(np.isfinite(found), found, np.inf)))

    def tables(self) -> list[comparison.Table]:
        """A row an optimizer, the best on validation first."""

        def worth(name: str) -> float:
            losses = self.courses[name].validation["loss"][:, -1]
            return float(self.by_rate(losses).mean(axis=1)[self.best(name)])

        order = sorted(self.courses, key=worth)
        parts = [_table(self, order)]
        book = [name for name in BOOK if name in self.courses]
        return [*parts, _book(self, book)] if book else parts

    def to_json(self) -> dict[str, Any]:
        """All numbers."""
        return {
            "rates": self.rates,
            "optimizers": {
                name: {
                    "training_loss": self.loss(name),
                    "validation_accuracy": self.by_rate(
                        course.validation["accuracy"][:, -1]
                    ),
                    "test_accuracy": self.by_rate(course.test),
                    "best_rate": self.rates[self.best(name)],
                    "seconds": course.seconds,
                }
                for name, course in self.courses.items()
            },
        }

    def draw(self, folder: RunFolder) -> dict[str, str]:
        """Draw ``plots/``; file name to caption."""
        value_grid(
            np.stack([self.loss(name).mean(axis=1) for name in self.courses]),
            list(self.courses),
            [f"{rate:g}" for rate in self.rates],
            folder.plots / "rates.png",
            title="training loss at the end",
            x="learning rate",
            y="optimizer",
            form=".2g",
            light=float(np.log(10)),
        )
        names = [name for name in DRAWN if name in self.courses]
        names = names or list(self.courses)[: len(DRAWN)]
        comparison.draw([self._curves(names)], folder.plots / "curves.png")
        return CAPTIONS

    def _curves(self, names: Sequence[str]) -> comparison.Panel:
        labels = {n: f"{n}, {self.rates[self.best(n)]:g}" for n in names}
        losses = {n: self.by_rate(self.courses[n].train["loss"]) for n in names}
        return comparison.Panel(
            title="each at its rate of least validation loss",
            x="step",
            y="training loss",
            at={labels[n]: self.courses[n].at for n in names},
            lines={labels[n]: losses[n][self.best(n)] for n in names},
        )


def _table(sweep: Sweep, order: Sequence[str]) -> comparison.Table:
    rows = []
    for name in order:
        course, best = sweep.courses[name], sweep.best(name)
        accuracy = sweep.by_rate(course.validation["accuracy"][:, -1]).mean(axis=1)
        near = np.sum(accuracy >= accuracy[best] - 0.01)
        rows.append(
            [
                name,
                f"{sweep.rates[best]:g}",
                comparison.spread(sweep.loss(name)[best], ".3g", ".1g"),
                f"{100 * accuracy[best]:.1f}%",
                comparing.percent(sweep.by_rate(course.test)[best]),
                f"{near} of {len(sweep.rates)}",
                f"{course.seconds:.1f}",
            ]
        )
    settings = sweep.settings
    return comparison.Table(
        title="Every optimizer at its best rate",
        about=f"{settings.hidden_layers} hidden layers of {settings.units}, ReLU, "
        f"{settings.steps} steps of {settings.batch_size} examples of {sweep.data}, "
        f"{settings.seeds} seeds; rates by validation loss; all rates of an optimizer "
        "are one program",
        columns=(
            *("optimizer", "best rate", "training loss", "validation", "test"),
            *("rates within 1 point of it", "seconds"),
        ),
        rows=rows,
    )


def _book(sweep: Sweep, names: Sequence[str]) -> comparison.Table:
    rows = []
    for name in names:
        rate, loss = BOOK[name]
        found = ["rate not swept", "-"]
        if rate in sweep.rates:
            at = sweep.rates.index(rate)
            few, many = np.quantile(sweep.by_rate(sweep.single[name])[at], (0.05, 0.95))
            found = [
                comparison.spread(sweep.loss(name)[at], ".3g", ".1g"),
                f"{few:.2g} to {many:.2g}",
            ]
        rows.append([name, f"{rate:g}", *found, f"{loss:.3f}"])
    return comparison.Table(
        title="At the book's rates",
        about="training loss at the end; the book's is of one batch, after 2,000 steps "
        "of 128 MNIST images (--dataset=mnist --steps=2000 takes as many); of single "
        "batches here the middle nine tenths",
        columns=(
            *("optimizer", "rate", f"here, {sweep.data}", "single batches"),
            "the book, MNIST",
        ),
        rows=rows,
    )


def build(settings: Settings) -> tuple[data_room.Dataset, tuple[float, ...], list[str]]:
    """The data, the rates and the optimizers.

    Raises:
      ValueError, OSError: in one line, for a setting that cannot be used.
    """
    for name in ("hidden_layers", "units", "steps", "batch_size", "seeds"):
        if getattr(settings, name) < 1:
            raise ValueError(f"--{name} is {getattr(settings, name)}: give 1 or more.")
    rates = comparing.rates(settings.rates)
    names = comparing.names(settings.optimizers)
    names = list(recipes.OPTIMIZERS) if names == ["all"] else names
    if not names:
        raise ValueError("--optimizers is empty: give some, separated by commas.")
    for name in names:
        recipes.make(name)
    data = comparing.load(settings)
    return data, rates, names


def sweep(
    settings: Settings,
    built: tuple[data_room.Dataset, tuple[float, ...], list[str]],
    say: comparing.Say = print,
) -> Sweep:
    """Train all of them; what became of them."""
    data, rates, names = built
    hidden = (settings.units,) * settings.hidden_layers
    mlp = models.create("mlp", classes=len(data.classes), hidden=hidden)
    length = stacks.Length(settings.steps, settings.batch_size)
    courses, single = {}, {}
    for name in names:
        net = stacks.network(data, mlp, recipes.make(name), {"learning_rate": rates[0]})
        states = stacks.seeds(net, settings.seeds)
        states = stacks.with_numbers(states, [{"learning_rate": r} for r in rates])
        courses[name] = stacks.train_stack(data, net, states, length)
        if name in BOOK:
            ends = courses[name].states
            single[name] = stacks.batch_losses(data, net, ends, settings.batch_size)
        count = len(rates) * settings.seeds
        say(f"{name}: {count} networks as one program, {courses[name].seconds:.1f} s")
    return Sweep(settings, rates, courses, single, data.name)


def main(settings: Settings) -> int:
    """Compare as the settings say; the exit code."""
    return comparing.run(NAME, settings, build, sweep)


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
