"""Compare what each of five tricks does for a GAN, left out of all or alone.

Without flags: scikit-learn's handwritten digits. All networks see the same batches
in the same order, for as many steps; samples after the last one are measured against
the test part, by one classifier.
"""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from experiments import common, comparing, flags, gan
from experiments.flags import option
from jaxdl import data as data_room
from jaxdl import optimizers, train
from jaxdl.objectives.adversarial import GAMES
from jaxdl.runs import comparison, plots, samples
from jaxdl.runs.feature_classifier import FeatureClassifier, train_classifier
from jaxdl.runs.folder import RunFolder

NAME = "gan_tricks"
# Each trick, and the settings without it.
TRICKS: dict[str, dict[str, Any]] = {
    "1 tanh output": {"output": "sigmoid"},
    "2 gaussian latents": {"latent_distribution": "uniform"},
    "3a dropout": {"dropout": 0.0},
    "3b noise on labels": {"label_noise": "0"},
    "4a strided convolution": {"downsampling": "max_pool"},
    "4b leaky ReLU": {"activation": "relu"},
    "5 divisible kernel": {"kernel_size": 3, "checkerboard": True},
}
ALL, NONE = "all tricks", "none"
EFFECTS = ("without", "alone")
FIGURES = ("frechet_distance", "class_coverage", "checkerboard")
COLUMNS = (
    "variant",
    "Frechet distance",
    "classes covered",
    "checkerboard, against real images",
)
SHOWN = 12  # samples of each variant, in the picture


@dataclasses.dataclass(frozen=True)
class Settings(comparing.DataSettings):
    """What ``gan_tricks`` lets one set."""

    image_size: int = option(0, "resize images to this many pixels a side; 0: as is")
    effect: str = option("without", "each trick left out of all (without), or alone")
    steps: int = option(600, "steps of each network")
    batch_size: int = option(64, "real images a step")
    learning_rate: float = option(5e-4, "learning rate of both players")
    ema_decay: float = option(0.99, "moving average of parameters; 0: none")
    loss: str = option("non_saturating", "non_saturating or least_squares")
    channels: int = option(16, "feature maps at full size, doubled at each halving")
    seeds: int = option(3, "networks of each kind, from seeds 0, 1, ...")


def variants(effect: str) -> dict[str, dict[str, Any]]:
    """Name to the settings in which it differs from a network with all tricks."""
    none = {key: value for change in TRICKS.values() for key, value in change.items()}
    if effect == "without":
        each = {f"without {name}": change for name, change in TRICKS.items()}
    else:
        each = {
            f"{name} alone": {k: v for k, v in none.items() if k not in change}
            for name, change in TRICKS.items()
        }
    return {ALL: {}, **each, NONE: none}


