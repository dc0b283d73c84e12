"""Learn a column of a table from the others, and compare with linear models.

Without flags: scikit-learn's diabetes patients. Other tables: --dataset=breast_cancer,
wine, or csv:PATH --target=COLUMN, with missing values, numbers and text. The target
decides head, loss and metrics. --folds=4 cross-validates, all folds as one program.
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
from jaxdl.data import table_sets
from jaxdl.data.csv_files import read_csv
from jaxdl.data.dataset import Dataset
from jaxdl.models.apply import forward
from jaxdl.models.regression import deviation_of, with_target
from jaxdl.objectives.regression import LOSSES
from jaxdl.runs import baselines, population, tables
from jaxdl.runs.members import Member
from jaxdl.train import evaluation_params
from jaxdl.train.task import Plan, Task

NAME = "tabular"

# The module of a network, by the model's name and the target's kind.
MODULES = {
    ("mlp", "regression"): "regression",
    ("mlp", "classes"): "mlp",
    ("linear", "regression"): "regression",
    ("linear", "classes"): "logistic_regression",
}


@dataclasses.dataclass(frozen=True)
class Settings(flags.TrainingSettings):
    """What ``tabular`` lets one set."""

    dataset: str = option("diabetes", "diabetes, breast_cancer, wine, or csv:PATH")
    target: str = option("", "column to tell; empty: the embedded table's own")
    target_kind: str = option("auto", "auto, regression, binary or multiclass")
    ignore: str = option("", "columns not to learn from, separated by commas")
    model: str = option("mlp", "mlp or linear")
    hidden: str = option("64,64", "sizes of the hidden layers of the mlp")
    activation: str = option("relu", "activation of the mlp")
    loss: str = option("auto", f"of a regression: {', '.join(LOSSES)}; auto: mse")
    epochs: int = option(100, "passes over the training part", same_run=True)
    batch_size: int = option(16, "examples a step, over all devices")
    learning_rate: float = option(3e-3, "peak learning rate")
    schedule: str = option("cosine", "learning-rate schedule; a wrong one lists all")
    dropout: float = option(0.1, "dropout rate of the mlp")
    l2: float = option(3e-3, "L2 penalty on weights, added to the loss")
    folds: int = option(0, "cross-validate with so many folds; 0: one division")
    fold: int = option(-1, "train this fold of --folds alone; -1: all of them")
    fold_way: str = option("together", "folds together as one program, or in_turn")


def build(settings: Settings) -> tuple[Task, Plan]:
    """Data, model, step and measures of the settings; of a cross-validation, those of
    the fold that ``fold`` names, or of the first.

    Raises:
      ValueError, OSError: in one line, for a setting that cannot be used.
    """
    if settings.folds:
        return build_folds(settings)[max(settings.fold, 0)]
    _check(settings)
    rows = _rows(settings)
    data = table_sets.divide(rows, **_division(settings))
    return _tasks(settings, rows.target.kind, [data])[0]


def build_folds(settings: Settings) -> list[tuple[Task, Plan]]:
    """As ``build``, for every fold: one step, one evaluation, one plan; what is fitted
    on a fold lies in its data and its state.

    Raises:
      ValueError, OSError: in one line, for a setting that cannot be used.
    """
    _check(settings)
    rows = _rows(settings)
    data = table_sets.folds(rows, settings.folds, **_division(settings))
    return _tasks(settings, rows.target.kind, data)


def members(settings: Settings) -> list[Member]:
    """Every fold, to be trained with the others.

    Raises:
      ValueError, OSError: in one line, for a setting that cannot be used.
    """
    return [
        Member(
            name=f"fold_{number}",
            task=task,
            plan=plan,
            settings=dataclasses.asdict(dataclasses.replace(settings, fold=number)),
        )
        for number, (task, plan) in enumerate(build_folds(settings))
    ]


def _check(settings: Settings) -> None:
    common.check(settings)
    common.choice("model", settings.model, ("mlp", "linear"))
    common.choice("loss", settings.loss, ("auto", *LOSSES))
    for name in ("hidden", "activation"):
        given = getattr(settings, name)
        if settings.model == "linear" and given != getattr(Settings, name):
            raise ValueError(f"--{name} is {given!r}, but --model=linear has none.")
    if settings.data_dir:
        raise ValueError(
            f"--data_dir is {settings.data_dir!r}, but tables are embedded or files: "
            "give --dataset=csv:PATH."
        )
    common.choice("fold_way", settings.fold_way, population.WAYS)
    if settings.folds == 1 or settings.folds < 0:
        raise ValueError(f"--folds is {settings.folds}: give 2 or more, or 0 for none.")
    if not -1 <= settings.fold < max(settings.folds, 0):
        raise ValueError(
            f"--fold is {settings.fold}: give 0 to {settings.folds - 1}, or -1 for all."
            if settings.folds
            else f"--fold is {settings.fold}, but there are no folds: give --folds=4."
        )
    if settings.folds and (settings.seeds > 1 or settings.bootstrap):
        raise ValueError("--folds goes with neither --seeds nor --bootstrap.")


def _rows(settings: Settings) -> table_sets.Rows:
    ignore = [name.strip() for name in settings.ignore.split(",") if name.strip()]
    kind = settings.target_kind
    rows = table_sets.read(settings.dataset, settings.target, kind, ignore)
    if rows.target.classes and settings.loss != "auto":
        raise ValueError(
            f"--loss is {settings.loss!r}, but {rows.target.name} holds classes, whose "
            "loss is the cross-entropy: leave it out, or give --target_kind=regression."
        )
    return rows


def _division(settings: Settings) -> dict[str, Any]:
    """How the rows are divided and kept."""
    return {
        "validation_fraction": settings.validation_fraction or None,
        "split_seed": settings.split_seed,
        "memory_budget": settings.memory_budget * 2**20,
    }


def _tasks(
    settings: Settings, kind: str, parts: Sequence[Dataset]
) -> list[tuple[Task, Plan]]:
    """A task for each data set, all with the same functions and plan."""
    plan = common.plan(settings, min(data.train.size for data in parts))
    name, arguments = _module(settings, kind, len(parts[0].classes))
    model = models.create(name, **arguments)
    objective = _objective(settings, kind, model)
    step, create, start = common.learner(settings, objective, plan.steps)
    evaluation = train.make_evaluation(objective)
    outputs = partial(_outputs, forward(model), kind)
    compiled = jax.jit(outputs)
    inputs = {"shape": list(parts[0].input_shape), "dtype": "float32"}
    example = models.example(inputs)

    def state(data: Dataset, seed: Any) -> train.State:
        params, model_state = models.init(model, jax.random.key(seed), example)
        if kind == "regression":
            targets = data.train.fetch(np.arange(data.train.size))["targets"]
            model_state = with_target(model_state, targets)
        return create(params, model_state, seed)

    def task(data: Dataset) -> Task:
        made = partial(state, data)
        return Task(
            data=data,
            create=made,
            step=step,
            evaluation=evaluation,
            outputs=outputs,
            findings=partial(_findings, data, compiled),
            baselines=partial(baselines.tabular, data),
            model={
                "model": {"name": name, "arguments": arguments},
                "input": inputs,
                "classes": list(data.classes),
                "preprocess": data.preprocess.to_json(),
            },
            layers=lambda: common.layers(model, made, example),
            start=start,
            headline="mae" if kind == "regression" else "accuracy",
        )

    return [(task(data), plan) for data in parts]


def _module(settings: Settings, kind: str, classes: int) -> tuple[str, dict[str, Any]]:
    """Name and arguments of the network."""
    outputs = classes if kind == "multiclass" else 1
    arguments: dict[str, Any] = {"classes": outputs}
    if settings.model == "mlp":
        arguments["hidden"] = common.sizes("hidden", settings.hidden)
        arguments["activation"] = settings.activation
    elif kind == "regression":
        arguments["hidden"] = []
    if settings.precision != "float32":
        arguments["dtype"] = settings.precision
    told = "regression" if kind == "regression" else "classes"
    return MODULES[settings.model, told], arguments


def _objective(settings: Settings, kind: str, model: Any) -> objectives.Objective:
    if kind == "binary":
        return objectives.binary(forward(model))
    if kind == "multiclass":
        return objectives.classification(forward(model))
    loss = "mse" if settings.loss == "auto" else settings.loss
    return objectives.regression(forward(model), loss=loss, unit=deviation_of)


def _outputs(apply: Any, kind: str, state: Any, batch: Batch) -> jax.Array:
    """Values [batch] in the target's unit, or probabilities [batch, classes], by the
    moving average of parameters where there is one."""
    outputs, _ = apply(
        evaluation_params(state),
        state.model_state,
        batch["inputs"],
        context(batch, state.hyper, False),
        None,
    )
    return outputs[:, 0] if kind == "regression" else objectives.probabilities(outputs)


def _findings(
    data: Dataset,
    predict: Callable[[Any, Batch], Any],
    state: Any,
    outputs: np.ndarray,
    source: Any,
) -> Any:
    """Figures and pictures of the test part."""
    judge = tables.classes if data.classes else tables.regression
    return judge(
        data,
        lambda inputs: np.asarray(predict(state, {"inputs": inputs})),
        outputs,
        source,
    )


def predict(
    loaded: Any, files: Sequence[str | Path], note: Callable[[str], Any] = print
) -> list[dict[str, Any]]:
    """What a run makes of each row of CSV files, which have the columns that it was
    trained on (the target may be there, and is not looked at).

    Returns:
      A dict a row: ``input``, ``index``, and ``value``; or of classes ``class``,
      ``probability`` and ``probabilities``.

    Raises:
      FileNotFoundError, ValueError: in one line, a file that cannot be used.
    """
    found = []
    for file in files:
        columns = read_csv(file)
        try:
            outputs = loaded(columns)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
        table = loaded.preprocess
        more = set(columns) - {c.name for c in table.columns} - {table.target}
        if more:
            note(f"{file}: not looked at: {', '.join(sorted(more))}")
        for index, row in enumerate(outputs):
            told = _told(loaded.classes, row)
            found.append({"input": str(file), "index": index, **told})
    return found


def _told(classes: Sequence[str], outputs: jax.Array) -> dict[str, Any]:
    """What the outputs of a row say."""
    if not classes:
        return {"value": float(str(np.asarray(outputs)[0]))}  # float32's digits
    shares = np.asarray(objectives.probabilities(outputs[None]))[0]
    best = int(np.argmax(shares))
    return {
        "class": classes[best],
        "probability": float(shares[best]),
        "probabilities": shares.tolist(),
    }


def other_data(settings: Settings, own: Dataset) -> Dataset:
    """The rows of another CSV file, for ``experiments.evaluate --dataset=csv:PATH``."""
    return table_sets.other_rows(settings.dataset, own)


def main(settings: Settings) -> int:
    """Train as the settings say; the exit code."""
    if not settings.folds or settings.fold >= 0 or settings.dry_run:
        return common.run(NAME, settings, build)

    common.join(NAME, settings)

    def started() -> list[Member]:
        first, *others = members(settings)
        return [dataclasses.replace(first, task=common.started(first.task)), *others]

    return population.execute(
        common.request(NAME, settings), started, settings.fold_way
    )


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
