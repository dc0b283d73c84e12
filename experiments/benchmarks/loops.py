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
      flags: that are not its defaults.
      images: how many it is given, of the case's shape; 0: it has data of its own.
    """

    experiment: Any
    flags: Mapping[str, Any]
    images: int = 0

    @property
    def members(self) -> bool:
        """Whether several train as one program."""
        return bool(self.flags.get("folds"))


def _classifier(images: int, **flags: Any) -> Loop:
    given = {"epochs": 0, "augment": "none", "dropout": 0.0, **flags}
    return Loop(image_classification, given, images)


def _language(model: str, **flags: Any) -> Loop:
    return Loop(language_model, {"model": model, **flags})


def _transformer(layers: int, width: int, heads: int, **flags: Any) -> Loop:
    size = {"layers": layers, "width": width, "heads": heads, "positions": "learned"}
    return _language("transformer", batch_size=16, **size, **flags)


_MNIST = 54_000  # images
# Some seconds from check to check, as of a run in earnest. Where steps take long, less
# is held out than is by default, or checks would be most of the time.
LOOPS = {
    "mlp_32": _classifier(_MNIST, model="mlp", batch_size=32, max_steps=24_000),
    "mlp_128": _classifier(_MNIST, model="mlp", batch_size=128, max_steps=12_000),
    "cnn": _classifier(
        *(_MNIST,),
        model="simple_cnn",
        batch_size=128,
        max_steps=2000,
        evaluate_every=400,
    ),
    "resnet20": _classifier(
        *(6000,), model="resnet20", batch_size=64, max_steps=480, evaluate_every=96
    ),
    "transformer_small": _transformer(
        *(4, 128, 4), context=128, max_steps=450, evaluate_every=75
    ),
    "lstm": _language(
        "lstm",
        batch_size=64,
        context=100,
        layers=1,
        width=256,
        max_steps=300,
        evaluate_every=60,
        validation_fraction=0.02,
    ),
    "dcgan": Loop(
        gan, {"batch_size": 64, "max_steps": 400, "evaluate_every": 80}, 6000
    ),
    "vae": Loop(
        vae, {"batch_size": 128, "max_steps": 3000, "evaluate_every": 600}, _MNIST
    ),
    "tabular": Loop(
        tabular,
        {
            "dataset": "wine",
            "folds": 4,
            "epochs": 0,
            "max_steps": 40_000,
            "evaluate_every": 4000,
        },
    ),
    "transformer_large": _transformer(
        *(6, 384, 6),
        context=256,
        max_steps=32,
        evaluate_every=8,
        validation_fraction=0.005,
    ),
}


def settings(name: str, folder: Path) -> Any:
    """The settings of a case's run; its images are drawn in the folder."""
    loop = LOOPS[name]
    given = dict(loop.flags)
    if loop.images:
        file = folder / "images.npz"
        draw_images(file, loop.images, CASES[name].shape)
        given["dataset"] = f"npz:{file}"
    return loop.experiment.Settings(**given)


def draw_images(path: Path, count: int, shape: tuple[int, ...]) -> None:
    """An ``npz:`` data set: ten patterns under noise, of a shape such as MNIST's."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 64, size=(10, *shape), dtype=np.uint8)
    labels = rng.integers(0, 10, size=count, dtype=np.int32)
    images = rng.integers(0, 192, size=(count, *shape), dtype=np.uint8)
    images += patterns[labels]
    np.savez(path, images=images, labels=labels)
