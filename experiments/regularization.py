"""Overfit a deep network on 300 examples, and see what keeps it from that.

Without flags: six layers of 100 ReLU units on 300 handwritten digits, without help,
with L2, dropout, both, batch norm, shifted images; each also with its best check kept
(early stopping). Then 16 scales of initial weights, with and without batch norm.
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
from jaxdl import models, objectives
from jaxdl import optimizers as recipes
from jaxdl.runs import comparison
from jaxdl.runs.folder import RunFolder

NAME = "regularization"

# The book's (Deep Learning from Scratch, chapter 6) on 300 MNIST images: training and
# test accuracy after 200 (dropout: 300) epochs of SGD at 0.01.
BOOK = {"none": "100% / 75%", "L2": "92.7% / 72.1%", "dropout": "67.0% / 54.8%"}
SCALES = np.logspace(0, -4, 16)
CAPTIONS = {
    "regularization.png": "Validation loss over the steps: the mean over the seeds, "
    "between least and most.",
    "batch_norm.png": "Training loss at the end, by the standard deviation of initial "
    "weights, with and without batch norm.",
}


@dataclasses.dataclass(frozen=True)
class Settings(comparing.DataSettings):
    """What ``regularization`` lets one set."""

    examples: int = option(300, "training examples")
    hidden_layers: int = option(6, "hidden layers of the ReLU network")
    units: int = option(100, "units of each hidden layer")
    epochs: int = option(200, "passes over the examples")
    batch_size: int = option(100, "examples a step")
    learning_rate: float = option(0.01, "of plain SGD")
    l2: float = option(0.1, "penalty, where there is one")
    dropout: float = option(0.2, "rate, where there is dropout")
    shift: int = option(1, "pixels that images are shifted by, where they are")
    scale_epochs: int = option(20, "passes at each scale of initial weights; 0: none")
    seeds: int = option(3, "initial values 0, 1, ... of each")


@dataclasses.dataclass(frozen=True)
class Found:
    """The courses of all variants, each of as many seeds; and by scale, with batch norm
    (True) and without."""

    settings: Settings
    data: str
    variants: Mapping[str, stacks.Course]
    scales: Mapping[bool, stacks.Course]

    def tables(self) -> list[comparison.Table]:
        """A row a variant; a row a scale."""
        parts = [_variants(self)]
        return [*parts, _scales(self)] if self.scales else parts

    def to_json(self) -> dict[str, Any]:
        """All numbers."""
        norms = {True: "batch_norm", False: "plain"}
        return {
            "variants": {name: c.to_json() for name, c in self.variants.items()},
            "deviations": SCALES,
            "scales": {norms[norm]: c.to_json() for norm, c in self.scales.items()},
        }

    def draw(self, folder: RunFolder) -> dict[str, str]:
        """Draw ``plots/``; file name to caption."""
        panels = [
            comparison.Panel(
                title=f"{self.settings.examples} examples",
                x="step",
                y=f"{part} loss",
                at={name: course.at for name, course in self.variants.items()},
                lines={
                    name: getattr(course, attribute)["loss"]
                    for name, course in self.variants.items()
                },
            )
            for part, attribute in (("training", "train"), ("validation", "validation"))
        ]
        comparison.draw(panels, folder.plots / "regularization.png")
        if not self.scales:
            return {"regularization.png": CAPTIONS["regularization.png"]}
        labels = {True: "batch norm", False: "plain"}
        panel = comparison.Panel(
            title="initial weights and batch norm",
            x="standard deviation of initial weights",
            y="training loss at the end",
            at=dict.fromkeys(labels.values(), SCALES),
            lines={
                label: self.scales[norm].train["loss"][:, -1][None]
                for norm, label in labels.items()
            },
            log_x=True,
        )
        comparison.draw([panel], folder.plots / "batch_norm.png")
        return CAPTIONS


def _variants(found: Found) -> comparison.Table:
    settings, rows = found.settings, []
    for name, course in found.variants.items():
        train, test = course.train["accuracy"][:, -1], course.test
        rows.append(
            [
                name,
                comparing.percent(train),
                comparing.percent(test),
                comparing.percent(train - test),
                comparison.spread(course.validation["loss"][:, -1], ".3g", ".1g"),
                comparing.percent(course.test_at_best),
                BOOK.get(name, "-"),
            ]
        )
    return comparison.Table(
        title=f"{settings.examples} examples, {settings.hidden_layers} hidden layers "
        f"of {settings.units}",
        about=f"{found.data}, ReLU, SGD at {settings.learning_rate:g}, "
        f"{settings.epochs} epochs of batches of {settings.batch_size}, L2 "
        f"{settings.l2:g}, dropout {settings.dropout:g}, {settings.seeds} seeds; early "
        "stopping keeps the check with the least validation loss",
        columns=(
            *("variant", "training", "test", "gap", "validation loss"),
            *("test, early stopping", "the book on MNIST, training / test"),
        ),
        rows=rows,
    )


def _scales(found: Found) -> comparison.Table:
    def accuracy(norm: bool, i: int) -> str:
        course = found.scales[norm]
        loss = course.train["loss"][i, -1]
        if not np.isfinite(loss):
            return "not finite"
        return f"{100 * course.train['accuracy'][i, -1]:.1f}%"

    return comparison.Table(
        title=f"{len(SCALES)} scales of initial weights",
        about=f"training accuracy after {found.settings.scale_epochs} epochs, else as "
        "above without help; seed 0; the book finds that batch norm learns faster at "
        "nearly every scale, and at many of them is the only one that learns",
        columns=("standard deviation", "plain", "batch norm"),
        rows=[
            [f"{scale:.2g}", accuracy(False, i), accuracy(True, i)]
            for i, scale in enumerate(SCALES)
        ],
    )


def build(settings: Settings) -> data_room.Dataset:
    """The data, its training part cut to the examples.

    Raises:
      ValueError, OSError: in one line, for a setting that cannot be used.
    """
    least = {"scale_epochs": 0, "shift": 0}
    for name in (
        *("examples", "hidden_layers", "units", "epochs", "batch_size", "seeds"),
        *least,
    ):
        if getattr(settings, name) < least.get(name, 1):
            raise ValueError(
                f"--{name} is {getattr(settings, name)}: give "
                f"{least.get(name, 1)} or more."
            )
    recipes.check_rate(settings.learning_rate, "--learning_rate")
    if not 0 <= settings.dropout < 1 or not settings.l2 >= 0:
        raise ValueError("give --dropout in [0, 1), and --l2 of 0 or more.")
    data = comparing.load(settings)
    if settings.examples > data.train.size:
        raise ValueError(
            f"--examples is {settings.examples}, but there are only "
            f"{data.train.size} training examples: give that many or fewer."
        )
    if settings.batch_size > settings.examples:
        raise ValueError(
            f"--batch_size is {settings.batch_size}, more than --examples="
            f"{settings.examples}: give that many or fewer."
        )
    few = data_room.subset(data.train, np.arange(settings.examples))
    return dataclasses.replace(data, train=few)


def _network(
    settings: Settings, data: data_room.Dataset, batch_norm: bool = False, **more: Any
) -> Any:
    hidden = (settings.units,) * settings.hidden_layers
    mlp = models.create(
        "mlp", classes=len(data.classes), hidden=hidden, batch_norm=batch_norm
    )
    numbers = {"learning_rate": settings.learning_rate, "dropout": 0.0, "l2": 0.0}
    return stacks.network(
        data, mlp, recipes.make("sgd"), numbers, penalty=_penalty, **more
    )


def _penalty(params: Any, numbers: Any) -> Any:
    return objectives.losses.l2(params, numbers["l2"])


def _length(settings: Settings, epochs: int) -> stacks.Length:
    steps = max(1, epochs * settings.examples // settings.batch_size)
    return stacks.Length(steps, settings.batch_size, checks=20)


def compare(
    settings: Settings, data: data_room.Dataset, say: comparing.Say = print
) -> Found:
    """Train all of them; what became of them."""
    numbers = {
        "none": {"l2": 0.0, "dropout": 0.0},
        "L2": {"l2": settings.l2, "dropout": 0.0},
        "dropout": {"l2": 0.0, "dropout": settings.dropout},
        "L2 and dropout": {"l2": settings.l2, "dropout": settings.dropout},
    }
    length = _length(settings, settings.epochs)
    net = _network(settings, data)
    variants = stacks.train_variants(data, net, numbers, settings.seeds, length)
    say(f"{', '.join(numbers)}: one program, {variants['none'].seconds:.1f} s")
    more: dict[str, dict[str, Any]] = {"batch norm": {"batch_norm": True}}
    if settings.shift:
        shifted = data_room.parse_augmentation(f"shift={settings.shift}")
        more["shifted images"] = {"augmentation": shifted}
    for name, options in more.items():
        net = _network(settings, data, **options)
        states = stacks.seeds(net, settings.seeds)
        variants[name] = stacks.train_stack(data, net, states, length)
        say(f"{name}: {variants[name].seconds:.1f} s")
    scales = _by_scale(settings, data, say) if settings.scale_epochs else {}
    return Found(settings, data.name, variants, scales)


def _by_scale(
    settings: Settings, data: data_room.Dataset, say: comparing.Say
) -> dict[bool, stacks.Course]:
    """Courses of all scales as one program, without and with batch norm."""
    found = {}
    for norm in (False, True):
        net = _network(settings, data, batch_norm=norm)
        states = jax.jit(jax.vmap(partial(_scaled, net)))(jnp.asarray(SCALES))
        length = _length(settings, settings.scale_epochs)
        found[norm] = stacks.train_stack(data, net, states, length)
        kind = "with" if norm else "without"
        say(f"{len(SCALES)} scales {kind} batch norm: {found[norm].seconds:.1f} s")
    return found


def _scaled(net: Any, scale: Any) -> Any:
    """The state of seed 0, its weights brought to a standard deviation."""
    state = net.create(0)

    def bring(leaf: jax.Array) -> jax.Array:
        return leaf * scale / jnp.std(leaf) if leaf.ndim > 1 else leaf

    return state.replace(params=jax.tree.map(bring, state.params))


def main(settings: Settings) -> int:
    """Compare as the settings say; the exit code."""
    return comparing.run(NAME, settings, build, compare)


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
