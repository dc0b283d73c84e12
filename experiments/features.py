"""What is in the pixels: principal components, clusters, the best single pixels.

Without flags: handwritten digits. How many components hold most of the variance, how
well k-means finds the classes without labels, and what nearest neighbours make of few
components or of few pixels. MNIST: --dataset=mnist --data_dir=DIR.
"""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import comparing, flags
from experiments.flags import option
from jaxdl import analysis
from jaxdl import data as data_room
from jaxdl.runs import comparison, plots
from jaxdl.runs.folder import RunFolder

NAME = "features"
SHARES = (0.9, 0.95)
# Components for these shares of MNIST's variance, as is well known.
BOOK = {0.9: 87, 0.95: 154}
COMPONENTS, BY_F = "principal components", "pixels of largest F"
NEIGHBOURS = 3
SHOWN = 20  # components that are drawn
CAPTIONS = {
    "variance.png": "Variance that the first components leave unexplained, and the "
    "test error of nearest neighbours that see as many numbers of each image.",
    "components.png": "The mean image and the first components, each stretched: what "
    "images differ in most.",
    "centres.png": "The centres of k-means, and the commonest class of each.",
}


@dataclasses.dataclass(frozen=True)
class Settings(comparing.DataSettings):
    """What ``features`` lets one set."""

    clusters: int = option(0, "of k-means; 0: as many as there are classes")
    restarts: int = option(10, "runs of k-means, of which the best is kept")
    examples: int = option(10_000, "most examples that clusters and neighbours see")
    seed: int = option(0, "of the starts of k-means")


@dataclasses.dataclass(frozen=True)
class Part:
    """Images in [0, 1] and their classes.

    Attributes:
      pixels: [examples, pixels].
      classes: [examples].
    """

    pixels: np.ndarray
    classes: np.ndarray

    def first(self, count: int) -> "Part":
        """At most so many of them."""
        return Part(self.pixels[:count], self.classes[:count])


