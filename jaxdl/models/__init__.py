"""Models by name, and how any model is run.

``create("mlp", classes=10)`` makes a Flax module; ``init`` and ``forward`` run it,
or a module of your own, or a plain function, all in one calling form. A name and
JSON-able arguments are all that loading a run needs to make the module again.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flax import linen as nn

from jaxdl.models import resnet, sequences, vae
from jaxdl.models.activations import ACTIVATIONS, activation
from jaxdl.models.apply import EVALUATION, Forward, Model, example, forward, init
from jaxdl.models.axes import LOGICAL_AXES
from jaxdl.models.cnn import CNN, deep_cnn, simple_cnn
from jaxdl.models.decoders import (
    TransformerLM,
    TransformerSequenceToSequence,
    attention_maps,
)
from jaxdl.models.gan import DCGAN
from jaxdl.models.initializers import INITIALIZERS, initializer
from jaxdl.models.language import LANGUAGE_MODELS, RecurrentLM
from jaxdl.models.mlp import MLP, LogisticRegression
from jaxdl.models.regression import Regression
from jaxdl.models.resnet import ResNet
from jaxdl.models.sequence_to_sequence import (
    SEQUENCE_TO_SEQUENCE_MODELS,
    LSTMSequenceToSequence,
)
from jaxdl.models.summary import (
    LayerRow,
    count_parameters,
    layer_outputs,
    layer_table,
)
from jaxdl.models.transformer import TransformerEncoder

Constructor = Callable[..., nn.Module]

# What each experiment chooses from: by the kind of its inputs.
IMAGE_MODELS: dict[str, Constructor] = {
    "logistic_regression": LogisticRegression,
    "mlp": MLP,
    "cnn": CNN,
    "simple_cnn": simple_cnn,
    "deep_cnn": deep_cnn,
    "resnet20": resnet.resnet20,
    "resnet32": resnet.resnet32,
    "resnet44": resnet.resnet44,
    "resnet56": resnet.resnet56,
    "resnet110": resnet.resnet110,
    "resnet18": resnet.resnet18,
    "resnet34": resnet.resnet34,
    "resnet50": resnet.resnet50,
    "plain20": resnet.plain20,
    "plain32": resnet.plain32,
    "plain44": resnet.plain44,
    "plain56": resnet.plain56,
    "plain110": resnet.plain110,
    "plain18": resnet.plain18,
    "plain34": resnet.plain34,
}
# Of tokens [batch, time] (0 is padding), or features [batch, time, features].
SEQUENCE_MODELS: dict[str, Constructor] = {
    "bag_of_words": sequences.BagOfWords,
    "conv1d": sequences.Conv1D,
    "conv1d_gru": sequences.Conv1DGRU,
    "rnn": sequences.rnn,
    "lstm": sequences.lstm,
    "gru": sequences.gru,
    "transformer": TransformerEncoder,
}
VECTOR_MODELS: dict[str, Constructor] = {
    "logistic_regression": LogisticRegression,
    "mlp": MLP,
    "regression": Regression,
}
# Of images in [0, 1], to latents and back.
AUTOENCODERS: dict[str, Constructor] = {
    "vae_mlp": vae.vae_mlp,
    "vae_cnn": vae.vae_cnn,
}
# Pairs of a generator and a discriminator of images.
ADVERSARIAL_MODELS: dict[str, Constructor] = {"dcgan": DCGAN}
# All of them: what loading a run looks a name up in.
MODELS: dict[str, Constructor] = {
    **VECTOR_MODELS,
    **IMAGE_MODELS,
    **SEQUENCE_MODELS,
    **LANGUAGE_MODELS,
    **SEQUENCE_TO_SEQUENCE_MODELS,
    **AUTOENCODERS,
    **ADVERSARIAL_MODELS,
}

# Each layer is traced by itself: a program of more takes minutes before it begins.
_DEEPEST = 1000


def create(name: str, /, **arguments: Any) -> nn.Module:
    """The model of that name.

    Args:
      name: a key of ``MODELS``.
      **arguments: its fields, such as ``classes=10``. One that is None counts as not
        given, so that a command line can pass all its options on; lists (as JSON
        has them) become tuples.

    Raises:
      ValueError: an unknown name, an argument that the model doesn't have, or more
        layers than can be traced.
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}: give one of {', '.join(MODELS)}")
    given = {key: _tuples(v) for key, v in arguments.items() if v is not None}
    constructor = MODELS[name]
    module_class: Any = constructor
    while isinstance(module_class, partial):
        module_class = module_class.func
    allowed = [
        field.name
        for field in dataclasses.fields(module_class)
        if field.name not in ("parent", "name")
    ]
    for key in given:
        if key not in allowed:
            raise ValueError(
                f"model {name} has no option {key!r}: its options are "
                + ", ".join(allowed)
            )
    if (depth := _depth(given)) > _DEEPEST:
        raise ValueError(f"a model of {depth} layers: give at most {_DEEPEST}")
    if "classes" in allowed and "classes" not in given:
        raise ValueError(f"model {name} needs to know how many classes: give classes=N")
    return constructor(**given)


def _depth(given: Mapping[str, Any]) -> int:
    """How many layers arguments ask for, where they say it."""
    hidden = given.get("hidden")
    sizes = len(hidden) if isinstance(hidden, tuple) else 0
    return max(given.get("layers", 0), sizes)


def _tuples(value: Any) -> Any:
    """Lists as tuples all the way down: modules must be hashable to be jitted."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


__all__ = [
    "ACTIVATIONS",
    "ADVERSARIAL_MODELS",
    "AUTOENCODERS",
    "CNN",
    "DCGAN",
    "EVALUATION",
    "IMAGE_MODELS",
    "INITIALIZERS",
    "LANGUAGE_MODELS",
    "MLP",
    "MODELS",
    "Forward",
    "LayerRow",
    "LOGICAL_AXES",
    "LSTMSequenceToSequence",
    "LogisticRegression",
    "Model",
    "RecurrentLM",
    "SEQUENCE_MODELS",
    "SEQUENCE_TO_SEQUENCE_MODELS",
    "TransformerEncoder",
    "TransformerLM",
    "TransformerSequenceToSequence",
    "VECTOR_MODELS",
    "Constructor",
    "Regression",
    "ResNet",
    "activation",
    "attention_maps",
    "count_parameters",
    "create",
    "example",
    "forward",
    "init",
    "initializer",
    "layer_outputs",
    "layer_table",
]
