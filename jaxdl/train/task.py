"""Task: what an experiment hands over to be trained."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from jaxdl.batch import Batch
from jaxdl.parameters import path_name
from jaxdl.train.evaluation import Evaluation
from jaxdl.train.progress import Rule
from jaxdl.train.step import Step

Figures = dict[str, float]
Picture = Callable[[Path], None]
# File name to a text, or to the function that draws the picture of that name.
Shown = Mapping[str, str | Picture]


@dataclasses.dataclass(frozen=True)
class Findings:
    """What the test part says beyond the evaluation's metrics.

    Attributes:
      metrics: name to value.
      pictures: file name (``confusion_matrix.png``) to the function drawing it, or
        (``translations.txt``) to a text.
      notes: lines that nobody should miss; printed with the result, and in the report.
    """

    metrics: Figures
    pictures: Shown
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Task:
    """Data, model, step and measures; pure functions, and no way to run them.

    Attributes:
      data: its ``train``, ``validation`` and ``test`` are sources.
      create: the state of a seed; pure, so that it vmaps.
      step: the training step.
      evaluation: ``(state, batch) -> metrics``.
      outputs: ``(state, batch) -> pytree`` with a row an example; None where the
        findings need none.
      findings: ``(state, outputs, source)``: what the best state and its outputs on
        the test part show.
      baselines: name to metrics on the test part, of what is no network.
      model: JSON data to build the model and its preprocessing again.
      layers: rows (path, kind, output shape, parameters).
      start: the other run that ``create`` takes from (``jaxdl.runs.warm_start.Start``),
        if any.
      headline: the metric that names the result.
      show: what a state can do, as texts and pictures: samples, reconstructions. Told
        of the state at the start and at about ten checks; equal states must show
        the same.
      imports: modules that findings and baselines need, and which take a while.
    """

    data: Any
    create: Callable[[Any], Any]
    step: Step
    evaluation: Evaluation
    outputs: Callable[[Any, Batch], Any] | None
    findings: Callable[[Any, Any, Any], Findings]
    baselines: Callable[[], dict[str, Figures]]
    model: Mapping[str, Any]
    layers: Callable[[], list[Any]]
    start: Any = None
    headline: str = "accuracy"
    show: Callable[[Any], Shown] | None = None
    imports: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long and in which way a task is trained.

    Attributes:
      batch_size: examples a step, over all devices.
      steps: in all.
      evaluate_every: steps between validation checks.
      save_every: steps between checkpoints; 0 leaves it to time.
      rule: what is best, and when to stop.
      seed: of the order of the examples, and of the state.
      parallel: name of a placement.
      mesh: of devices, such as "data:4,model:2"; empty: all split the batch.
      steps_per_call: steps a dispatch; 0 decides by backend and model.
      evaluation_batch: examples of a batch that is only measured; more than a small
        training batch, which would spend more on dispatching than on computing.
    """

    batch_size: int
    steps: int
    evaluate_every: int
    save_every: int
    rule: Rule
    seed: int = 0
    parallel: str = "auto"
    mesh: str = ""
    steps_per_call: int = 0
    evaluation_batch: int = 256


def steps_of(epochs: int, examples: int, batch_size: int) -> int:
    """Steps of so many passes; a last batch may begin the next pass."""
    return -(-epochs * examples // batch_size)


def layout(state: Any) -> list[tuple[str, tuple[int, ...], str, int]]:
    """Path, shape, dtype and bytes of every array of a state."""
    rows = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        rows.append((path_name(path), tuple(leaf.shape), str(leaf.dtype), leaf.nbytes))
    return rows
