"""Running a search: rounds of trials, their table, and what came of them.

The table (``trials.jsonl``) is all that a search remembers: which trials come next is
a function of it, so that one that was killed goes on to the same table.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxdl import search as space_room
from jaxdl import train
from jaxdl.runs import signals, trials
from jaxdl.runs.folder import RunFolder, jsonable, write_text
from jaxdl.runs.progress_line import progress
from jaxdl.runs.text import value_text
from jaxdl.search import Asked, Search, Trial

# The number of the trial that runs the default settings.
DEFAULT = -1

Say = Callable[[str], Any]
# The programs of some trials: those that may train as one are one.
Programs = Callable[[Sequence[Asked]], Sequence[trials.Program]]


def table_path(folder: RunFolder) -> Path:
    """The table of a search: a JSON object a trial."""
    return folder.path / "trials.jsonl"


def read_table(folder: RunFolder) -> list[Trial]:
    """The trials that were run, in the order they were asked for; none before a search.

    Raises:
      ValueError: in one line, where the table is broken.
    """
    path = table_path(folder)
    if not path.is_file():
        return []
    try:
        rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        return [space_room.trials.from_json(row) for row in rows]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is broken: {error}") from error


def _write_table(folder: RunFolder, found: Sequence[Trial]) -> None:
    lines = [json.dumps(jsonable(trial.to_json()), allow_nan=False) for trial in found]
    write_text(table_path(folder), "".join(f"{line}\n" for line in lines))


def run(
    folder: RunFolder,
    search: Search,
    default: Mapping[str, Any],
    programs: Programs,
    monitor: str,
    say: Say = print,
) -> list[Trial]:
    """Run all rounds that the table does not hold yet; the trials.

    Args:
      folder: of the search.
      search: what is searched.
      default: the values of the default settings; they run as a trial like the others,
        among the first that train for the whole length.
      programs: which trials train as one program.
      monitor: the metric that trials are judged by, for what is said.
      say: told of each round, in a line.

    Raises:
      trials.Interrupted: a signal came; the same call goes on.
      ValueError: a setting that cannot be used.
    """
    known = {(t.asked.round, t.asked.number): t for t in read_table(folder)}
    done: list[Trial] = []
    with signals.catch() as caught:
        for number in range(search.rounds):
            asked = space_room.ask(search, searched(done), number)
            whole = asked[0].share == 1.0
            if whole and not any(t.asked.number == DEFAULT for t in done):
                asked = [Asked(DEFAULT, number, dict(default)), *asked]
            say(_about(search, done, number, len(asked)))
            for program in programs(asked):
                done += _run_program(folder, program, known, done, caught, monitor, say)
            _say_best(say, done, search.mode, monitor)
    return done


def searched(found: Sequence[Trial]) -> list[Trial]:
    """The trials without that of the default settings."""
    return [trial for trial in found if trial.asked.number != DEFAULT]


def _about(search: Search, done: Sequence[Trial], number: int, count: int) -> str:
    space = space_room.space_of(search, searched(done), number)
    told = space_room.describe(space) if search.strategy == "narrow" else ""
    head = f"round {number + 1} of {search.rounds}: {count} trials"
    return f"{head}, {told}" if told else head


def _say_best(say: Say, done: Sequence[Trial], mode: str, monitor: str) -> None:
    best = space_room.best(done, mode)
    if best is not None:
        say(
            f"  best so far: trial {label(best.asked)}, validation {monitor} "
            f"{value_text(monitor, best.value)}"
        )


def label(asked: Asked) -> str:
    """What a trial is called."""
    return "default" if asked.number == DEFAULT else str(asked.number)


def _run_program(
    folder: RunFolder,
    program: trials.Program,
    known: Mapping[tuple[int, int], Trial],
    before: Sequence[Trial],
    caught: signals.Caught,
    monitor: str,
    say: Say,
) -> list[Trial]:
    """The trials of a program: from the table, or trained and added to it."""
    keys = [(asked.round, asked.number) for asked in program.asked]
    if all(key in known for key in keys):
        return [known[key] for key in keys]
    members = program.members()
    if trials.in_turn(members[0]):
        return _one_by_one(folder, program, members, known, before, caught, say)
    first = program.asked[0]
    states = folder.states / f"round_{first.round}_trial_{first.number}"
    say(f"  {len(members)} trials as one program")
    plan = members[0].plan
    epoch = members[0].task.data.train.size / plan.batch_size
    with progress(plan.steps, epoch, monitor, every_seconds=20.0) as line:
        found = trials.train_together(
            program,
            members,
            states,
            watch=train.Watch(block=lambda step, _: line.update(step)),
            interrupted=caught,
        )
    _write_table(folder, [*before, *found])
    trials.forget(states)
    return found


def _one_by_one(
    folder: RunFolder,
    program: trials.Program,
    members: Sequence[Any],
    known: Mapping[tuple[int, int], Trial],
    before: Sequence[Trial],
    caught: signals.Caught,
    say: Say,
) -> list[Trial]:
    """As ``_run_program``, the table growing by each trial."""
    say(f"  {len(members)} trials in turn, compiled once: they convolve on a CPU")
    there = [known.get((asked.round, asked.number)) for asked in program.asked]
    found = [trial for trial in there if trial is not None]
    missing = [i for i, trial in enumerate(there) if trial is None]
    rest = dataclasses.replace(program, asked=tuple(program.asked[i] for i in missing))
    for trial in trials.train_in_turn(rest, [members[i] for i in missing], caught):
        found.append(trial)
        _write_table(folder, [*before, *found])
        value = "failed" if trial.status == "failed" else f"{trial.value:.4g}"
        say(f"    trial {label(trial.asked)}: {value}")
    return found
