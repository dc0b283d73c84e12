"""Train a model that writes one text from another, character by character.

Without flags: sums of numbers up to 999 written as text, by a Transformer, tested on
sums that training holds in neither order. Other data: --dataset=dates (dates in many
formats to ISO 8601), csv:PATH --source=COLUMN --target=COLUMN. An answer counts when
the model writes it whole and without a fault (exact_match).
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax

from experiments import common, flags
from experiments.flags import option
from jaxdl import models, objectives, runs, train
from jaxdl.batch import Batch
from jaxdl.data import csv_files, pairs
from jaxdl.data.drawn_pairs import DRAWN
from jaxdl.data.utf8 import read_utf8
from jaxdl.models.apply import forward
from jaxdl.runs import baselines, translation
from jaxdl.train.task import Plan, Task

NAME = "sequence_to_sequence"
_SUFFIX = "_seq2seq"
MODELS = tuple(
    name.removesuffix(_SUFFIX) for name in models.SEQUENCE_TO_SEQUENCE_MODELS
)


@dataclasses.dataclass(frozen=True)
class Settings(flags.TrainingSettings):
    """What ``sequence_to_sequence`` lets one set."""

    dataset: str = option("addition", f"{', '.join(DRAWN)} or csv:PATH")
    source: str = option("source", "column of the CSV file that is read")
    target: str = option("target", "column of the CSV file that is to be written")
    examples: int = option(0, "pairs to draw; 0: the set's own number")
    model: str = option("transformer", f"one of {', '.join(MODELS)}")
    width: int = option(64, "features of embeddings and layers")
    layers: int = option(0, "Transformer layers; 0: the model's own")
    heads: int = option(0, "attention heads; 0: the model's own")
    epochs: int = option(8, "passes over the training part", same_run=True)
    schedule: str = option("warmup_cosine", "a wrong one lists all")
    clip_norm: float = option(1.0, "bound on the gradient's norm; 0: none")
    monitor: str = option("exact_match", "validation metric that decides what is best")


def build(settings: Settings) -> tuple[Task, Plan]:
    """Pairs, model, step and measures of the settings.

    Raises:
      ValueError, OSError: in one line, for a setting that cannot be used.
    """
    _check(settings)
    data = _data(settings)
    plan = common.plan(settings, data.train.size)
    name, arguments = f"{settings.model}{_SUFFIX}", _arguments(settings, data)
    model = models.create(name, **arguments)
    objective = objectives.next_token(forward(model), _prepare)
    write = translation.writer(model, data.preprocess)
    step, create, start = common.learner(settings, objective, plan.steps)
    inputs = {
        side: {"shape": [characters.length], "dtype": "int32"}
        for side, characters in data.preprocess.sides.items()
    }
    example = models.example(inputs)

    def state(seed: Any) -> Any:
        params, model_state = models.init(model, jax.random.key(seed), example)
        return create(params, model_state, seed)

    task = Task(
        data=data,
        create=state,
        step=step,
        evaluation=translation.with_exact_match(
            train.make_evaluation(objective), write
        ),
        outputs=partial(translation.written, write),
        findings=partial(translation.findings, model, data.preprocess),
        baselines=partial(baselines.pairs, data),
        model={
            "model": {"name": name, "arguments": arguments},
            "input": inputs,
            "classes": list(data.classes),
            "preprocess": data.preprocess.to_json(),
        },
        layers=lambda: common.layers(model, state, example),
        start=start,
        headline="exact_match",
        show=translation.show(write, data),
    )
    return task, plan


def _check(settings: Settings) -> None:
    """Raise ValueError in one line for a setting that is out of its range."""
    common.check(settings)
    common.choice("model", settings.model, MODELS)
    for name, least in {"width": 1, "layers": 0, "heads": 0, "examples": 0}.items():
        number = getattr(settings, name)
        if number < least:
            raise ValueError(f"--{name} is {number}: give {least} or more.")
    if settings.data_dir:
        raise ValueError(
            f"--data_dir={settings.data_dir} is for TFDS, and pairs of texts are "
            "drawn or read from CSV: leave it out."
        )


def _data(settings: Settings, known: pairs.TextPairs | None = None) -> Any:
    return pairs.load(
        settings.dataset,
        source=settings.source,
        target=settings.target,
        examples=settings.examples or None,
        validation_fraction=settings.validation_fraction or None,
        split_seed=settings.split_seed,
        known=known,
        memory_budget=settings.memory_budget * 2**20,
    )


def _arguments(settings: Settings, data: Any) -> dict[str, Any]:
    """The model's arguments: those given, else the model's own."""
    sides = data.preprocess.sides
    arguments: dict[str, Any] = {
        "classes": len(sides["target"].names),
        "vocabulary": len(sides["source"].names),
        "width": settings.width,
    }
    for name in ("layers", "heads"):
        if getattr(settings, name):
            arguments[name] = getattr(settings, name)
    if settings.model == "transformer":
        arguments["max_length"] = max(side.length for side in sides.values())
    if settings.precision != "float32":
        arguments["dtype"] = settings.precision
    return arguments


def _prepare(batch: Batch, key: Any, training: bool) -> Batch:
    """Teacher forcing: the decoder reads the target, a token behind."""
    del key, training
    read = {"source": batch["inputs"], "target": pairs.shifted(batch["targets"])}
    return {**batch, "inputs": read}


def other_data(settings: Settings, own: Any) -> Any:
    """Other pairs, read by the vocabularies of the run's own."""
    drawn = settings.dataset in DRAWN
    asked = settings if drawn else dataclasses.replace(settings, examples=0)
    return _data(asked, own.preprocess)


