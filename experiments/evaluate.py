"""Measure a trained run's best parameters again, and compare with its summary.

Without --dataset the run's own data: the figures must equal those of its
summary.json exactly. With it, another data set of the same shape and number of
classes, preprocessed as the run's own.
"""

import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from experiments import common, flags, saved
from experiments.flags import option
from jaxdl import runs
from jaxdl.data.source import Source, in_memory
from jaxdl.runs import outcome
from jaxdl.runs.folder import jsonable, open_folder
from jaxdl.runs.machine import Machine
from jaxdl.runs.summary import read_summary
from jaxdl.runs.text import printable

NAME = "evaluate"
SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What ``evaluate`` lets one set."""

    run: str = option("", "folder of a run")
    dataset: str = option("", "another data set; empty: the run's own")
    data_dir: str = option("", "where TFDS data sets lie; empty: as the run had it")
    split: str = option("test", f"part to measure: {', '.join(SPLITS)}")
    json: bool = option(False, "print JSON, and nothing else, on stdout")
    traceback: bool = option(False, "show the traceback of an error")


def evaluate(settings: Settings) -> dict[str, Any]:
    """The figures of a run's best parameters on a part of its own or other data.

    Returns:
      ``run``, ``dataset``, ``split``, ``step`` (of the parameters), ``metrics``, and
      ``differences`` from the summary's: name to [there, here], empty where all
      are equal, None where the summary has no figures to compare with.

    Raises:
      ValueError, OSError: in one line, for a run or data that cannot be used.
    """
    folder = open_folder(settings.run)
    if folder.members.is_dir():
        names = ", ".join(sorted(place.name for place in folder.members.iterdir()))
        raise ValueError(
            f"{folder.path} holds several runs: give --run={folder.members}/NAME with "
            f"one of {names}."
        )
    experiment = saved.experiment_of(folder)
    asked = saved.settings_of(folder, experiment.Settings)
    # Its parameters are read: where they once began need not exist any more.
    asked = dataclasses.replace(asked, init_from="")
    if settings.data_dir:
        asked = dataclasses.replace(asked, data_dir=settings.data_dir)
    task, plan = common.built(asked, experiment.build)
    if settings.dataset:
        other = dataclasses.replace(asked, dataset=settings.dataset)
        task = dataclasses.replace(task, data=_other(experiment, other, task.data))
    # Nothing is trained here: how many steps a dispatch holds need not be found out.
    machine = Machine.of(task, dataclasses.replace(plan, steps_per_call=1))
    step, state = outcome.best_state(machine, folder)
    if settings.split == "test":
        metrics, _ = outcome.test(machine, state)
    else:
        source = task.data.parts[settings.split]
        metrics = machine.measure(state, machine.checks(source))
    known = None
    if not settings.dataset and settings.split != "train" and folder.summary.is_file():
        known = read_summary(folder.summary)["metrics"].get(settings.split)
    return {
        "run": str(folder.path),
        "dataset": task.data.name,
        "split": settings.split,
        "step": step,
        "metrics": metrics,
        "differences": None if known is None else differences(known, metrics),
    }


def differences(
    there: Mapping[str, float], here: Mapping[str, float]
) -> dict[str, list[float | None]]:
    """The figures that are not the same to the bit: name to [there, here]."""
    pairs = {name: [there.get(name), here.get(name)] for name in {**there, **here}}
    return {name: pair for name, pair in pairs.items() if not _same(*pair)}


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or (math.isnan(one) and math.isnan(other))


def _other(experiment: ModuleType, asked: Any, own: Any) -> Any:
    """The run's data set with the parts of the one asked for: by the experiment's
    ``other_data(settings, own)`` where it has one, else as images."""
    if hasattr(experiment, "other_data"):
        return experiment.other_data(asked, own)
    if not hasattr(asked, "image_size"):
        raise ValueError(
            f"--dataset={asked.dataset}: runs of {experiment.NAME} are measured on "
            "their own data only; leave the flag out."
        )
    return _other_images(asked, own)


def _other_images(asked: Any, own: Any) -> Any:
    """The run's data set with the parts of another, in the run's stored scale."""
    other = common.dataset(asked, asked.image_size)
    if other.input_shape != own.input_shape or len(other.classes) != len(own.classes):
        raise ValueError(
            f"--dataset={asked.dataset} has examples of shape "
            f"{list(other.input_shape)} in {len(other.classes)} classes, but the run "
            f"was trained on {list(own.input_shape)} in {len(own.classes)}."
        )
    if other.classes != own.classes:
        print(
            printable(
                f"classes are named otherwise there ({', '.join(other.classes[:5])}"
                "...): they are compared by number.",
                1_000,
            ),
            file=sys.stderr,
        )
    there, here = other.preprocess.high, own.preprocess.high
    factor = here / there if there and here else 1.0
    parts = {name: _rescaled(part, factor) for name, part in other.parts.items()}
    return dataclasses.replace(own, name=other.name, **parts)


def _rescaled(source: Source, factor: float) -> Source:
    """The same examples in another stored scale."""
    if factor == 1.0:
        return source

    def fetch(indices: Any) -> Any:
        examples = source.fetch(indices)
        inputs = examples["inputs"].astype("float32") * factor
        return {**examples, "inputs": inputs.astype("float32")}

    if source.arrays is None:
        return Source(source.size, fetch)
    arrays = source.arrays
    scaled = (arrays["inputs"].astype("float32") * factor).astype("float32")
    return in_memory(scaled, arrays["targets"])


def main(settings: Settings) -> int:
    """Print the figures; 1 where they are not the run's own."""
    if not settings.run:
        raise ValueError("--run is missing: give the folder of a run.")
    if settings.split not in SPLITS:
        raise ValueError(
            f"--split is {settings.split!r}: give one of {', '.join(SPLITS)}."
        )
    runs.prepare()
    result = evaluate(settings)
    if settings.json:
        print(json.dumps(jsonable(result), indent=2, ensure_ascii=False))
    else:
        _show(result)
    return 1 if result["differences"] else 0


def _show(result: Mapping[str, Any]) -> None:
    print(f"{result['split']} part of {result['dataset']}, step {result['step']}")
    for name, value in result["metrics"].items():
        print(f"  {printable(name)} {value!r}")
    differing = result["differences"]
    if differing is None:
        print("the run has no figures of its own to compare with")
    elif not differing:
        print("equal to the run's own figures")
    else:
        for name, (there, here) in differing.items():
            print(f"different: {name} is {there!r} in summary.json and {here!r} here")


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
