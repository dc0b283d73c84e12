"""The runs whose loop is timed: for each case of a training step the experiment that
takes it, over data of its shape."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments import gan, image_classification, language_model, tabular, vae
from experiments.benchmarks.cases import CASES


@dataclasses.dataclass(frozen=True)
class Loop:
    """A run: its experiment, and how.

    Attributes:
      experiment: its module.
      flags: that neither its defaults nor its case say.
      images: how many it is given, of the case's shape; 0: it has data of its own.
    """

    experiment: Any
    flags: Mapping[str, Any]
    images: int = 0


def _classifier(images: int, **flags: Any) -> Loop:
    given = {"epochs": 0, "augment": "none", "dropout": 0.0, **flags}
    return Loop(image_classification, given, images)


def _steps(most: int, between_checks: int, **more: Any) -> dict[str, Any]:
    return {"max_steps": most, "evaluate_every": between_checks, **more}


_MNIST = 54_000  # images
# Some seconds from check to check, as of a run in earnest. Where steps take long, less
# is held out than is by default, or checks would be most of the time.
LOOPS = {
    "mlp_32": _classifier(_MNIST, max_steps=24_000),
    "mlp_128": _classifier(_MNIST, max_steps=12_000),
    "cnn": _classifier(_MNIST, **_steps(2000, 400)),
    "resnet20": _classifier(6000, **_steps(480, 96)),
    "transformer_small": Loop(language_model, _steps(450, 75)),
    "lstm": Loop(language_model, _steps(300, 60, validation_fraction=0.02)),
    "dcgan": Loop(gan, _steps(400, 80), 6000),
    "vae": Loop(vae, _steps(3000, 600), _MNIST),
    "tabular": Loop(tabular, _steps(40_000, 4000, epochs=0, dataset="wine")),
    "transformer_large": Loop(language_model, _steps(32, 8, validation_fraction=0.005)),
}


def settings(name: str, folder: Path) -> Any:
    """The settings of a case's run; its images are drawn in the folder."""
    loop, case = LOOPS[name], CASES[name]
    given = {"model": case.model.removesuffix("_lm"), "batch_size": case.size}
    if case.kind == "language":
        sizes = ("layers", "width", "heads", "positions")
        given |= {n: case.arguments[n] for n in sizes if n in case.arguments}
        given["context"] = case.shape[0]
    if case.folds > 1:
        given["folds"] = case.folds
    if loop.images:
        file = folder / "images.npz"
        draw_images(file, loop.images, case.shape)
        given["dataset"] = f"npz:{file}"
    return loop.experiment.Settings(**given, **loop.flags)


def draw_images(path: Path, count: int, shape: tuple[int, ...]) -> None:
    """An ``npz:`` data set: ten patterns under noise, of a shape such as MNIST's."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 64, size=(10, *shape), dtype=np.uint8)
    labels = rng.integers(0, 10, size=count, dtype=np.int32)
    images = rng.integers(0, 192, size=(count, *shape), dtype=np.uint8)
    images += patterns[labels]
    np.savez(path, images=images, labels=labels)
