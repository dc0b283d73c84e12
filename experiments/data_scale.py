"""Classical models against an MLP and a CNN, as the training data grow.

Without flags: handwritten digits, 25 to 800 of them, each size drawn five times. What
the draws agree and differ in tells bias from variance. One of the classical models
sees features made by hand: directions of edges.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import comparing, flags, stacks
from experiments.flags import option
from jaxdl import analysis, models
from jaxdl import data as data_room
from jaxdl import optimizers as recipes
from jaxdl.runs import comparison
from jaxdl.runs.families import Network
from jaxdl.runs.folder import RunFolder

NAME = "data_scale"
NETWORKS = ("mlp", "cnn")
HAND = "oriented gradients, linear"
CLASSICAL = (
    *("logistic regression", HAND, "PCA, nearest neighbours", "SVM", "random forest"),
)
CAPTIONS = {
    "errors.png": "Test error by training examples: the mean over the draws, between "
    "least and most.",
    "bias_variance.png": "Bias (the draws' majority vote is wrong) and variance (a "
    "draw differs from the vote), of the first and the last two models of the table.",
}


@dataclasses.dataclass(frozen=True)
class Settings(comparing.DataSettings):
    """What ``data_scale`` lets one set."""

    sizes: str = option("25,50,100,200,400,800", "training examples, by commas")
    draws: int = option(5, "training sets of each size")
    steps: int = option(300, "steps of each network")
    batch_size: int = option(25, "examples a step")
    learning_rate: float = option(2e-3, "of Adam")
    split_seed: int = option(0, "seed of the splits, and of what is drawn")


def bias_and_variance(
    predictions: np.ndarray, targets: np.ndarray
) -> tuple[float, float]:
    """Bias and variance of 0/1 loss (Domingos 2000).

    Args:
      predictions: [draws, examples], classes.
      targets: [examples].

    Returns:
      The share of examples that the draws' most frequent class gets wrong, and how
      often a draw differs from it.
    """
    votes = np.stack(
        [np.sum(predictions == c, axis=0) for c in range(predictions.max() + 1)]
    )
    main = np.argmax(votes, axis=0)
    return float(np.mean(main != targets)), float(np.mean(predictions != main))


@dataclasses.dataclass(frozen=True)
class Found:
    """Predictions [sizes, draws, test examples] by model, and what they should be."""

    settings: Settings
    data: str
    sizes: tuple[int, ...]
    targets: np.ndarray
    predictions: Mapping[str, np.ndarray]
    seconds: Mapping[str, float]

    def errors(self, name: str) -> np.ndarray:
        """[sizes, draws], share of test examples that are wrong."""
        return np.mean(self.predictions[name] != self.targets, axis=-1)

    def split(self, name: str) -> np.ndarray:
        """[sizes, 2], bias and variance."""
        parts = self.predictions[name]
        return np.array([bias_and_variance(part, self.targets) for part in parts])

    def tables(self) -> list[comparison.Table]:
        """Errors by size; with several draws, what they agree and differ in."""
        sizes = [f"{size:,}" for size in self.sizes]
        rows = [
            [
                name,
                *(comparing.percent(part) for part in self.errors(name)),
                f"{self.seconds[name]:.1f}",
            ]
            for name in self.predictions
        ]
        settings = self.settings
        errors = comparison.Table(
            title="Test error by training examples",
            about=f"{self.data}, {settings.draws} training sets of each size, "
            f"mean and deviation; networks: {settings.steps} steps of "
            f"{settings.batch_size} examples, Adam at {settings.learning_rate:g}, last "
            "state; nothing was chosen by these figures",
            columns=("model", *sizes, "seconds"),
            rows=rows,
        )
        several = [self._bias_table(sizes)] if settings.draws > 1 else []
        return [errors, *several]

    def _bias_table(self, sizes: Sequence[str]) -> comparison.Table:
        return comparison.Table(
            title="Bias + variance by training examples",
            about="bias: the majority vote of the draws is wrong; variance: a draw "
            "differs from the vote (Domingos 2000); much bias asks for a larger model "
            "or longer training, much variance for more data or regularization",
            columns=("model", *sizes),
            rows=[
                [
                    name,
                    *(f"{b:.1f} + {v:.1f}%" for b, v in 100 * self.split(name)),
                ]
                for name in self.predictions
            ],
        )

    def to_json(self) -> dict[str, Any]:
        """All figures."""
        return {
            "sizes": self.sizes,
            "models": {
                name: {
                    "test_error": self.errors(name),
                    "bias_and_variance": self.split(name),
                    "seconds": self.seconds[name],
                }
                for name in self.predictions
            },
        }

    def draw(self, folder: RunFolder) -> dict[str, str]:
        """Draw ``plots/``; file name to caption."""
        sizes = np.array(self.sizes)
        names = list(self.predictions)
        axis = "training examples"
        errors = comparison.Panel(
            title=self.data,
            x=axis,
            y="test error",
            at=dict.fromkeys(names, sizes),
            lines={name: self.errors(name).T for name in names},
            log_x=True,
        )
        comparison.draw([errors], folder.plots / "errors.png")
        if self.settings.draws == 1:
            return {"errors.png": CAPTIONS["errors.png"]}
        some = list(dict.fromkeys([names[0], *names[-2:]]))
        parts = {
            f"{name}, {part}": self.split(name)[:, i][None]
            for name in some
            for i, part in enumerate(("bias", "variance"))
        }
        panel = comparison.Panel(
            title="bias and variance",
            x=axis,
            y="share of test examples",
            at=dict.fromkeys(parts, sizes),
            lines=parts,
            log_x=True,
        )
        comparison.draw([panel], folder.plots / "bias_variance.png")
        return CAPTIONS


def build(settings: Settings) -> tuple[data_room.Dataset, tuple[int, ...]]:
    """The data and the sizes.

    Raises:
      ValueError, OSError: in one line, for a setting that cannot be used.
    """
    for name in ("draws", "steps", "batch_size"):
        if getattr(settings, name) < 1:
            raise ValueError(f"--{name} is {getattr(settings, name)}: give 1 or more.")
    recipes.check_rate(settings.learning_rate, "--learning_rate")
    data = comparing.load(settings)
    sizes = []
    for text in comparing.names(settings.sizes):
        size = int(text) if text.isdecimal() else 0
        if not settings.batch_size <= size <= data.train.size:
            raise ValueError(
                f"--sizes has {text!r}: give numbers from --batch_size="
                f"{settings.batch_size} to {data.train.size}."
            )
        sizes.append(size)
    if not sizes:
        raise ValueError("--sizes is empty: give some, separated by commas.")
    return data, tuple(sorted(sizes))


def _drawn(settings: Settings, data: data_room.Dataset, size: int) -> list[Any]:
    """Training sets of a size."""
    return [
        data_room.subset(
            data.train,
            np.random.default_rng([settings.split_seed, size, draw]).permutation(
                data.train.size
            )[:size],
        )
        for draw in range(settings.draws)
    ]


def _classical() -> dict[str, Any]:
    """Scikit-learn's models, at its own settings but for the nearest neighbours (three,
    among components that explain 95%); one sees features made by hand, not pixels."""
    from sklearn.decomposition import PCA
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVC

    made = (
        LogisticRegression(max_iter=2000),
        LogisticRegression(max_iter=2000),
        make_pipeline(PCA(0.95, svd_solver="full"), KNeighborsClassifier(3)),
        SVC(),
        RandomForestClassifier(random_state=0),
    )
    return dict(zip(CLASSICAL, made, strict=True))


class Features(NamedTuple):
    """What classical models see of a source.

    Attributes:
      pixels: [examples, pixels], prepared.
      by_hand: [examples, features], histograms of oriented gradients.
      targets: [examples], classes.
    """

    pixels: np.ndarray
    by_hand: np.ndarray
    targets: np.ndarray

    def of(self, name: str) -> np.ndarray:
        """The features that the model of that name sees."""
        return self.by_hand if name == HAND else self.pixels


def _features(data: data_room.Dataset, source: Any) -> Features:
    examples = source.fetch(np.arange(source.size))
    inputs = data.preprocess.apply(examples["inputs"])
    # Four cells a side, or cells of seven pixels: about the width of two strokes.
    cell = max(1, min(7, min(data.input_shape[:2]) // 4))
    by_hand = jax.jit(partial(analysis.oriented_gradients, cell=cell))(inputs)
    pixels = np.asarray(inputs).reshape(source.size, -1)
    return Features(pixels, np.asarray(by_hand), np.asarray(examples["targets"]))


def _network(settings: Settings, data: data_room.Dataset, name: str) -> Network:
    small: dict[str, dict[str, Any]] = {
        "mlp": {"hidden": (100, 100)},
        "cnn": {"blocks": (((16, 3, 1),), ((32, 3, 1),)), "batch_norm": False},
    }
    module = models.create(name, classes=len(data.classes), **small[name])
    numbers = {"learning_rate": settings.learning_rate}
    return stacks.network(data, module, recipes.make("adam"), numbers)


def compare(
    settings: Settings,
    built: tuple[data_room.Dataset, tuple[int, ...]],
    say: comparing.Say = print,
) -> Found:
    """Train all of them at every size; what they make of the test part."""
    data, sizes = built
    test = _features(data, data.test)
    images = data.test.fetch(np.arange(data.test.size))["inputs"]
    found: dict[str, list[np.ndarray]] = {name: [] for name in (*CLASSICAL, *NETWORKS)}
    seconds = dict.fromkeys(found, 0.0)
    networks = {name: _network(settings, data, name) for name in NETWORKS}
    for size in sizes:
        sources = _drawn(settings, data, size)
        parts = [_features(data, source) for source in sources]
        for name, model in _classical().items():
            began = time.perf_counter()
            rows = [
                model.fit(part.of(name), part.targets).predict(test.of(name))
                for part in parts
            ]
            found[name].append(np.stack(rows))
            seconds[name] += time.perf_counter() - began
        for name, net in networks.items():
            length = stacks.Length(settings.steps, settings.batch_size, checks=1)
            states = stacks.seeds(net, settings.draws)
            course = stacks.train_stack(data, net, states, length, sources)
            found[name].append(stacks.predictions(data, net, course.states, images))
            seconds[name] += course.seconds
        say(f"{size} examples: {sum(seconds.values()):.0f} s so far")
    predictions = {name: np.stack(rows) for name, rows in found.items()}
    return Found(settings, data.name, sizes, test.targets, predictions, seconds)


def main(settings: Settings) -> int:
    """Compare as the settings say; the exit code."""
    return comparing.run(NAME, settings, build, compare)


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
