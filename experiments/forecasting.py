"""Forecast a column of a series from the window before, and compare with baselines.

Without flags: the membrane potential of a neuron, 5 ms ahead, by a dense network. Other
series: --dataset=csv:PATH --target=COLUMN --horizon=24, rows in order of time. Errors
are in the target's own unit, beside those of persistence and ridge regression.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments import common, flags
from experiments.flags import option
from jaxdl import models, objectives, train
from jaxdl.batch import Batch, context
from jaxdl.data import series_sets, windows
from jaxdl.data.csv_files import read_csv
from jaxdl.data.forecasting import Forecasting
from jaxdl.data.windows import Windows
from jaxdl.models.apply import Forward, forward
from jaxdl.objectives.regression import LOSSES
from jaxdl.runs import forecasting as pictures
from jaxdl.runs.baselines.forecasting import naive
from jaxdl.train import evaluation_params
from jaxdl.train.task import Plan, Task

NAME = "forecasting"
MODELS = ("mlp", "conv1d", "conv1d_gru", "rnn", "lstm", "gru", "transformer")
TELLS = ("change", "value")


@dataclasses.dataclass(frozen=True)
class Settings(flags.TrainingSettings):
    """What ``forecasting`` lets one set."""

    dataset: str = option("neuron", f"{', '.join(series_sets.EMBEDDED)}, or csv:PATH")
    target: str = option("", "column to forecast; empty: the embedded series' own")
    ignore: str = option("", "columns not to learn from, separated by commas")
    horizon: str = option("10", "rows ahead: 24, or 1:24 for the path there")
    window: int = option(12, "rows that a forecast is made from")
    sampling_rate: int = option(1, "take every so many rows of the series in a window")
    split: str = option("50/25/25", "percent that train, validate and test, in order")
    predict: str = option("change", "what networks tell: change since now, or value")
    relative: bool = option(True, "show features relative to now, beside now")
    loss: str = option("mae", f"one of {', '.join(LOSSES)}")
    model: str = option("mlp", f"one of {', '.join(MODELS)}")
    hidden: str = option("", "sizes of the mlp's layers (empty: 256), or the one size")
    layers: int = option(0, "how many layers; 0: the model's own, as below")
    bidirectional: bool = option(False, "recurrent layers read backwards as well")
    recurrent_dropout: float = option(0.0, "dropout of a recurrent layer's state")
    kernel_size: int = option(0, "steps that a convolution sees")
    width: int = option(0, "of the transformer's vectors")
    heads: int = option(0, "attention heads of the transformer")
    epochs: int = option(20, "passes over the training part", same_run=True)
    optimizer: str = option("adamw", "sgd, adam, lion, muon...; a wrong one lists all")
    weight_decay: float = option(2.0, "decoupled decay of weights, not biases or norms")
    learning_rate: float = option(3e-3, "peak learning rate")
    schedule: str = option("cosine", "learning-rate schedule; a wrong one lists all")
    clip_norm: float = option(1.0, "bound on the gradient's norm; 0: none")
    dropout: float = option(0.3, "dropout rate")
    monitor: str = option("mae", "validation metric that decides what is best")


# Settings that are arguments of models, where they are given.
_ARGUMENTS = (
    *("layers", "bidirectional", "recurrent_dropout", "kernel_size"),
    *("width", "heads"),
)


def build(settings: Settings) -> tuple[Task, Plan]:
    """Data, model, step and measures of the settings.

    Raises:
      ValueError, OSError: in one line, for a setting that cannot be used.
    """
    _check(settings)
    data = _data(settings)
    fitted = data.preprocess
    plan = common.plan(settings, data.train.size)
    arguments = _arguments(settings, len(fitted.horizons))
    model = models.create(settings.model, **arguments)
    run = _in_own_unit(forward(model), fitted)
    objective = objectives.regression(
        run, loss=settings.loss, unit=lambda _: np.float32(fitted.scale)
    )
    step, create, start = common.learner(settings, objective, plan.steps)
    inputs = {"shape": list(fitted.input_shape), "dtype": "float32"}
    example = models.example(inputs)
    found = functools.cache(lambda: naive(data))

    def state(seed: Any) -> Any:
        params, model_state = models.init(model, jax.random.key(seed), example)
        return create(params, model_state, seed)

    task = Task(
        data=data,
        create=state,
        step=step,
        evaluation=train.make_evaluation(objective),
        outputs=partial(_outputs, run),
        findings=lambda state, values, _: pictures.findings(data, found, values),
        baselines=lambda: pictures.told_baselines(data, found()),
        model={
            "model": {"name": settings.model, "arguments": arguments},
            "input": inputs,
            "classes": [],
            "preprocess": fitted.to_json(),
        },
        layers=lambda: common.layers(model, state, example),
        start=start,
        headline="mae",
    )
    return task, plan


def _check(settings: Settings) -> None:
    common.check(settings)
    common.choice("model", settings.model, MODELS)
    common.choice("loss", settings.loss, LOSSES)
    common.choice("predict", settings.predict, TELLS)
    for name in ("window", "sampling_rate"):
        if getattr(settings, name) < 1:
            raise ValueError(f"--{name} is {getattr(settings, name)}: give 1 or more.")
    for name in ("validation_fraction", "split_seed", "data_dir"):
        if getattr(settings, name):
            raise ValueError(
                f"--{name} is given, but a series is divided by time and read from "
                "--dataset: give --split."
            )


def _data(settings: Settings) -> Windows:
    table, own = series_sets.text_columns(settings.dataset)
    plan = windows.Plan(
        windows.parse_horizons(settings.horizon),
        settings.window,
        settings.sampling_rate,
        windows.parse_shares(settings.split),
        settings.predict == "change",
        settings.relative,
    )
    ignore = [name.strip() for name in settings.ignore.split(",") if name.strip()]
    target, budget = settings.target or own, settings.memory_budget * 2**20
    with _named(settings.dataset):
        return windows.make(settings.dataset, table, target, plan, ignore, budget)


@contextlib.contextmanager
def _named(source: str | Path) -> Iterator[None]:
    """Says in what an error was found."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def _arguments(settings: Settings, outputs: int) -> dict[str, Any]:
    """The model's arguments: those given, else the model's own."""
    arguments: dict[str, Any] = {"classes": outputs}
    for name in _ARGUMENTS:
        if getattr(settings, name):
            arguments[name] = getattr(settings, name)
    dense = settings.model == "mlp"
    if settings.hidden or dense:
        sizes = common.sizes("hidden", settings.hidden or "256")
        if len(sizes) > 1 and not dense:
            raise ValueError(
                f"--hidden is {settings.hidden!r}: --model={settings.model} takes one "
                "size; --layers says how many layers have it."
            )
        arguments["hidden"] = sizes if dense else sizes[0]
    if settings.precision != "float32":
        arguments["dtype"] = settings.precision
    return arguments


