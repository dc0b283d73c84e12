"""Look inside a trained image network: --run=FOLDER of image_classification.

Filters, feature maps, saliency, Grad-CAM, the image that excites each class most,
statistics of every layer, receptive fields, and whether it under- or overfits, with
advice. Without --run a network is trained on digits first: a minute in all.
"""

import contextlib
import dataclasses
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import common, comparing, flags, image_classification, saved
from experiments.flags import option
from jaxdl import analysis, models, objectives, runs
from jaxdl.data import Dataset
from jaxdl.runs import comparison, plots, writers
from jaxdl.runs.folder import RunFolder, default_workdir
from jaxdl.runs.loading import Loaded
from jaxdl.runs.plots import layers as layer_plots
from jaxdl.runs.plots import looking as looking_plots
from jaxdl.runs.text import printable

NAME = "visualize"
# Examples on which layers are measured, and the most tiles of a picture.
PROBE, TILES = 256, 36
# Of the ascent towards exciting images: large enough to keep pixels near real ones.
DECAY = 0.1


@dataclasses.dataclass(frozen=True)
class Settings(comparing.ComparisonSettings):
    """What ``visualize`` lets one set."""

    run: str = option("", "folder of a run of image_classification; empty: train one")
    images: int = option(8, "test images to look at")
    layer: str = option("", "layer of Grad-CAM; empty: the last with several pixels")
    ascent_steps: int = option(150, "towards the most exciting images")
    workdir: str = option("", "folder to write to; empty: checkpoints/...")


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is looked at.

    Attributes:
      loaded: the run.
      data: its data set.
      images, targets: examples of the test part, as stored, and their classes.
      probe: a batch of the training part, preprocessed.
    """

    loaded: Loaded
    data: Dataset
    images: np.ndarray
    targets: np.ndarray
    probe: dict[str, Any]

    @property
    def variables(self) -> dict[str, Any]:
        """Parameters and model state, as Flax has them."""
        return {"params": self.loaded.params, **self.loaded.model_state}

    @property
    def inputs(self) -> Any:
        """The images as the network takes them."""
        return self.loaded.preprocess.apply(self.images)

    @property
    def in_unit(self) -> np.ndarray:
        """The images with values in [0, 1]."""
        high = self.data.preprocess.high or float(np.max(self.images)) or 1.0
        return np.clip(np.asarray(self.images, np.float64) / high, 0, 1)


def subject(settings: Settings) -> Subject:
    """The run that is asked for, trained first where none is.

    Raises:
      ValueError, OSError: in one line, for a setting or a run that cannot be used.
    """
    for name in ("images", "ascent_steps"):
        if getattr(settings, name) < 1:
            raise ValueError(f"--{name} is {getattr(settings, name)}: give 1 or more.")
    loaded = runs.load(settings.run or _trained())
    if loaded.experiment != image_classification.NAME:
        raise ValueError(
            f"--run={settings.run} is a run of {loaded.experiment}: give one of "
            f"{image_classification.NAME}, whose inputs are images."
        )
    asked = saved.settings_of(loaded.folder, image_classification.Settings)
    data = common.dataset(asked, asked.image_size)
    shown = data.test.fetch(np.arange(min(settings.images, data.test.size)))
    probe = data.train.fetch(np.arange(min(PROBE, data.train.size)))
    found = Subject(
        loaded,
        data,
        np.asarray(shown["inputs"]),
        np.asarray(shown["targets"]),
        {**probe, "inputs": loaded.preprocess.apply(probe["inputs"])},
    )
    known = analysis.convolutions(loaded.model, found.variables, found.inputs)
    if settings.layer and settings.layer not in known:
        raise ValueError(
            f"--layer is {settings.layer!r}: give one of {', '.join(known) or 'none'}."
        )
    return found


def _trained() -> Path:
    """A network trained on digits; its folder. Progress goes to stderr."""
    folder = default_workdir(image_classification.NAME)
    with contextlib.redirect_stdout(sys.stderr):
        asked = image_classification.Settings(workdir=str(folder))
        if image_classification.main(asked):
            raise RuntimeError(f"training in {folder} did not finish; see above")
    return Path(folder)


@dataclasses.dataclass(frozen=True)
class Inside:
    """What was seen.

    Attributes:
      subject: of what.
      layer: of Grad-CAM; "" where the network has no convolution.
      activities, gradients: by layer.
      fields: convolution to (output size, receptive field by gradient).
      maps: name to a map an image.
      excited: an image a class, and the score that it reaches.
      probabilities: [images, classes].
      fit: what the run's history says.
    """

    subject: Subject
    layer: str
    activities: list[analysis.Activity]
    gradients: list[analysis.GradientActivity]
    fields: dict[str, tuple[int, str]]
    maps: dict[str, np.ndarray]
    excited: tuple[np.ndarray, np.ndarray]
    probabilities: np.ndarray
    fit: analysis.Diagnosis

    def tables(self) -> list[comparison.Table]:
        """Layers, and the fit."""
        gradients = {each.layer: each for each in self.gradients}
        activities = {each.layer: each for each in self.activities}
        rows = [
            _layer_row(name, activities.get(name), each, self.fields.get(name))
            for name, each in gradients.items()
        ]
        return [
            comparison.Table(
                "Layers",
                f"on {len(self.subject.probe['inputs'])} training examples; "
                f"saturated: slope of the activation below {analysis.FLAT}",
                (
                    "layer",
                    "output",
                    "saturated",
                    "dead",
                    "gradient's norm",
                    "relative to weights",
                    "output size",
                    "receptive field",
                ),
                rows,
            ),
            comparison.Table(
                "Fit",
                str(self.fit),
                ("what helps",),
                [[line] for line in self.fit.advice],
            ),
        ]

    def to_json(self) -> dict[str, Any]:
        """All numbers but those of pictures."""
        return {
            "run": str(self.subject.loaded.folder.path),
            "step": self.subject.loaded.step,
            "layers": [each._asdict() for each in self.activities],
            "gradients": [each._asdict() for each in self.gradients],
            "receptive_fields": {
                name: field for name, (_, field) in self.fields.items()
            },
            "most_exciting": self.excited[1],
            "fit": self.fit._asdict(),
        }

    def draw(self, folder: RunFolder) -> dict[str, str]:
        """All pictures."""
        captions = {
            "layers.png": "What layers put out, how much of it is lost, and "
            "the loss's gradient in their weights."
        }
        layer_plots.activities(
            self.activities, self.gradients, folder.plots / "layers.png"
        )
        captions |= self._draw_maps(folder) | self._draw_convolutions(folder)
        images, scores = self.excited
        plots.image_grid(
            images,
            folder.plots / "most_exciting.png",
            [
                f"{printable(name, 12)}: {score:.3g}"
                for name, score in zip(self.subject.data.classes, scores, strict=False)
            ],
            each_scaled=True,
        )
        captions["most_exciting.png"] = (
            "The images that excite each class most, found by ascent from grey, and "
            "their scores (logits)."
        )
        return captions

    def _draw_maps(self, folder: RunFolder) -> dict[str, str]:
        classes = [printable(name, 12) for name in self.subject.data.classes]
        titles = [
            f"{classes[target]}\nsaid {classes[np.argmax(row)]}, {row.max():.0%}"
            for target, row in zip(
                self.subject.targets, self.probabilities, strict=True
            )
        ]
        looking_plots.beside(
            self.subject.in_unit, self.maps, titles, folder.plots / "looks_at.png"
        )
        said = "Where the score of the class that the network says comes from: pixels "
        said += "that move it (saliency)"
        more = f", and places of {self.layer} that speak for it (Grad-CAM)."
        return {"looks_at.png": said + (more if self.layer else ".")}

    def _draw_convolutions(self, folder: RunFolder) -> dict[str, str]:
        names = list(self.fields)
        if not names:
            return {}
        first = analysis.filters(self.subject.loaded.params, names[0])[:TILES]
        plots.image_grid(first, folder.plots / "filters.png", each_scaled=True)
        captions = {"filters.png": f"The filters of {names[0]}, each stretched."}
        outputs = models.layer_outputs(
            self.subject.loaded.model, self.subject.variables, self.subject.inputs[:1]
        )
        for number, name in enumerate((names[0], names[-1])):
            file = f"feature_maps_{'first' if number == 0 else 'last'}.png"
            plots.feature_maps(outputs[name][0], folder.plots / file, TILES)
            captions[file] = f"What {name} puts out for the first image, by channel."
        return captions


def _layer_row(
    name: str,
    activity: analysis.Activity | None,
    gradient: analysis.GradientActivity,
    field: tuple[int, str] | None,
) -> list[str]:
    seen = ["", "", ""]
    if activity is not None:
        output = f"{activity.mean:.2g} ± {activity.deviation:.2g}"
        seen = [output, f"{activity.saturated:.0%}", f"{activity.dead:.0%}"]
    size, wide = field or ("", "")
    moved = [f"{gradient.norm:.2g}", f"{gradient.share:.2g}"]
    return [name, *seen, *moved, str(size), wide]


def look(settings: Settings, found: Subject, say: comparing.Say = print) -> Inside:
    """Look at all of it."""
    loaded, variables = found.loaded, found.variables
    say(f"{loaded.folder.path}, step {loaded.step}")
    scores = analysis.scores_of(loaded.model, variables)
    logits = jax.jit(scores)(found.inputs)
    chosen = jnp.argmax(logits, axis=-1)
    maps = {
        "saliency": jax.jit(partial(analysis.saliency, scores))(found.inputs, chosen)
    }
    fields = _fields(found)
    wide = [name for name, (size, _) in fields.items() if size > 1]
    layer = settings.layer or (wide or [""])[-1]
    if layer:
        cam = partial(analysis.grad_cam, loaded.model, variables, layer=layer)
        maps["Grad-CAM"] = jax.jit(cam)(found.inputs, chosen)
    say("saliency and Grad-CAM")
    order = analysis.weight_layers(loaded.model, variables, found.inputs)
    objective = objectives.classification(models.forward(loaded.model))
    return Inside(
        subject=found,
        layer=layer,
        activities=analysis.activation_statistics(
            loaded.model, variables, found.probe["inputs"]
        ),
        gradients=analysis.gradient_statistics(
            objective,
            order,
            loaded.params,
            found.probe,
            model_state=loaded.model_state,
            training=False,
        ),
        fields=fields,
        maps={name: np.asarray(values) for name, values in maps.items()},
        excited=_excited(scores, found, settings.ascent_steps),
        probabilities=np.asarray(jax.nn.softmax(logits)),
        fit=analysis.diagnose(writers.read(loaded.folder.metrics)),
    )


def _excited(scores: Any, found: Subject, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The most exciting image of each class, and its score; all as one program."""
    count = min(len(found.data.classes), TILES)
    grey = jnp.zeros(found.inputs.shape[1:])

    def one(number: Any) -> Any:
        return analysis.maximise_activation(
            lambda x: scores(x)[0, number], grey, steps, decay=DECAY
        )

    made = jax.jit(lambda numbers: jax.lax.map(one, numbers))(jnp.arange(count))
    return np.asarray(made.image), np.asarray(made.values[:, -1])


def _fields(found: Subject) -> dict[str, tuple[int, str]]:
    """Convolution to the size of what it puts out, and how far it sees by gradient.

    Measured on the network's own images: a field as wide as they are may be wider.
    """
    model, variables = found.loaded.model, found.variables
    names = analysis.convolutions(model, variables, found.inputs)
    fields = {}
    for name in names:

        def output(x: Any, name: str = name) -> Any:
            return models.layer_outputs(model, variables, x)[name]

        size = jax.eval_shape(output, found.inputs).shape[1]
        rows, columns = analysis.receptive_field_by_gradient(
            output, found.probe["inputs"][:16]
        )
        whole = min(rows, columns) >= min(found.inputs.shape[1:3])
        fields[name] = size, f"{rows} x {columns}" + (", all" if whole else "")
    return fields


def main(settings: Settings) -> int:
    """Look as the settings say; the exit code."""
    return comparing.run(NAME, settings, subject, look)


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
