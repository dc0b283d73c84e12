"""Running a comparison of networks: what its commands do alike."""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from experiments.flags import option
from jaxdl import data as data_room
from jaxdl import optimizers, runs
from jaxdl.runs import comparison, environment, screen
from jaxdl.runs.flagfile import write_flagfile
from jaxdl.runs.folder import (
    RunFolder,
    create,
    default_workdir,
    jsonable,
    lock,
    write_json,
    write_text,
)

# Told of each thing done, in a line.
Say = Callable[[str], None]
S = TypeVar("S", bound="ComparisonSettings")
B = TypeVar("B")


@dataclasses.dataclass(frozen=True)
class ComparisonSettings:
    """What every comparison lets one set: where it goes, and how it is told."""

    workdir: str = option("", "run folder; empty: checkpoints/...")
    json: bool = option(False, "print JSON alone; progress goes to stderr")
    traceback: bool = option(False, "show the traceback of an error")


@dataclasses.dataclass(frozen=True)
class DataSettings(ComparisonSettings):
    """What a comparison on a data set lets one set besides."""

    dataset: str = option("digits", "embedded name, TFDS name, npz:PATH, folder:PATH")
    data_dir: str = option("", "where TFDS data sets lie")
    split_seed: int = option(0, "seed of the splits")


# A repeated comparison is a new one, in a folder of its own.
NOT_KEPT = tuple(field.name for field in dataclasses.fields(ComparisonSettings))


class Found(Protocol):
    """What a comparison gives."""

    def tables(self) -> Sequence[comparison.Table]:
        """What is printed."""

    def to_json(self) -> Mapping[str, Any]:
        """All numbers."""

    def draw(self, folder: RunFolder) -> Mapping[str, str]:
        """Draw ``plots/``; file name to caption."""


def names(text: str) -> list[str]:
    """Names separated by commas, each once, in the order given."""
    parts = [part.strip() for part in text.split(",")]
    return list(dict.fromkeys(part for part in parts if part))


def percent(shares: np.ndarray, digits: int = 1) -> str:
    """Mean and deviation over the seeds of what are parts of 1."""
    form = f".{digits}f"
    return comparison.spread(100 * shares, form, form, "%")


def rates(text: str) -> tuple[float, ...]:
    """Learning rates separated by commas.

    Raises:
      ValueError: in one line, for one that is none.
    """
    found = []
    for part in names(text):
        try:
            found.append(optimizers.check_rate(float(part), "--rates"))
        except ValueError as error:
            raise ValueError(
                f"--rates has {part!r}: give numbers above 0, separated by commas."
            ) from error
    if not found:
        raise ValueError("--rates is empty: give some, separated by commas.")
    return tuple(found)


def load(settings: DataSettings) -> data_room.Dataset:
    """The data set of ``dataset``, ``data_dir`` and ``split_seed``.

    Raises:
      ValueError, OSError: in one line, also for a ``batch_size`` (where there is one)
        beyond the data.
    """
    if settings.split_seed < 0:
        raise ValueError(f"--split_seed is {settings.split_seed}: give 0 or more.")
    data = data_room.load(
        settings.dataset,
        data_dir=settings.data_dir or None,
        split_seed=settings.split_seed,
    )
    batch_size = getattr(settings, "batch_size", 1)
    if batch_size > data.train.size:
        raise ValueError(
            f"--batch_size is {batch_size}, but there are only "
            f"{data.train.size} training examples: give that many or fewer."
        )
    return data


def run(
    name: str,
    settings: S,
    build: Callable[[S], B],
    compare: Callable[[S, B, Say], Found],
) -> int:
    """Compare, print the tables, leave a folder with all of it; the exit code.

    Args:
      name: of the experiment.
      settings: what was asked for.
      build: checks the settings and gives what is compared; writes nothing.
      compare: what takes time; told the settings, what was built, and whom to tell.

    Raises:
      ValueError, OSError: in one line, for a setting that cannot be used.
    """
    runs.prepare()
    to = screen.console(json=settings.json)

    def say(line: str) -> None:
        to.print(line, soft_wrap=True)

    began = time.perf_counter()
    built = build(settings)
    folder = create(settings.workdir or default_workdir(name))
    if folder.holds_run():
        raise ValueError(f"{folder.path} holds a run already: give another --workdir.")
    with lock(folder):
        _describe(name, folder, settings)
        found = compare(settings, built, say)
        seconds = time.perf_counter() - began
        result = {
            "experiment": name,
            "settings": dataclasses.asdict(settings),
            "wall_seconds": round(seconds, 1),
            **found.to_json(),
        }
        text = comparison.markdown(found.tables())
        write_json(folder.path / "comparison.json", result)
        write_text(folder.path / "comparison.md", f"{text}\n")
        captions = found.draw(folder)
        comparison.write_page(
            folder, name, found.tables(), captions, dataclasses.asdict(settings)
        )
    say(f"\n{text}\n\n{seconds:.0f} s; report {folder.report}")
    if settings.json:
        print(json.dumps(jsonable({**result, "report": str(folder.report)})))
    return 0


def _describe(name: str, folder: RunFolder, settings: ComparisonSettings) -> None:
    """Write what is compared, before the first step."""
    about = environment.environment()
    write_json(folder.environment, {"experiment": name, **about})
    kept = {k: v for k, v in dataclasses.asdict(settings).items() if k not in NOT_KEPT}
    comment = f"python -m experiments.{name} --flagfile=THIS_FILE"
    write_flagfile(folder.flags, kept, comment)
