"""Train a generative adversarial network (DCGAN), and measure what it makes.

Without flags: scikit-learn's 1,797 handwritten digits. Other data:
--dataset=mnist --data_dir=DIR (any TFDS image set), folder:PATH, npz:PATH; sides
must be even: --image_size=32. Samples are measured by a Frechet distance in the
features of a small classifier, which is trained on the same data first. Draw more of
them with python -m experiments.gan_samples; what each trick does for it shows
python -m experiments.gan_tricks.
"""

import dataclasses
import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax

from experiments import common, flags, inputs
from experiments.flags import option
from jaxdl import models, objectives, optimizers, runs, train
from jaxdl.batch import Batch
from jaxdl.data import Dataset, Preprocess
from jaxdl.models import gan as networks
from jaxdl.models.apply import in_batches
from jaxdl.objectives.adversarial import GAMES
from jaxdl.runs import baselines, samples, warm_start
from jaxdl.runs.feature_classifier import (
    FeatureClassifier,
    check_images,
    train_classifier,
)
from jaxdl.runs.machine import quick_compiling
from jaxdl.train.task import Plan, Task

NAME = "gan"
# Fields of the model that are settings of the same name.
_FIELDS = (
    "latents",
    "channels",
    "kernel_size",
    "checkerboard",
    "output",
    "latent_distribution",
    "downsampling",
    "activation",
    "spectral_norm",
)


@dataclasses.dataclass(frozen=True)
class Settings(flags.TrainingSettings):
    """What ``gan`` lets one set."""

    model: str = option("dcgan", f"one of {', '.join(models.ADVERSARIAL_MODELS)}")
    max_steps: int = option(3000, "stop after so many steps; 0: epochs", same_run=True)
    batch_size: int = option(64, "real images a step, over all devices")
    learning_rate: float = option(5e-4, "peak learning rate, of both players")
    beta1: str = option(
        "auto", "Adam's memory of gradients; auto: 0.5 where it has one"
    )
    ema_decay: float = option(0.99, "moving average of parameters; 0: none")
    evaluate_every: int = option(250, "steps between validation checks")
    monitor: str = option(
        "frechet_distance", "validation metric that decides what is best"
    )
    image_size: int = option(0, "resize images to this many pixels a side; 0: as is")
    loss: str = option("non_saturating", f"one of {', '.join(GAMES)}")
    critic_updates: int = option(
        1, "discriminator updates a step, each on its part of the batch"
    )
    gradient_penalty: str = option(
        "auto", "weight of (|slope| - 1)^2; auto: 10 for wasserstein, else 0"
    )
    spectral_norm: bool = option(False, "divide the discriminator's weights by it")
    latents: int = option(64, "numbers that an image is made of")
    channels: int = option(32, "feature maps at full size, doubled at each halving")
    output: str = option("tanh", "trick 1: tanh, or sigmoid and images in [0, 1]")
    latent_distribution: str = option("gaussian", "trick 2: gaussian or uniform")
    dropout: float = option(0.3, "trick 3a: dropout rate, in the discriminator alone")
    label_noise: str = option(
        "auto", "trick 3b: most to move labels by; auto: 0.05 for losses with labels"
    )
    downsampling: str = option("strided", "trick 4a: strided or max_pool")
    activation: str = option("leaky_relu", "trick 4b: leaky_relu or relu")
    kernel_size: int = option(4, "trick 5: divisible by the stride, which is 2")
    checkerboard: bool = option(False, "allow a kernel size that is not")


def build(settings: Settings) -> tuple[Task, Plan]:
    """Data, classifier, model, step and measures of the settings.

    Raises:
      ValueError, OSError: in one line, for a setting that cannot be used.
    """
    data = check(settings)
    classifier = train_classifier(data, settings.split_seed)
    return assemble(settings, data, gallery(settings, data, classifier))


