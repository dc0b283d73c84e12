"""Train a variational autoencoder: images to a few numbers and back, in nats.

Without flags: scikit-learn's 1,797 handwritten digits. Other data:
--dataset=mnist --data_dir=DIR (any TFDS image set), folder:PATH, npz:PATH. Grey
images are binarised: each pixel is drawn with its grey value as the probability,
anew at each step, and always alike in evaluation. --latents=2 gives a map of them all.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments import common, flags, inputs
from experiments.flags import option
from jaxdl import data as data_room
from jaxdl import models, objectives, optimizers, runs, train
from jaxdl.batch import Batch, positions
from jaxdl.data.binarize import BINARIZATIONS, binarize
from jaxdl.data.preprocess import Preprocess, unit_scale
from jaxdl.models.apply import forward
from jaxdl.models.vae import DECODERS
from jaxdl.runs import autoencoding, baselines
from jaxdl.train import evaluation_params
from jaxdl.train.task import Figures, Plan, Task, steps_of

NAME = "vae"
# A run that is given no length: passes, or steps where those would be fewer.
EPOCHS, STEPS, CHECKS = 20, 2_880, 30


@dataclasses.dataclass(frozen=True)
class Settings(flags.TrainingSettings):
    """What ``vae`` lets one set."""

    model: str = option("vae_mlp", f"one of {', '.join(models.AUTOENCODERS)}")
    epochs: int = option(
        0,
        f"passes over the training part; 0: {EPOCHS}, or {STEPS} steps",
        same_run=True,
    )
    schedule: str = option(
        "cosine", "constant, step, exponential, linear, warmup_cosine, plateau"
    )
    monitor: str = option(
        "negative_elbo", "validation metric that decides what is best"
    )
    image_size: int = option(0, "resize images to this many pixels a side; 0: as is")
    latents: int = option(20, "numbers that stand for an image")
    binarize: str = option(
        "auto", "stochastic, threshold or none; auto: stochastic if grey, else none"
    )
    decoder: str = option(
        "auto", "bernoulli or gaussian; auto: bernoulli if grey or binarised"
    )
    kl_weight: float = option(1.0, "beta: the weight of the KL divergence in the loss")
    kl_warmup_steps: int = option(0, "steps in which that weight rises from 0")
    importance_samples: int = option(
        64, "draws an image of the importance-weighted bound on the test part; 0: none"
    )


def build(settings: Settings) -> tuple[Task, Plan]:
    """Data, model, step and measures of the settings.

    Raises:
      ValueError, OSError: in one line, for a setting that cannot be used.
    """
    _check(settings)
    data = common.dataset(settings, settings.image_size)
    data = dataclasses.replace(data, preprocess=_scale(settings, data))
    way, decoder = likelihood(settings.binarize, settings.decoder, data.input_shape[2])
    settings = _with_length(settings, data.train.size)
    plan = common.plan(settings, data.train.size)
    arguments = {
        "shape": list(data.input_shape),
        "latents": settings.latents,
        "decoder": decoder,
        "dtype": settings.precision,
    }
    model = models.create(settings.model, **arguments)
    network = _network(model, data.preprocess, way)
    objective = objectives.variational(network)
    step, create, start = common.learner(
        settings,
        objective,
        plan.steps,
        more_hyper={"kl_weight": settings.kl_weight},
        more_schedules={"kl_weight": _warmup(settings, plan.steps)},
    )
    spec = {"shape": list(data.input_shape), "dtype": "float32"}
    example = models.example(spec)

    def state(seed: Any) -> Any:
        params, model_state = models.init(model, jax.random.key(seed), example)
        return create(params, model_state, seed)

    task = Task(
        data=data,
        create=state,
        step=step,
        evaluation=train.make_evaluation(objective),
        outputs=partial(_outputs, network, settings.importance_samples),
        findings=partial(autoencoding.findings, network, data),
        baselines=partial(
            _baselines, network, data, settings.latents, decoder == "bernoulli"
        ),
        model={
            "model": {"name": settings.model, "arguments": arguments},
            "input": spec,
            "classes": list(data.classes),
            "preprocess": data.preprocess.to_json(),
        },
        layers=lambda: common.layers(model, state, example),
        start=start,
        headline="negative_elbo",
        show=partial(_show, network, data, settings.latents),
    )
    return task, plan


def _check(settings: Settings) -> None:
    """Raise ValueError in one line for a setting that is out of its range."""
    common.check(settings)
    common.choice("model", settings.model, models.AUTOENCODERS)
    least = {"latents": 2, "kl_weight": 0, "kl_warmup_steps": 0}
    for name, low in {**least, "importance_samples": 0}.items():
        number = getattr(settings, name)
        if not (number >= low and math.isfinite(number)):
            raise ValueError(f"--{name} is {number}: give {low} or more.")


def _scale(settings: Settings, data: data_room.Dataset) -> Preprocess:
    """Stored pixels to [0, 1]."""
    if len(data.input_shape) != 3 or data.preprocess.high is None:
        raise ValueError(
            f"--dataset={settings.dataset} has inputs of shape "
            f"{list(data.input_shape)} that are no images: give images [height, width, "
            "channels] of pixels from 0 to 255, or 0 to 1."
        )
    return unit_scale(data.input_shape[2], data.preprocess.high)


def likelihood(way: str, decoder: str, channels: int) -> tuple[str, str]:
    """How images are binarised and what the decoder puts out, "auto" resolved.

    Raises:
      ValueError: a density of pixels that are 0 or 1, which has no bound; or a name
        that is unknown.
    """
    common.choice("binarize", way, ("auto", *BINARIZATIONS))
    common.choice("decoder", decoder, ("auto", *DECODERS))
    if way == "auto":
        way = "stochastic" if channels == 1 and decoder != "gaussian" else "none"
    if decoder == "auto":
        grey = channels == 1 or way != "none"
        decoder = "bernoulli" if grey else "gaussian"
    if decoder == "gaussian" and way != "none":
        raise ValueError(
            f"--decoder=gaussian is a density of grey values, but --binarize={way} "
            "leaves none: give --binarize=none, or --decoder=bernoulli."
        )
    return way, decoder


def _with_length(settings: Settings, examples: int) -> Settings:
    """Twenty passes where no length is given, or more of small data."""
    if settings.epochs or settings.max_steps:
        return settings
    if steps_of(EPOCHS, examples, settings.batch_size) >= STEPS:
        return dataclasses.replace(settings, epochs=EPOCHS)
    check_every = settings.evaluate_every or STEPS // CHECKS
    return dataclasses.replace(settings, max_steps=STEPS, evaluate_every=check_every)


def _warmup(settings: Settings, steps: int) -> train.Schedule:
    """What the KL weight is multiplied by at a step."""
    if settings.kl_warmup_steps > steps:
        raise ValueError(
            f"--kl_warmup_steps is {settings.kl_warmup_steps}: give at most the "
            f"{steps} steps of the run."
        )
    warmup = settings.kl_warmup_steps
    return optimizers.schedule("constant", steps, warmup_steps=warmup)


def _network(model: Any, scale: Preprocess, way: str) -> objectives.Autoencoder:
    def prepare(batch: Batch, key: Any, training: bool) -> Batch:
        images = scale.apply(batch["inputs"])
        return {**batch, "inputs": binarize(images, way, key, positions(batch))}

    return objectives.Autoencoder(
        forward(model, "encode"), forward(model, "decode"), prepare
    )


def _outputs(
    network: objectives.Autoencoder, samples: int, state: Any, batch: Batch
) -> dict[str, Any]:
    params, model_state = evaluation_params(state), state.model_state
    found = autoencoding.outputs(network, samples, params, model_state, batch)
    return {**found, "targets": batch["targets"]}


def _show(network: objectives.Autoencoder, data: Any, latents: int, state: Any) -> Any:
    return autoencoding.show(network, data, data.validation, state, latents)


def _baselines(
    network: objectives.Autoencoder, data: Any, latents: int, binary: bool
) -> dict[str, Figures]:
    """On the images that the model is measured on, drawn pixels included."""
    look = partial(autoencoding.images_seen, network)
    return baselines.autoencoding(
        autoencoding.first(look, data.train, autoencoding.EXAMPLES),
        autoencoding.first(look, data.test, data.test.size),
        latents,
        binary=binary,
        classes=bool(data.classes),
    )


def predict(
    loaded: runs.Loaded, files: Sequence[str | Path], note: Callable[[str], Any] = print
) -> list[dict[str, Any]]:
    """How well a run knows each image, and the latents it stands for it.

    Means over 64 draws of binarised pixels and latents, which are the same for
    every image: what is said of one does not depend on the others.

    Args:
      loaded: the run, from ``jaxdl.runs.load``.
      files: PNG, JPEG, .npy or .npz.
      note: told, in a line, of every image that had to be changed.

    Returns:
      A dict an example: ``input``, ``index``, ``negative_elbo``, ``reconstruction``
      and ``kl`` in nats, ``latents``, and ``value``, the same in a line.

    Raises:
      FileNotFoundError, ValueError: in one line, a file that cannot be used.
    """
    rows, stored = inputs.read(loaded, files, note)
    given = loaded.settings
    channels = loaded.input_shape[2]
    way, _ = likelihood(given["binarize"], given["decoder"], channels)
    network = _network(loaded.model, loaded.preprocess, way)
    found = autoencoding.averaged(network, loaded.params, loaded.model_state, stored)
    return [
        {**row, **_told({name: values[i] for name, values in found.items()})}
        for i, row in enumerate(rows)
    ]


def _told(found: dict[str, np.ndarray]) -> dict[str, Any]:
    parts = {name: float(found[name]) for name in ("reconstruction", "kl")}
    total = sum(parts.values())
    latents = [float(number) for number in found["latents"]]
    value = (
        f"negative ELBO {total:.2f} nats (reconstruction {parts['reconstruction']:.2f} "
        f"+ KL {parts['kl']:.2f}), latents {' '.join(f'{x:.2f}' for x in latents)}"
    )
    return {"negative_elbo": total, **parts, "latents": latents, "value": value}


def main(settings: Settings) -> int:
    """Train as the settings say; the exit code."""
    return common.run(NAME, settings, build)


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
