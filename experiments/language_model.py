"""Train a language model, character by character or word by word, and let it write.

Without flags: a Transformer on a million characters of the Python standard library's
own source. Other data: --dataset=tiny_shakespeare --data_dir=DIR (or another TFDS
set of texts), text:PATH. Go on writing with python -m experiments.generate.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments import common, flags
from experiments.flags import option
from jaxdl import models, objectives, runs, train
from jaxdl.data import language as texts
from jaxdl.data.symbols import LEVELS, PADDING, Symbols
from jaxdl.data.utf8 import read_utf8
from jaxdl.models.apply import forward
from jaxdl.runs import baselines, language
from jaxdl.train.task import Plan, Task

NAME = "language_model"
MODELS = tuple(name.removesuffix("_lm") for name in models.LANGUAGE_MODELS)
TEMPERATURES = (0.0, 0.5, 0.8, 1.0)
PROMPT, LENGTH = 24, 240


@dataclasses.dataclass(frozen=True)
class Settings(flags.TrainingSettings):
    """What ``language_model`` lets one set."""

    dataset: str = option(texts.STDLIB, f"{', '.join(texts.NAMES)}, another TFDS name")
    model: str = option("transformer", f"one of {', '.join(MODELS)}")
    level: str = option("character", f"what a token is: {' or '.join(LEVELS)}")
    context: int = option(64, "tokens of a training window")
    vocabulary: int = option(0, "symbols known; 0: all characters, or 10,000 words")
    width: int = option(0, "features of a layer; 0: the model's own")
    layers: int = option(0, "how many layers; 0: the model's own")
    heads: int = option(0, "attention heads; 0: the model's own")
    kv_heads: int = option(0, "heads of keys and values; 0: as many as heads")
    positions: str = option("", "rotary, learned, sinusoidal, none; empty: rotary")
    tied: bool = option(True, "the embedding is the output layer too")
    remat: bool = option(False, "compute activations twice, to save memory")
    recurrent_dropout: float = option(0.0, "dropout of a recurrent model's state")
    max_steps: int = option(1280, "steps; 0: epochs", same_run=True)
    batch_size: int = option(16, "windows a step, over all devices")
    optimizer: str = option("muon", "adamw, muon, sgd...; a wrong one lists all")
    learning_rate: float = option(6e-3, "peak learning rate")
    schedule: str = option("warmup_cosine", "a wrong one lists all")
    weight_decay: float = option(0.1, "decoupled decay of weights, not biases or norms")
    clip_norm: float = option(1.0, "bound on the gradient's norm; 0: none")
    evaluate_every: int = option(256, "steps between validation checks")
    prompt: str = option("", "samples begin with this; empty: as the validation part")


def build(settings: Settings) -> tuple[Task, Plan]:
    """Text, model, step and measures of the settings.

    Raises:
      ValueError, OSError: in one line, for a setting that cannot be used.
    """
    _check(settings)
    data = _data(settings)
    plan = common.plan(settings, data.train.size)
    prompt = _prompt(settings, data)
    name, arguments = f"{settings.model}_lm", _arguments(settings, len(data.classes))
    model = models.create(name, **arguments)
    objective = objectives.language(
        forward(model), characters=settings.level == "character"
    )
    step, create, start = common.learner(settings, objective, plan.steps)
    inputs = {"shape": list(data.input_shape), "dtype": "int32"}
    example = models.example(inputs)

    def state(seed: Any) -> Any:
        params, model_state = models.init(model, jax.random.key(seed), example)
        return create(params, model_state, seed)

    task = Task(
        data=data,
        create=state,
        step=step,
        evaluation=train.make_evaluation(objective),
        outputs=partial(language.token_losses, forward(model)),
        findings=partial(language.findings, model),
        baselines=partial(baselines.language, data),
        model={
            "model": {"name": name, "arguments": arguments},
            "input": inputs,
            "classes": list(data.classes),
            "preprocess": data.preprocess.to_json(),
        },
        layers=lambda: common.layers(model, state, example),
        start=start,
        headline="bits_per_character"
        if settings.level == "character"
        else "perplexity",
        show=partial(
            language.samples, model, data.preprocess, prompt, LENGTH, TEMPERATURES
        ),
    )
    return task, plan


def _check(settings: Settings) -> None:
    common.check(settings)
    common.choice("model", settings.model, MODELS)
    if settings.split_seed:
        raise ValueError(
            f"--split_seed={settings.split_seed}: a text is cut by position, so there "
            "is nothing to draw; leave it out."
        )


def _data(settings: Settings, known: Symbols | None = None) -> Any:
    return texts.load(
        settings.dataset,
        context=settings.context,
        level=settings.level,
        vocabulary=settings.vocabulary,
        data_dir=settings.data_dir or None,
        validation_fraction=settings.validation_fraction or None,
        known=known,
    )


def _prompt(settings: Settings, data: Any) -> str:
    """What samples begin with."""
    if settings.prompt:
        return language.check_prompt(settings.prompt, data.preprocess)
    first = data.validation.fetch(np.zeros(1, int))["inputs"][0][:PROMPT]
    return data.preprocess.decode(first[first > PADDING])


def _arguments(settings: Settings, classes: int) -> dict[str, Any]:
    """The model's arguments: those given, else the model's own."""
    arguments: dict[str, Any] = {"classes": classes, "tied": settings.tied}
    given = ("width", "layers", "heads", "kv_heads", "positions", "remat")
    for name in (*given, "recurrent_dropout"):
        if getattr(settings, name):
            arguments[name] = getattr(settings, name)
    if settings.model == "transformer":
        arguments["max_length"] = settings.context
    if settings.precision != "float32":
        arguments["dtype"] = settings.precision
    return arguments


def other_data(settings: Settings, own: Any) -> Any:
    """Another text, read by the symbols of the run's own."""
    return _data(settings, own.preprocess)


def predict(
    loaded: runs.Loaded, files: Sequence[str | Path], note: Callable[[str], Any] = print
) -> list[dict[str, Any]]:
    """How surprising a run finds each text file: ``bits_per_character`` of it, as
    ``value`` too, and ``perplexity`` a token. ``note`` is told of unknown symbols.

    Raises:
      FileNotFoundError, ValueError: a file that cannot be used.
    """
    rows = []
    for file in files:
        found = language.surprise(loaded, read_utf8(file), str(file), note)
        shown = ", ".join(f"{k} {v:.4f}" for k, v in found.items())
        rows.append({"input": str(file), "index": None, "value": shown, **found})
    return rows


def main(settings: Settings) -> int:
    """Train as the settings say; the exit code."""
    return common.run(NAME, settings, build)


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
