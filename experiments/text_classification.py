"""Train a classifier of texts and compare it with logistic regression on their words.

Without flags: docstrings of the Python standard library, by the package they are
from. Other data: --dataset=stdlib_imports (several labels a text), imdb_reviews
--data_dir=DIR (any TFDS set of texts), csv:PATH --text=COLUMN --label=COLUMN, where
labels separated by | make every label a yes or no.
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
from jaxdl import models, objectives, train
from jaxdl.batch import Batch, context
from jaxdl.data import csv_files, text, text_sets
from jaxdl.data.dataset import Dataset
from jaxdl.data.utf8 import read_utf8
from jaxdl.data.vocabulary import ENDS, words
from jaxdl.models.apply import forward, in_batches
from jaxdl.runs import baselines, texts
from jaxdl.runs.folder import read_json
from jaxdl.train import evaluation_params
from jaxdl.train.task import Plan, Task

NAME = "text_classification"
BATCH = 256  # texts at a time in ``predict``


@dataclasses.dataclass(frozen=True)
class Settings(flags.TrainingSettings):
    """What ``text_classification`` lets one set."""

    dataset: str = option(
        text_sets.DOCSTRINGS, f"{', '.join(text_sets.NAMES)}, another TFDS name"
    )
    text: str = option("", "column of a CSV file that holds the texts; empty: text")
    label: str = option("", "column that holds the labels; empty: label")
    vocabulary: int = option(10_000, "tokens, padding and unknown words among them")
    length: int = option(128, "tokens of a text; longer ones are cut")
    keep: str = option("first", f"which tokens of those: {' or '.join(ENDS)}")
    hashing: bool = option(False, "hash words to tokens in place of listing them")
    model: str = option("conv1d", f"one of {', '.join(models.SEQUENCE_MODELS)}")
    width: int = option(0, "features of a token; 0: the model's usual, as below")
    hidden: str = option("", "size of a layer; of bag_of_words several: 16,16")
    layers: int = option(0, "how many layers")
    bidirectional: bool = option(False, "recurrent layers read backwards as well")
    reverse: bool = option(False, "recurrent layers read backwards alone")
    recurrent_dropout: float = option(0.0, "dropout of a recurrent layer's state")
    pooling: str = option("", "what is kept of all steps: max, mean (recurrent: last)")
    kernel_size: int = option(0, "steps that a convolution sees")
    pool: int = option(0, "steps pooled between two convolutions")
    separable: bool = option(False, "depthwise separable convolutions")
    heads: int = option(0, "attention heads of the transformer")
    kv_heads: int = option(0, "heads of its keys and values")
    positions: str = option("", "its positions: rotary, learned, sinusoidal, none")
    epochs: int = option(12, "passes over the training part", same_run=True)
    batch_size: int = option(64, "examples a step, over all devices")
    learning_rate: float = option(5e-3, "peak learning rate")
    schedule: str = option("cosine", "learning-rate schedule; a wrong one lists all")
    dropout: float = option(0.5, "dropout rate")
    monitor: str = option("accuracy", "validation metric that decides what is best")


# Settings that are arguments of models, where they are given.
_ARGUMENTS = (
    *("width", "layers", "bidirectional", "reverse", "recurrent_dropout"),
    "pooling",
    *("kernel_size", "pool", "separable", "heads", "kv_heads", "positions"),
)
# What suits texts, where it is not given and the model's own suits other sequences.
_USUAL = {"conv1d": {"width": 128, "hidden": 128, "layers": 1, "kernel_size": 3}}


def build(settings: Settings) -> tuple[Task, Plan]:
    """Data, model, step and measures of the settings.

    Raises:
      ValueError, OSError: in one line, for a setting that cannot be used.
    """
    common.check(settings)
    common.choice("model", settings.model, models.SEQUENCE_MODELS)
    data = load(settings)
    kind = text.kind_of(data)
    plan = common.plan(settings, data.train.size)
    arguments = model_arguments(settings, data, kind)
    model = models.create(settings.model, **arguments)
    objective = objective_of(model, kind)
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
        outputs=partial(_outputs, forward(model), kind),
        findings=partial(_findings, data),
        baselines=partial(baselines.texts, data),
        model={
            "model": {"name": settings.model, "arguments": arguments},
            "head": kind,
            "input": inputs,
            "classes": list(data.classes),
            "preprocess": data.preprocess.to_json(),
        },
        layers=lambda: common.layers(model, state, example),
        start=start,
        headline="accuracy",
    )
    return task, plan


def load(settings: Settings) -> Dataset:
    """The texts that settings name, as tokens.

    Raises:
      ValueError, OSError: in one line, for a setting that cannot be used.
    """
    return text.load(
        settings.dataset,
        size=settings.vocabulary,
        length=settings.length,
        keep=settings.keep,
        hashing=settings.hashing,
        text=settings.text,
        label=settings.label,
        data_dir=settings.data_dir or None,
        validation_fraction=settings.validation_fraction or None,
        split_seed=settings.split_seed,
        memory_budget=settings.memory_budget * 2**20,
    )


def model_arguments(settings: Settings, data: Dataset, kind: str) -> dict[str, Any]:
    """The model's arguments: those given, else the model's own.

    Args:
      settings: of a model that there is.
      data: of ``load``.
      kind: of its labels, as ``jaxdl.data.text.kind_of`` says.
    """
    arguments: dict[str, Any] = {
        "classes": 1 if kind == "binary" else len(data.classes),
        "vocabulary": data.preprocess.size,
        **_USUAL.get(settings.model, {}),
    }
    for name in _ARGUMENTS:
        if getattr(settings, name):
            arguments[name] = getattr(settings, name)
    if settings.hidden:
        sizes = common.sizes("hidden", settings.hidden)
        several = settings.model == "bag_of_words"
        if len(sizes) > 1 and not several:
            raise ValueError(
                f"--hidden is {settings.hidden!r}: --model={settings.model} takes one "
                "size; --layers says how many layers have it."
            )
        arguments["hidden"] = sizes if several else sizes[0]
    if settings.model == "transformer" and settings.positions == "learned":
        arguments["max_length"] = settings.length
    if settings.precision != "float32":
        arguments["dtype"] = settings.precision
    return arguments


def objective_of(model: Any, kind: str) -> train.Objective:
    """What a classifier of texts with labels of that kind minimises."""
    if kind == "multiclass":
        return objectives.classification(forward(model))
    return objectives.binary(forward(model), multilabel=kind == "multilabel")


def _outputs(apply: Any, kind: str, state: Any, batch: Batch) -> jax.Array:
    """Probabilities [batch, classes], by the moving average of parameters where there
    is one."""
    logits, _ = apply(
        evaluation_params(state),
        state.model_state,
        batch["inputs"],
        context(batch, state.hyper, False),
        None,
    )
    return _probabilities(logits, kind)


def _probabilities(logits: jax.Array, kind: str) -> jax.Array:
    """Of each label by itself, or of the classes."""
    if kind == "multilabel":
        return jax.nn.sigmoid(logits)
    return objectives.probabilities(logits)


def _findings(data: Dataset, state: Any, probabilities: np.ndarray, source: Any) -> Any:
    """Figures, pictures and the worst texts of the test part."""
    del state
    return texts.findings(data, probabilities, source)


def predict(
    loaded: Any, files: Sequence[str | Path], note: Callable[[str], Any] = print
) -> list[dict[str, Any]]:
    """What a run makes of the texts in files: each line of a text file is a text, or
    each row of a CSV file, in the column that the run read (or ``text``).

    Returns:
      A dict a text: ``input``, ``index``, ``class``, ``probability`` and
      ``probabilities``; of a run on several labels also ``labels``, those that are
      likelier than not, which ``class`` names.

    Raises:
      FileNotFoundError, ValueError: in one line, a file that cannot be used.
    """
    found = [(str(file), *pair) for file in files for pair in _texts(loaded, file)]
    several = read_json(loaded.folder.model).get("head") == "multilabel"
    kind = "multilabel" if several else "multiclass"
    run = jax.jit(lambda tokens: _probabilities(loaded(tokens), kind))
    tokens = loaded.preprocess.encode(line for _, _, line in found)
    blank = [f"{file}[{index}]" for file, index, line in found if not words(line)]
    if blank:
        note(f"without a word, {len(blank)} in all: {', '.join(blank[:10])}")
    rows = []
    for (file, index, _), shares in zip(
        found, in_batches(run, tokens, BATCH), strict=True
    ):
        best = [int(np.argmax(shares))]
        row: dict[str, Any] = {"input": file, "index": index}
        if several:
            best = np.flatnonzero(shares > 0.5).tolist()
            row["labels"] = [loaded.classes[c] for c in best]
        row["class"] = ", ".join(loaded.classes[c] for c in best) or "none"
        row["probability"] = float(np.max(shares))
        rows.append({**row, "probabilities": shares.tolist()})
    return rows


def _texts(loaded: Any, file: str | Path) -> list[tuple[int, str]]:
    """(line or row, text) of the texts of a file."""
    if Path(file).suffix.lower() == ".csv":
        name = loaded.settings.get("text") or "text"
        return list(enumerate(csv_files.column(csv_files.read_csv(file), name, "text")))
    lines = read_utf8(file).splitlines()
    found = [(i, line) for i, line in enumerate(lines) if line.strip()]
    if not found:
        raise ValueError(f"{file} holds no text: give one in each line.")
    return found


def other_data(settings: Settings, own: Dataset) -> Dataset:
    """Another set of texts with the run's vocabulary and classes, for
    ``experiments.evaluate --dataset=...``."""
    return text.other_texts(
        settings.dataset, own, settings.text, settings.label, settings.data_dir
    )


def main(settings: Settings) -> int:
    """Train as the settings say; the exit code."""
    return common.run(NAME, settings, build)


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
