"""Train an image classifier and compare it with logistic regression.

Without flags: scikit-learn's 1,797 handwritten digits, a small CNN. Other data:
--dataset=mnist --data_dir=DIR (any TFDS image set), folder:PATH, npz:PATH.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import numpy as np

from experiments import common, flags
from experiments.flags import option
from jaxdl import data as data_room
from jaxdl import models, objectives, train
from jaxdl.batch import Batch, context, positions
from jaxdl.models.apply import forward
from jaxdl.runs import baselines, pictures
from jaxdl.train import evaluation_params
from jaxdl.train.task import Findings, Plan, Task

NAME = "image_classification"


@dataclasses.dataclass(frozen=True)
class Settings(flags.TrainingSettings):
    """What ``image_classification`` lets one set."""

    model: str = option("cnn", f"one of {', '.join(models.IMAGE_MODELS)}")
    epochs: int = option(60, "passes over the training part", same_run=True)
    batch_size: int = option(64, "examples a step, over all devices")
    learning_rate: float = option(2e-3, "peak learning rate")
    schedule: str = option(
        "cosine", "constant, step, exponential, linear, warmup_cosine, plateau"
    )
    dropout: float = option(0.2, "dropout rate")
    monitor: str = option("accuracy", "validation metric that decides what is best")
    augment: str = option("shift=1", "e.g. shift=2,rotation=10,flip,mixup=0.2; none")
    image_size: int = option(0, "resize images to this many pixels a side; 0: as is")
    activation: str = option("", "activation; empty takes the model's own")
    initializer: str = option(
        "auto", "initializer: auto, zeros, normal:STD, xavier, he..."
    )
    batch_norm: str = option("", "true or false; empty takes the model's own")
    label_smoothing: float = option(0.0, "share of each target spread over all classes")


def build(settings: Settings) -> tuple[Task, Plan]:
    """Data, model, step and measures of the settings.

    Raises:
      ValueError, OSError: in one line, for a setting that cannot be used.
    """
    common.check(settings)
    data = common.dataset(settings, settings.image_size)
    plan = common.plan(settings, data.train.size)
    arguments = _arguments(settings, len(data.classes))
    model = models.create(settings.model, **arguments)
    augmentation = data_room.parse_augmentation(settings.augment)
    prepare = partial(prepare_images, data, augmentation)
    objective = objectives.classification(
        forward(model),
        classes=len(data.classes),
        label_smoothing=settings.label_smoothing,
        prepare=prepare,
        top5=len(data.classes) > 5,
    )
    step, create, start = common.learner(settings, objective, plan.steps)

    inputs = {"shape": list(data.input_shape), "dtype": "float32"}
    example = models.example(inputs)

    def state(seed: Any) -> Any:
        params, model_state = models.init(model, jax.random.key(seed), example)
        return create(params, model_state, seed)

    task = Task(
        data=data,
        create=state,
        step=step,
        evaluation=train.make_evaluation(objective),
        outputs=partial(_probabilities, forward(model), prepare),
        findings=partial(_findings, data),
        baselines=partial(baselines.classification, data),
        model={
            "model": {"name": settings.model, "arguments": arguments},
            "input": inputs,
            "classes": list(data.classes),
            "preprocess": data.preprocess.to_json(),
        },
        layers=lambda: common.layers(model, state, example),
        start=start,
        headline="accuracy",
        imports=("sklearn.linear_model", "sklearn.metrics"),
    )
    return task, plan


def _arguments(settings: Settings, classes: int) -> dict[str, Any]:
    """The model's arguments: those given, else the model's own."""
    common.choice("model", settings.model, models.IMAGE_MODELS)
    arguments: dict[str, Any] = {"classes": classes}
    if settings.activation:
        arguments["activation"] = settings.activation
    if settings.initializer != "auto":
        arguments["initializer"] = settings.initializer
    if settings.batch_norm:
        if settings.batch_norm not in ("true", "false"):
            raise ValueError(
                f"--batch_norm is {settings.batch_norm!r}: give true or false."
            )
        arguments["batch_norm"] = settings.batch_norm == "true"
    if settings.precision != "float32":
        arguments["dtype"] = settings.precision
    return arguments


def prepare_images(
    data: Any, augmentation: Any, batch: Batch, key: Any, training: bool
) -> Batch:
    """Stored integers to normalised images; augmented while training, where
    ``augmentation`` is not None."""
    inputs, targets = data.preprocess.apply(batch["inputs"]), batch["targets"]
    if training and augmentation is not None:
        inputs, targets = data_room.augment(
            augmentation,
            inputs,
            targets,
            key,
            positions(batch),
            classes=len(data.classes),
            mask=batch.get("mask"),
        )
    return {**batch, "inputs": inputs, "targets": targets}


def _probabilities(apply: Any, prepare: Any, state: Any, batch: Batch) -> Any:
    """[batch, classes], by the moving average of parameters where there is one."""
    batch = prepare(batch, None, False)
    logits, _ = apply(
        evaluation_params(state),
        state.model_state,
        batch["inputs"],
        context(batch, state.hyper, False),
        None,
    )
    return jax.nn.softmax(logits.astype("float32"))


def _findings(
    data: Any, state: Any, probabilities: np.ndarray, source: Any
) -> Findings:
    """Precision, recall, F1; confusion matrix and the worst test images."""
    del state
    stored = source.fetch(np.arange(source.size))
    return pictures.classification(
        probabilities, stored["targets"], stored["inputs"], data.classes
    )


def main(settings: Settings) -> int:
    """Train as the settings say; the exit code."""
    return common.run(NAME, settings, build)


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