def check(settings: Settings) -> Dataset:
    """The data, where the settings can be used with them: before anything trains.

    Raises:
      ValueError, OSError: in one line, where they cannot.
    """
    common.check(settings)
    _check(settings)
    _optimizer(settings)
    _numbers(settings)
    data = common.dataset(settings, settings.image_size)
    check_images(data)
    common.plan(settings, data.train.size)
    models.create(settings.model, **_arguments(settings, data))
    return data


def _arguments(settings: Settings, data: Dataset) -> dict[str, Any]:
    """The model's arguments."""
    arguments = {name: getattr(settings, name) for name in _FIELDS}
    arguments["shape"] = list(data.input_shape)
    if settings.precision != "float32":
        arguments["dtype"] = settings.precision
    return arguments


def gallery(
    settings: Settings, data: Dataset, classifier: FeatureClassifier
) -> samples.Gallery:
    """The model for these images, and what looks at its samples."""
    model = models.create(settings.model, **_arguments(settings, data))
    high = data.preprocess.high
    pixels = _pixels(high, model.pixel_range, data.input_shape[-1])
    return samples.Gallery(model, pixels, classifier, data.classes)


def _check(settings: Settings) -> None:
    common.choice("model", settings.model, models.ADVERSARIAL_MODELS)
    for name, allowed in (
        ("loss", GAMES),
        ("output", networks.OUTPUTS),
        ("latent_distribution", networks.DISTRIBUTIONS),
        ("downsampling", networks.DOWNSAMPLING),
        ("activation", networks.RECTIFIERS),
    ):
        common.choice(name, getattr(settings, name), allowed)
    for name in ("critic_updates", "latents", "channels", "kernel_size"):
        if getattr(settings, name) < 1:
            raise ValueError(f"--{name} is {getattr(settings, name)}: give 1 or more.")
    if settings.freeze:
        raise ValueError(
            "--freeze: a player that is frozen is no player; leave it out."
        )
    if settings.kernel_size % networks.STRIDE and not settings.checkerboard:
        raise ValueError(
            f"--kernel_size is {settings.kernel_size}, which the stride of "
            f"{networks.STRIDE} does not divide: images come out in a checkerboard. "
            "Give 4, or --checkerboard to have it so."
        )
    if settings.checkerboard and settings.kernel_size % networks.STRIDE == 0:
        raise ValueError(
            f"--checkerboard: the stride of {networks.STRIDE} divides --kernel_size="
            f"{settings.kernel_size}; give 3 or 5, or leave it out."
        )


def assemble(
    settings: Settings, data: Dataset, gallery: samples.Gallery
) -> tuple[Task, Plan]:
    """The task, on data that are there, with a classifier that is trained."""
    plan = common.plan(settings, data.train.size)
    data = dataclasses.replace(data, preprocess=gallery.pixels)
    players = objectives.adversarial(
        gallery.networks,
        loss=settings.loss,
        prepare=partial(_prepare, gallery.pixels),
    )
    optimizer = _optimizer(settings)
    spec = {"shape": list(data.input_shape), "dtype": "float32"}
    start = common.start_of(settings)
    create = _creator(settings, gallery, optimizer, models.example(spec), start)

    def untrained(count: int) -> Any:
        quick = jax.jit(create, compiler_options=quick_compiling())
        return samples.samples(gallery, quick(settings.seed), count)

    task = Task(
        data=data,
        create=create,
        step=train.make_adversarial_step(
            *players,
            optimizer,
            critic_updates=settings.critic_updates,
            **common.step_options(settings, plan.steps),
        ),
        evaluation=train.make_adversarial_evaluation(*players, gallery.measure),
        outputs=None,
        findings=partial(samples.findings, gallery),
        baselines=partial(baselines.samples, data, gallery.classifier, untrained),
        model={
            "model": {
                "name": settings.model,
                "arguments": _arguments(settings, data),
            },
            "input": spec,
            "classes": list(data.classes),
            "preprocess": gallery.pixels.to_json(),
            "classifier": {"validation_accuracy": gallery.classifier.accuracy},
        },
        layers=lambda: common.layers(gallery.model, create, models.example(spec)),
        start=start,
        headline="frechet_distance",
        show=partial(samples.show, gallery),
    )
    return task, plan


