"""What a generator of images is judged by: its samples, measured, drawn, sorted."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

from jaxdl.batch import Batch, Context, mask_of
from jaxdl.models.apply import forward, in_batches
from jaxdl.models.gan import draw_latents
from jaxdl.objectives.adversarial import Networks, generated
from jaxdl.objectives.supervised import without_padding
from jaxdl.runs import plots, spectrum
from jaxdl.runs.feature_classifier import FeatureClassifier
from jaxdl.sample_metrics import class_coverage, covered, frechet_distance
from jaxdl.train.evaluation import EVALUATION_SEED
from jaxdl.train.state import evaluation_params
from jaxdl.train.task import Findings, Shown

# Of pictures: samples as it learns, and of each class at the end.
SHOWN, SHOWN_OF_CLASS, SHOWN_CLASSES = 64, 10, 20
# Samples that are sorted by class.
SORTED = 1000
_BATCH = 128

Stored = Float[Array, "batch height width channels"]


@dataclasses.dataclass(frozen=True, eq=False)  # the identity is what jit goes by
class Gallery:
    """A generator's model with what looks at its samples.

    Attributes:
      model: a ``DCGAN``.
      pixels: stored images to the model's range of pixels, and back.
      classifier: what measures them.
      names: of the classes.
    """

    model: Any
    pixels: Any
    classifier: FeatureClassifier
    names: Sequence[str]

    @property
    def networks(self) -> Networks:
        """Both players, as pure functions."""
        return Networks(
            generate=forward(self.model, "generate"),
            discriminate=forward(self.model, "discriminate"),
            draw=partial(
                draw_latents,
                size=self.model.latents,
                distribution=self.model.latent_distribution,
            ),
        )

    def draw(
        self,
        params: PyTree,
        model_state: PyTree,
        position: Int[Array, " batch"],
        key: Key[Array, ""],
    ) -> Stored:
        """Samples in the stored scale, an image a position; pure."""
        about = Context(position=position)
        images, _ = generated(self.networks, params, model_state, about, key)
        return self.pixels.invert(images)

    def measure(
        self, state: Any, params: PyTree, batch: Batch, key: Key[Array, ""]
    ) -> dict[str, Any]:
        """``frechet_distance`` of as many samples as the batch holds images, and
        ``class_coverage``; pure, for ``train.make_adversarial_evaluation``."""
        images = self.draw(params, state.model_state, batch["position"], key)
        look = partial(self.classifier.look, state.classifier)
        features, logits = look(images)
        real, _ = look(without_padding(batch)["inputs"])
        mask = mask_of(batch)
        classes = jnp.argmax(logits, axis=-1)
        return {
            "frechet_distance": frechet_distance(real, features, mask),
            "class_coverage": class_coverage(classes, len(self.names), mask),
        }


def samples(
    gallery: Gallery, state: Any, count: int, seed: int = EVALUATION_SEED
) -> Any:
    """The first ``count`` samples of a state in the stored scale, as NumPy; those
    of ``EVALUATION_SEED`` are the ones that evaluation measures."""
    draw = partial(_draw, gallery, evaluation_params(state), state.model_state)
    # Whole batches, so that few and many samples are drawn by one program.
    positions = np.arange(count + -count % _BATCH, dtype=np.int32)
    found = in_batches(lambda at: draw(at, jax.random.key(seed)), positions, _BATCH)
    return found[:count]


@partial(jax.jit, static_argnums=0)
def _draw(
    gallery: Gallery, params: PyTree, model_state: PyTree, position: Array, key: Array
) -> Stored:
    return gallery.draw(params, model_state, position, key)


def pixels(gallery: Gallery, stored: np.ndarray) -> np.ndarray:
    """Stored images in [0, 1], for pictures."""
    return np.clip(np.asarray(stored, np.float32) / gallery.pixels.high, 0.0, 1.0)


def show(gallery: Gallery, state: Any) -> Shown:
    """A grid of samples, from the same noise each time."""
    grid = pixels(gallery, samples(gallery, state, SHOWN))
    return {"samples.png": partial(plots.montage, grid)}


def findings(gallery: Gallery, state: Any, outputs: Any, source: Any) -> Findings:
    """Of 1,000 samples: coverage of the classes, the checkerboard in them relative to
    real images; pictures by class and of frequencies; a note where classes are
    missing."""
    del outputs
    made = samples(gallery, state, SORTED)
    real = source.fetch(np.arange(min(source.size, SORTED)))["inputs"]
    _, logits = gallery.classifier.seen(made, state.classifier)
    classes = np.argmax(logits, axis=-1)
    counts = np.bincount(classes, minlength=len(gallery.names))
    held = covered(counts)
    even = spectrum.checkerboard(real)
    metrics = {
        "class_coverage": float(np.mean(held)),
        "checkerboard": spectrum.checkerboard(made) / even if even else np.nan,
    }
    pictures: dict[str, Any] = {
        "samples_by_class.png": partial(
            plots.montage,
            _by_class(pixels(gallery, made), classes, len(gallery.names)),
            columns=SHOWN_OF_CLASS,
        ),
        "frequencies.png": partial(_draw_frequencies, real, made),
        "classes.txt": _classes_text(gallery, counts),
    }
    missing = [
        name for name, there in zip(gallery.names, held, strict=True) if not there
    ]
    notes = (_collapse(missing, len(gallery.names)),) if missing else ()
    return Findings(metrics=metrics, pictures=pictures, notes=notes)


def _collapse(missing: Sequence[str], classes: int) -> str:
    named = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")
    return (
        f"MODES COLLAPSED: {len(missing)} of {classes} classes are all but missing "
        f"from {SORTED:,} samples: {named}"
    )


def _classes_text(gallery: Gallery, counts: np.ndarray) -> str:
    """What the samples are taken for, by whom."""
    lines = [
        f"{SORTED:,} samples by the class that jaxdl's own classifier takes them for, "
        f"which names {gallery.classifier.accuracy:.2%} of validation images right. "
        "The Frechet distance is of its features, and compares with no other "
        "network's.",
        *(
            f"{count / SORTED:7.2%}  {name}"
            for name, count in zip(gallery.names, counts, strict=True)
        ),
    ]
    return "\n".join(lines) + "\n"


def _by_class(images: np.ndarray, classes: np.ndarray, count: int) -> np.ndarray:
    """A row of samples a class, in the order they were drawn; black where it has
    fewer."""
    shape = (min(count, SHOWN_CLASSES), SHOWN_OF_CLASS, *images.shape[1:])
    rows = np.zeros(shape, np.float32)
    for row in range(len(rows)):
        found = images[classes == row][:SHOWN_OF_CLASS]
        rows[row, : len(found)] = found
    return rows.reshape(-1, *images.shape[1:])


def _draw_frequencies(real: np.ndarray, made: np.ndarray, path: Any) -> None:
    """The mean spectra of both on one logarithmic scale, frequency 0 in the middle."""
    spectra = np.stack([spectrum.power(images) for images in (real, made)])
    spectra[:, 0, 0] = spectra.max()  # the mean was taken away: nothing to see there
    shown = np.log10(spectra / spectra.max() + 1e-8)
    shown = np.fft.fftshift(shown, axes=(1, 2))[..., None]
    plots.image_grid(shown, path, titles=["real", "samples"])
