"""Keras 3 on JAX, as its documentation trains a model: ``compile``, ``train_on_batch``.

The environment says ``KERAS_BACKEND=jax`` before this is imported.
"""

from itertools import count
from pathlib import Path
from typing import Any

import jax
import keras
from keras import layers

from experiments.benchmarks.cases import (
    LEARNING_RATE,
    Arrays,
    Case,
    Side,
    load_parameters,
    make_batches,
)


def _mlp(case: Case) -> list[Any]:
    hidden = [
        layers.Dense(size, activation="relu", name=f"Dense_{i}")
        for i, size in enumerate(case.arguments["hidden"])
    ]
    return [*hidden, layers.Dense(case.arguments["classes"], name="output")]


def _simple_cnn(case: Case) -> list[Any]:
    return [
        layers.Conv2D(30, 5, activation="relu", name="Conv_0"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(100, activation="relu", name="Dense_0"),
        layers.Dense(case.arguments["classes"], name="output"),
    ]


MODELS = {"mlp": _mlp, "simple_cnn": _simple_cnn}


def make(case: Case, parameters: Path, cores: int, device: str) -> Side:
    """The case with the parameters of the file.

    Raises:
      LookupError: it is not written here.
    """
    del cores, device  # XLA takes the cores it may use
    if case.model not in MODELS:
        raise LookupError(f"keras has no case {case.name}")
    models = [_model(case, load_parameters(parameters)) for _ in range(case.folds)]
    batches, calls = make_batches(case), count()
    # The loss that it gives is the mean since it was last told to forget.

    def take() -> Any:
        batch = batches[next(calls) % len(batches)]
        inputs, targets = batch["inputs"], batch["targets"]
        if case.folds == 1:
            inputs, targets = inputs[None], targets[None]
        taken = []
        for model, *part in zip(models, inputs, targets, strict=True):
            model.reset_metrics()
            taken.append(model.train_on_batch(*part))
        return taken

    def losses(taken: Any) -> list[float]:
        jax.block_until_ready(taken)
        return [sum(map(float, taken)) / len(taken)]

    return Side(take, losses, 1, {"keras": keras.__version__})


def _model(case: Case, given: Arrays) -> Any:
    model = keras.Sequential([keras.Input(case.shape), *MODELS[case.model](case)])
    for layer in model.layers:
        if layer.weights:
            layer.set_weights([given[f"{layer.name}/{w.name}"] for w in layer.weights])
    model.compile(
        keras.optimizers.Adam(LEARNING_RATE, epsilon=1e-8),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model