def _creator(
    settings: Settings,
    gallery: samples.Gallery,
    optimizer: Any,
    example: Any,
    start: warm_start.Start | None,
) -> Callable[[Any], train.AdversarialState]:
    """What makes the state of a seed."""
    hyper = common.hyper(settings, _numbers(settings))

    def create(seed: Any) -> train.AdversarialState:
        new = models.init(gallery.model, jax.random.key(seed), example)
        params, model_state = warm_start.begin(start, *new)
        return train.create_adversarial_state(
            params,
            optimizer,
            model_state,
            classifier=gallery.classifier.variables,
            hyper=hyper,
            seed=seed,
            ema_decay=settings.ema_decay or None,
        )

    return create


def _pixels(high: float, pixel_range: tuple[float, float], channels: int) -> Preprocess:
    """Stored pixels from 0 to ``high`` to the range that the generator puts out."""
    low, top = pixel_range
    scale = high / (top - low)
    return Preprocess((-low * scale,) * channels, (scale,) * channels, high)


def _prepare(pixels: Preprocess, batch: Batch, key: Any, training: bool) -> Batch:
    del key, training
    return {**batch, "inputs": pixels.apply(batch["inputs"])}


def _optimizer(settings: Settings) -> Any:
    """Of both players; Adam's b1 is 0.5 (Radford et al. 2016, sec. 4)."""
    factory = optimizers.OPTIMIZERS.get(settings.optimizer, lambda: None)
    has = "b1" in inspect.signature(factory).parameters
    options: dict[str, Any] = {}
    if has or settings.beta1 != "auto":
        options["b1"] = _beta1(settings)
    return optimizers.make(
        settings.optimizer, weight_decay=settings.weight_decay, **options
    )


def _beta1(settings: Settings) -> float:
    beta1 = _number("beta1", settings.beta1, 0.5)
    if beta1 >= 1:
        raise ValueError(f"--beta1 is {beta1:g}: give a number in [0, 1), or auto.")
    return beta1


def _numbers(settings: Settings) -> dict[str, float]:
    """The numbers of the game that are not 0."""
    labelled = GAMES[settings.loss].labelled
    noise = _number("label_noise", settings.label_noise, 0.05 if labelled else 0.0)
    if noise and not labelled:
        raise ValueError(f"--label_noise: the loss {settings.loss} has no labels.")
    if noise > 0.5:
        raise ValueError(
            f"--label_noise is {noise:g}: beyond 0.5 labels change places."
        )
    auto = 10.0 if settings.loss == "wasserstein" else 0.0
    penalty = _number("gradient_penalty", settings.gradient_penalty, auto)
    numbers = {"label_noise": noise, "gradient_penalty": penalty}
    return {name: number for name, number in numbers.items() if number}


def _number(flag: str, text: str, auto: float) -> float:
    """The number asked for, at least 0; ``auto`` where that is what was asked."""
    if text == "auto":
        return auto
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (number >= 0 and math.isfinite(number)):
        raise ValueError(f"--{flag} is {text!r}: give a number of at least 0, or auto.")
    return number


def predict(
    loaded: runs.Loaded, files: Sequence[str | Path], note: Callable[[str], Any]
) -> list[dict[str, Any]]:
    """``experiments.predict`` of a run of this kind: the discriminator's score of each
    image, the larger the more like the training images (``value``)."""
    rows, stored = inputs.read(loaded, files, note)
    scores = in_batches(jax.jit(lambda images: loaded(images)), stored, 256)
    return [
        {**row, "value": float(score)} for row, score in zip(rows, scores, strict=True)
    ]


def main(settings: Settings) -> int:
    """Train as the settings say; the exit code."""
    return common.run(NAME, settings, _announced)


def _announced(settings: Settings) -> tuple[Task, Plan]:
    """The build, and a line on who measures."""
    task, plan = build(settings)
    accuracy = task.model["classifier"]["validation_accuracy"]
    print(
        "samples are measured in the features of a classifier that names "
        f"{accuracy:.2%} of validation images right"
    )
    return task, plan


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