@dataclasses.dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
      settings, data: of what.
      pca: of training and validation part together.
      train: what clusters and neighbours saw.
      clusters: of ``train``.
      agreement: of clusters with classes, by what the clusters are of.
      counts: [places], of numbers kept of each image.
      errors: name to [places], test error of nearest neighbours.
    """

    settings: Settings
    data: data_room.Dataset
    pca: analysis.PCA
    train: Part
    clusters: analysis.Clusters
    agreement: Mapping[str, analysis.Agreement]
    counts: np.ndarray
    errors: Mapping[str, np.ndarray]

    def tables(self) -> list[comparison.Table]:
        """Components, clusters, neighbours."""
        needed = {
            share: analysis.components_for(self.pca.ratio, share) for share in SHARES
        }
        pixels = len(self.pca.mean)
        return [
            comparison.Table(
                "Principal components",
                f"{self.data.name}, {pixels} pixels, all images that are not of the "
                "test part; mnist: what is well known of its 60,000",
                ("variance explained", "components", "mnist"),
                [[f"{s:.0%}", str(n), str(BOOK[s])] for s, n in needed.items()],
            ),
            comparison.Table(
                f"k-means, {len(self.clusters.centres)} clusters",
                f"{len(self.train.classes):,} images, the best of "
                f"{self.settings.restarts} starts, without labels; the literature on "
                "mnist with ten: accuracy 53% to 59%, mutual information about 0.50",
                ("of", *analysis.Agreement._fields),
                [
                    [n, *(f"{v:.3f}" for v in found)]
                    for n, found in self.agreement.items()
                ],
            ),
            comparison.Table(
                f"Test error of {NEIGHBOURS} nearest neighbours",
                f"by how many numbers of each image they see, of {pixels}; "
                f"{len(self.train.classes):,} images to be near to",
                ("numbers kept", *map(str, self.counts)),
                [
                    [name, *(f"{100 * error:.1f}%" for error in row)]
                    for name, row in self.errors.items()
                ],
            ),
        ]

    def to_json(self) -> dict[str, Any]:
        """All numbers but images."""
        return {
            "explained": np.cumsum(np.asarray(self.pca.ratio)),
            "agreement": {n: found._asdict() for n, found in self.agreement.items()},
            "counts": self.counts,
            "errors": self.errors,
        }

    def draw(self, folder: RunFolder) -> dict[str, str]:
        """Draw ``plots/``; file name to caption."""
        left = 1 - np.cumsum(np.asarray(self.pca.ratio, np.float64))
        places = np.unique(np.geomspace(1, len(left), 16).astype(int))
        panels = [
            comparison.Panel(
                "how much components hold",
                "components",
                "share of variance left",
                {COMPONENTS: places},
                {COMPONENTS: np.where(left > 1e-6, left, 0)[None, places - 1]},
                log_x=True,
            ),
            comparison.Panel(
                "what few numbers tell",
                "numbers kept of each image",
                "test error",
                dict.fromkeys(self.errors, self.counts),
                {name: row[None] for name, row in self.errors.items()},
                log_x=True,
            ),
        ]
        comparison.draw(panels, folder.plots / "variance.png")
        self._draw_images(folder)
        return CAPTIONS

    def _draw_images(self, folder: RunFolder) -> None:
        shape = self.data.input_shape
        parts = np.asarray(self.pca.components)[:SHOWN]
        rows = np.concatenate([np.asarray(self.pca.mean)[None], parts])
        shares = np.asarray(self.pca.ratio)[:SHOWN]
        titles = ["mean", *(f"{i + 1}: {s:.1%}" for i, s in enumerate(shares))]
        plots.image_grid(
            rows.reshape(-1, *shape),
            folder.plots / "components.png",
            titles,
            columns=7,
            each_scaled=True,
        )
        labels = np.asarray(self.clusters.labels)
        titles = []
        for cluster in range(len(self.clusters.centres)):
            counts = np.bincount(self.train.classes[labels == cluster])
            share = counts.max() / counts.sum()
            titles.append(f"{self.data.classes[counts.argmax()]}: {share:.0%}")
        plots.image_grid(
            np.asarray(self.clusters.centres).reshape(-1, *shape),
            folder.plots / "centres.png",
            titles,
            columns=5,
        )


def build(settings: Settings) -> data_room.Dataset:
    """The data.

    Raises:
      ValueError, OSError: in one line, for a setting that cannot be used.
    """
    for name, least in (
        ("clusters", 0),
        ("restarts", 1),
        ("examples", 50),
        ("seed", 0),
    ):
        if getattr(settings, name) < least:
            raise ValueError(
                f"--{name} is {getattr(settings, name)}: give {least} or more."
            )
    data = comparing.load(settings)
    most = min(settings.examples, data.train.size + data.validation.size)
    if settings.clusters > most:
        raise ValueError(
            f"--clusters is {settings.clusters}, more than the {most} examples."
        )
    return data


def _part(*sources: Any) -> Part:
    pixels, classes = [], []
    for source in sources:
        examples = source.fetch(np.arange(source.size))
        inputs = np.asarray(examples["inputs"])
        pixels.append(inputs.reshape(len(inputs), -1).astype(np.float32))
        classes.append(np.asarray(examples["targets"]))
    return Part(np.concatenate(pixels), np.concatenate(classes))


def compare(
    settings: Settings, data: data_room.Dataset, say: comparing.Say = print
) -> Found:
    """Fit all of them."""
    whole, test = _part(data.train, data.validation), _part(data.test)
    high = float(whole.pixels.max())
    whole = Part(whole.pixels / high, whole.classes)
    test = Part(test.pixels / high, test.classes).first(settings.examples)
    pca = jax.jit(analysis.pca)(whole.pixels)
    say(f"components of {len(whole.classes):,} images")
    train = whole.first(settings.examples)
    count = settings.clusters or len(data.classes)
    few = analysis.components_for(pca.ratio, SHARES[0])
    coordinates = np.asarray(pca.transform(train.pixels))
    reduced = {"pixels": train.pixels, f"{few} components": coordinates[:, :few]}
    key = jax.random.key(settings.seed)
    cluster = jax.jit(
        partial(analysis.k_means, clusters=count, restarts=settings.restarts)
    )
    clusters = {name: cluster(x, key=key) for name, x in reduced.items()}
    agreement = {
        name: analysis.agreement(found.labels, train.classes)
        for name, found in clusters.items()
    }
    say(f"{count} clusters")
    counts, errors = _neighbours(train, test, pca)
    return Found(
        settings, data, pca, train, clusters["pixels"], agreement, counts, errors
    )


def _neighbours(
    train: Part, test: Part, pca: analysis.PCA
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Counts of numbers that are kept, and the test error by way of choosing them."""
    from sklearn.neighbors import KNeighborsClassifier

    pixels = train.pixels.shape[1]
    counts = np.array([n for n in (2, 5, 10, 20, 40, 80, 160) if n < pixels])
    seen, asked = (
        np.asarray(pca.transform(jnp.asarray(part.pixels))) for part in (train, test)
    )
    # A pixel that never changes has no F, and is never chosen.
    varies = np.flatnonzero(train.pixels.std(axis=0) > 0)
    scores = np.asarray(
        analysis.select_k_best(
            jnp.asarray(train.pixels[:, varies]),
            jnp.asarray(train.classes),
            len(varies),
            "f_classif",
        ).scores
    )
    order = varies[np.argsort(-scores, kind="stable")]

    def error(x: np.ndarray, other: np.ndarray) -> float:
        model = KNeighborsClassifier(NEIGHBOURS).fit(x, train.classes)
        return float(np.mean(model.predict(other) != test.classes))

    by_f = [
        error(train.pixels[:, order[:n]], test.pixels[:, order[:n]]) for n in counts
    ]
    along = [error(seen[:, :n], asked[:, :n]) for n in counts]
    return counts, {COMPONENTS: np.array(along), BY_F: np.array(by_f)}


def main(settings: Settings) -> int:
    """Look as the settings say; the exit code."""
    return comparing.run(NAME, settings, build, compare)


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