def build(
    settings: Settings,
) -> tuple[data_room.Dataset, dict[str, gan.Settings]]:
    """The data, and the settings of each variant.

    Raises:
      ValueError, OSError: in one line, for a setting that cannot be used.
    """
    for name in ("steps", "seeds"):
        if getattr(settings, name) < 1:
            raise ValueError(f"--{name} is {getattr(settings, name)}: give 1 or more.")
    common.choice("effect", settings.effect, EFFECTS)
    optimizers.check_rate(settings.learning_rate, "--learning_rate")
    labelled = [name for name, game in GAMES.items() if game.labelled]
    if settings.loss not in labelled:
        raise ValueError(
            f"--loss is {settings.loss!r}: trick 3b is noise on labels, which "
            f"{' and '.join(labelled)} have; give one of them."
        )
    shared = gan.Settings(
        dataset=settings.dataset,
        data_dir=settings.data_dir,
        image_size=settings.image_size,
        max_steps=settings.steps,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        ema_decay=settings.ema_decay,
        loss=settings.loss,
        channels=settings.channels,
        split_seed=settings.split_seed,
    )
    asked = {
        name: dataclasses.replace(shared, **change)
        for name, change in variants(settings.effect).items()
    }
    return gan.check(shared), asked


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What became of each variant.

    Attributes:
      title, about: what all of them share.
      figures: variant to figure to values by seed.
      start: the Frechet distance before the first step, with all tricks, by seed.
      shown: variant to samples of seed 0 in [0, 1].
    """

    title: str
    about: str
    figures: Mapping[str, Mapping[str, np.ndarray]]
    start: np.ndarray
    shown: Mapping[str, np.ndarray]

    def tables(self) -> list[comparison.Table]:
        """A row a variant."""
        rows = [
            [
                name,
                comparison.spread(found["frechet_distance"], ".1f", ".1f"),
                comparison.spread(100 * found["class_coverage"], ".0f", ".0f", "%"),
                comparison.spread(found["checkerboard"], ".2f", ".2f"),
            ]
            for name, found in self.figures.items()
        ]
        return [comparison.Table(self.title, self.about, COLUMNS, rows)]

    def to_json(self) -> dict[str, Any]:
        """All numbers, by seed."""
        return {"about": self.about, "start": self.start, "variants": self.figures}

    def draw(self, folder: RunFolder) -> dict[str, str]:
        """Draw ``plots/samples.png``, a row a variant."""
        images = np.concatenate(list(self.shown.values()))
        plots.montage(images, folder.plots / "samples.png", columns=SHOWN)
        rows = ", ".join(self.shown)
        return {
            "samples.png": f"Samples from the same noise, of seed 0, a row: {rows}."
        }


def compare(
    settings: Settings,
    built: tuple[data_room.Dataset, Mapping[str, gan.Settings]],
    say: comparing.Say = print,
) -> Comparison:
    """Train all variants, one after another; what became of them."""
    (data, asked), seeds = built, settings.seeds
    first = asked[ALL]
    classifier = train_classifier(data, first.split_seed)
    say(
        f"measured by a classifier that names {classifier.accuracy:.2%} of validation "
        "images right"
    )
    figures, shown, start = {}, {}, np.zeros(0)
    for name, variant in asked.items():
        began = time.perf_counter()
        figures[name], before, shown[name] = _trained(variant, data, classifier, seeds)
        start = before if name == ALL else start
        distances = ", ".join(f"{d:.1f}" for d in figures[name]["frechet_distance"])
        seconds = time.perf_counter() - began
        say(f"{name}: Frechet distance {distances}; {seconds:.0f} s")
    about = (
        f"DCGAN, {first.loss}, Adam at {first.learning_rate:g}, {first.max_steps} "
        f"steps of {first.batch_size} images, {_seeds(seeds)}; as many samples as the "
        f"test part has images ({data.test.size:,}); before the first step the "
        f"distance is {start.mean():.0f}"
    )
    return Comparison(f"Tricks of a GAN on {data.name}", about, figures, start, shown)


def _seeds(count: int) -> str:
    return f"mean and deviation over {count} seeds" if count > 1 else "seed 0"


def _trained(
    settings: gan.Settings,
    data: data_room.Dataset,
    classifier: FeatureClassifier,
    seeds: int,
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """A network of each seed: figures after the last step, the distance before the
    first, both by seed, and samples of the first network."""
    gallery = gan.gallery(settings, data, classifier)
    task, plan = gan.assemble(settings, data, gallery)
    evaluation, create = jax.jit(task.evaluation), jax.jit(task.create)
    batches = data_room.evaluation_feed(
        data.test, min(plan.evaluation_batch, data.test.size)
    )
    rows, before, shown = [], [], []
    for seed in range(seeds):
        state = create(seed)
        start = train.evaluate(evaluation, state, batches)
        before.append(start["frechet_distance"])
        with data_room.feed(data.train, plan.batch_size, seed=0) as feed:
            state = train.fit(state, task.step, feed, steps=plan.steps).state
        measured = train.evaluate(evaluation, state, batches)
        found = task.findings(state, None, data.test)
        rows.append({**measured, **found.metrics})
        shown.append(samples.pixels(gallery, samples.samples(gallery, state, SHOWN)))
    figures = {name: np.array([row[name] for row in rows]) for name in FIGURES}
    return figures, np.array(before), shown[0]


def main(settings: Settings) -> int:
    """Compare as the settings say; the exit code."""
    return comparing.run(NAME, settings, build, compare)


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