def _in_own_unit(apply: Forward, fitted: Forecasting) -> Forward:
    """The network from stored windows to forecasts in the target's unit."""

    def run(
        params: Any, model_state: Any, inputs: Any, context: Any, key: Any
    ) -> tuple[Any, Any]:
        seen = fitted.apply(inputs)
        outputs, model_state = apply(params, model_state, seen, context, key)
        return fitted.restore(outputs, inputs), model_state

    return run


def _outputs(run: Forward, state: Any, batch: Batch) -> jax.Array:
    """Forecasts [batch, horizons], by the moving average of parameters where there is
    one."""
    forecasts, _ = run(
        evaluation_params(state),
        state.model_state,
        batch["inputs"],
        context(batch, state.hyper, False),
        None,
    )
    return forecasts


def predict(
    loaded: Any, files: Sequence[str | Path], note: Callable[[str], Any] = print
) -> list[dict[str, Any]]:
    """What a run forecasts after the last row of each CSV file, which has the columns
    that it was trained on and at least a window's rows.

    Returns:
      A dict a forecast: ``input``, ``index`` (the rows ahead), ``time`` (where there
      are dates), ``target`` (its name) and ``value`` in its unit.

    Raises:
      FileNotFoundError, ValueError: in one line, a file that cannot be used.
    """
    fitted: Forecasting = loaded.preprocess
    rows = []
    for file in files:
        table = read_csv(file)
        with _named(file):
            values = np.asarray(loaded(table))[0]
            times = windows.times_ahead(fitted, table)
        when = f" from {times[0]} on" if times[0] else ""
        note(f"{file}: {fitted.columns.target} after its last row{when}")
        for ahead, time, value in zip(fitted.horizons, times, values, strict=True):
            rows.append(
                {
                    "input": str(file),
                    "index": ahead,
                    "time": time,
                    "target": fitted.columns.target,
                    "value": float(value),
                }
            )
    return rows


def other_data(settings: Settings, own: Windows) -> Windows:
    """All of another series, in windows as the run's, with what was fitted there."""
    table, _ = series_sets.text_columns(settings.dataset)
    with _named(settings.dataset):
        return windows.measured_on(own, settings.dataset, table)


def main(settings: Settings) -> int:
    """Train as the settings say; the exit code."""
    return common.run(NAME, settings, build)


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
