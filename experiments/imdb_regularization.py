"""Keep a classifier of texts from overfitting: a smaller one, L2, L1, dropout.

After Chollet, Deep Learning with Python, section 4.4. Without flags: docstrings of the
Python standard library, which words occur in them, two dense layers of 16 units; the
same with 4 and with 512 units, with penalties and with dropout. So few texts of ten
classes overfit 512 units at once, 4 units and dropout not in 20 epochs. The book's own
setting: --dataset=imdb_reviews --data_dir=DIR.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments import common, comparing, flags, stacks
from experiments import text_classification as texts
from experiments.flags import option
from jaxdl import models, objectives
from jaxdl import optimizers as recipes
from jaxdl.data import text, text_sets
from jaxdl.data.dataset import Dataset
from jaxdl.runs import comparison
from jaxdl.runs.families import Network
from jaxdl.runs.folder import RunFolder

NAME = "imdb_regularization"
ORIGINAL, SMALLER, LARGER = "original", "smaller", "larger"
L2, L1, DROPOUT = "L2", "L1", "dropout"
# Which variants a picture's panels compare; the original is in both.
PANELS = {
    "capacity": (ORIGINAL, SMALLER, LARGER),
    "penalties and dropout": (ORIGINAL, L2, L1, DROPOUT),
}
# The book's validation accuracy on IMDB, one seed: of its best epoch, and of epoch 20.
BOOK = {
    ORIGINAL: "89.05% / 84.9%",
    SMALLER: "88.99% / 86.2%",
    LARGER: "89.01% / 86.8%",
    L2: "88.98% / 87.0%",
    DROPOUT: "89.17% / 87.4%",
}
# Examples of a step and steps of an epoch in the book: 15,000 reviews by 512.
BATCH, STEPS = 512, 30
CAPTIONS = {
    "validation.png": "Validation loss by epoch: the mean over the seeds, between "
    "least and most. Where it turns up, a network begins to overfit.",
    "training.png": "Training loss by epoch, without penalty or dropout, of as many "
    "training texts as a check looks at.",
}


@dataclasses.dataclass(frozen=True)
class Settings(comparing.DataSettings):
    """What ``imdb_regularization`` lets one set."""

    dataset: str = option(
        text_sets.DOCSTRINGS, f"{', '.join(text_sets.NAMES)}, another TFDS name"
    )
    text: str = option("", "column of a CSV file that holds the texts; empty: text")
    label: str = option("", "column that holds the labels; empty: label")
    vocabulary: int = option(10_000, "tokens, padding and unknown words among them")
    length: int = option(2_500, "words of a text; longer ones (none of IMDB) are cut")
    hidden: str = option("16,16", "units of the hidden layers")
    smaller: str = option("4,4", "those of the smaller network")
    larger: str = option("512,512", "those of the larger network")
    l2: float = option(0.001, "L2: times the sum of squared weights, as in Keras")
    l1: float = option(0.0001, "L1: times the sum of absolute weights")
    dropout: float = option(0.5, "rate, where there is dropout")
    epochs: int = option(20, "passes over the training part")
    batch_size: int = option(
        0, f"examples a step; 0: {BATCH}, or less for {STEPS} steps an epoch"
    )
    learning_rate: float = option(0.001, "of RMSprop")
    validation_fraction: float = option(0.4, "share for validation; 0: by size")
    seeds: int = option(3, "initial values 0, 1, ... of each")


@dataclasses.dataclass(frozen=True)
class Found:
    """The courses of all variants, each of as many seeds.

    Attributes:
      settings: what was asked for.
      about: the data and how all were trained, in words.
      steps: of an epoch.
      variants: by the names above.
    """

    settings: Settings
    about: str
    steps: int
    variants: Mapping[str, stacks.Course]

    def tables(self) -> list[comparison.Table]:
        """A row a variant."""
        names = labels(self.settings)
        columns = (
            *("variant", "best validation", "at epoch"),
            *(f"validation, epoch {self.settings.epochs}", "training - validation"),
            *("test at the best", "the book on IMDB, best / epoch 20"),
        )
        rows = [
            _row(names[name], BOOK.get(name, "-"), course, self.steps)
            for name, course in self.variants.items()
        ]
        return [comparison.Table("Regularization", self.about, columns, rows)]

    def to_json(self) -> dict[str, Any]:
        """All numbers."""
        variants = {name: course.to_json() for name, course in self.variants.items()}
        return {"steps_an_epoch": self.steps, "variants": variants}

    def draw(self, folder: RunFolder) -> dict[str, str]:
        """Draw ``plots/``; file name to caption."""
        names = labels(self.settings)
        for part in ("validation", "training"):
            losses = {
                name: (c.validation if part == "validation" else c.train)["loss"]
                for name, c in self.variants.items()
            }
            panels = [
                comparison.Panel(
                    title=title,
                    x="epoch",
                    y=f"{part} loss",
                    at={names[n]: self.variants[n].at / self.steps for n in shown},
                    lines={names[n]: losses[n] for n in shown},
                )
                for title, shown in PANELS.items()
            ]
            comparison.draw(panels, folder.plots / f"{part}.png")
        return CAPTIONS


def labels(settings: Settings) -> dict[str, str]:
    """What each variant is called in tables and pictures."""

    def units(sizes: str) -> str:
        return "-".join(map(str, common.sizes("hidden", sizes)))

    return {
        ORIGINAL: f"original {units(settings.hidden)}",
        SMALLER: f"smaller {units(settings.smaller)}",
        LARGER: f"larger {units(settings.larger)}",
        L2: f"L2 {settings.l2:g}",
        L1: f"L1 {settings.l1:g}",
        DROPOUT: f"dropout {settings.dropout:g}",
    }


def _row(label: str, book: str, course: stacks.Course, steps: int) -> list[str]:
    train, validation = course.train["accuracy"], course.validation["accuracy"]
    epochs = course.at[np.argmax(validation, axis=1)] / steps
    return [
        label,
        comparing.percent(np.max(validation, axis=1), 2),
        comparison.spread(epochs, ".3g", ".1f"),
        comparing.percent(validation[:, -1], 2),
        comparing.percent(train[:, -1] - validation[:, -1], 2),
        comparing.percent(course.test_at_best, 2),
        book,
    ]


def build(settings: Settings) -> Dataset:
    """The texts as tokens.

    Raises:
      ValueError, OSError: in one line, for a setting that cannot be used.
    """
    for name in ("epochs", "seeds"):
        if getattr(settings, name) < 1:
            raise ValueError(f"--{name} is {getattr(settings, name)}: give 1 or more.")
    if not (settings.l1 >= 0 and math.isfinite(settings.l1)):
        raise ValueError(f"--l1 is {settings.l1}: give 0 or more.")
    for name in ("hidden", "smaller", "larger"):
        common.sizes(name, getattr(settings, name))
    asked = _asked(settings, settings.hidden)
    common.check(asked)
    data = texts.load(asked)
    common.plan(asked, data.train.size)
    return data


def _asked(settings: Settings, hidden: str) -> texts.Settings:
    """The same of ``text_classification``, whose data and model these are."""
    fields = {field.name for field in dataclasses.fields(texts.Settings)}
    same = {k: v for k, v in dataclasses.asdict(settings).items() if k in fields}
    same["batch_size"] = settings.batch_size or 1  # 0: by the data, once they are known
    return texts.Settings(**{**same, "model": "bag_of_words", "hidden": hidden})


def _network(
    settings: Settings, data: Dataset, hidden: str, numbers: Mapping[str, float]
) -> Network:
    """A network of those hidden layers.

    Args:
      settings: what was asked for.
      data: the texts.
      hidden: units of the hidden layers.
      numbers: names of what its members differ in; none: no penalty, no dropout.
    """
    kind = text.kind_of(data)
    arguments = texts.model_arguments(_asked(settings, hidden), data, kind)
    module = models.create("bag_of_words", **arguments)
    return stacks.network(
        data,
        module,
        recipes.make("rmsprop"),
        {"learning_rate": settings.learning_rate, **numbers},
        objective=texts.objective_of(module, kind),
        penalty=penalty if numbers else None,
    )


def penalty(params: Any, numbers: Any) -> Any:
    """l1 sum |W| + l2 sum W^2 over all weights, biases spared.

    As Keras has it: ``losses.l2`` is half of that. (The book spares the output layer:
    16 of 160,272 weights.)
    """
    losses = objectives.losses
    return losses.l1(params, numbers["l1"]) + losses.l2(params, 2 * numbers["l2"])


def length_of(settings: Settings, examples: int) -> tuple[int, stacks.Length]:
    """Steps of an epoch, and how all of them train: a check an epoch.

    As many steps as the book takes; its last batch of an epoch is a smaller one, here
    the next pass begins in it.
    """
    batch = settings.batch_size
    if not batch:
        # The most that takes STEPS steps to see all of them.
        batch = min(BATCH, max(1, (examples - 1) // (STEPS - 1)))
    steps = -(-examples // batch)
    epochs = settings.epochs
    return steps, stacks.Length(steps * epochs, batch, epochs, "accuracy")


def in_numbers(settings: Settings) -> dict[str, dict[str, float]]:
    """The variants that differ from the original in numbers alone, and itself."""
    none = {"l2": 0.0, "l1": 0.0, "dropout": 0.0}
    return {
        ORIGINAL: none,
        L2: {**none, "l2": settings.l2},
        L1: {**none, "l1": settings.l1},
        DROPOUT: {**none, "dropout": settings.dropout},
    }


def train(
    settings: Settings,
    data: Dataset,
    hidden: str,
    variants: Mapping[str, Mapping[str, float]],
) -> dict[str, stacks.Course]:
    """Courses of variants of those hidden layers, which differ in numbers alone."""
    net = _network(settings, data, hidden, next(iter(variants.values())))
    _, length = length_of(settings, data.train.size)
    return stacks.train_variants(data, net, variants, settings.seeds, length)


def compare(settings: Settings, data: Dataset, say: comparing.Say = print) -> Found:
    """Train all of them; what became of them."""
    found: dict[str, stacks.Course] = {}
    for hidden, variants in (
        (settings.hidden, in_numbers(settings)),
        (settings.smaller, {SMALLER: {}}),
        (settings.larger, {LARGER: {}}),
    ):
        found |= train(settings, data, hidden, variants)
        seconds = found[next(iter(variants))].seconds
        say(f"{', '.join(variants)}: one program, {seconds:.1f} s")
    steps, length = length_of(settings, data.train.size)
    about = (
        f"{data.train.size:,} texts of {data.name}, {data.validation.size:,} for "
        f"validation, {data.preprocess.size:,} tokens, RMSprop at "
        f"{settings.learning_rate:g}, {settings.epochs} epochs of {steps} batches of "
        f"{length.batch_size}, {settings.seeds} seeds; accuracy; of each seed the best "
        f"of its {settings.epochs} checks"
    )
    in_order = {name: found[name] for name in labels(settings)}
    return Found(settings, about, steps, in_order)


def main(settings: Settings) -> int:
    """Compare as the settings say; the exit code."""
    return comparing.run(NAME, settings, build, compare)


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