def predict(
    loaded: runs.Loaded, files: Sequence[str | Path], note: Callable[[str], Any] = print
) -> list[dict[str, Any]]:
    """What a run writes from each line of text files, or each row of CSV files in the
    column that the run read (or ``source``).

    Args:
      loaded: the run, from ``jaxdl.runs.load``.
      files: UTF-8; empty lines are left out.
      note: told of every text with characters that training did not hold.

    Returns:
      A dict a text: ``input`` (the file), ``index`` (of the line or row, from 0),
      ``source`` and ``value``, which is what was written.

    Raises:
      FileNotFoundError, ValueError: in one line, a file that cannot be used.
    """
    rows: list[dict[str, Any]] = [
        {"input": str(file), "index": index, "source": text}
        for file in files
        for index, text in _sources(loaded, file)
    ]
    known = loaded.preprocess.source
    for row in rows:
        place, text = f"{row['input']}[{row['index']}]", row["source"]
        if len(text) >= known.length:
            raise ValueError(
                f"{place} has {len(text)} characters: the run was trained on at most "
                f"{known.length - 1}."
            )
        if unknown := known.unknown(text):
            note(f"{place}: training held no {unknown!r}")
    texts = [row["source"] for row in rows]
    answers = translation.answers(loaded.model, loaded.preprocess, loaded.params, texts)
    return [{**row, "value": a} for row, a in zip(rows, answers, strict=True)]


def _sources(loaded: runs.Loaded, file: str | Path) -> list[tuple[int, str]]:
    """(line or row, text) of the texts of a file; at least one."""
    if Path(file).suffix.lower() == ".csv":
        name = loaded.settings.get("source") or "source"
        texts = csv_files.column(csv_files.read_csv(file), name, "source")
    else:
        texts = [line.strip() for line in read_utf8(file).splitlines()]
    found = [(index, text) for index, text in enumerate(texts) if text]
    if not found:
        raise ValueError(f"{file} is empty: give a source a line.")
    return found


def main(settings: Settings) -> int:
    """Train as the settings say; the exit code."""
    return common.run(NAME, settings, build)


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
