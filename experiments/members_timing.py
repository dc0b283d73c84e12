"""Time members of an experiment: as one program, in turn in a process, a process each.

Without flags: eight seeds of an MLP on handwritten digits. With --space the members are
trials of a search. Every way begins in a fresh process, with programs compiled before;
--complete times whole runs, with test part, pictures and reports, not training alone.
"""

import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments import common, flags
from experiments import search as searching
from experiments.flags import option
from jaxdl import runs
from jaxdl import search as space_room
from jaxdl.runs import comparison, population, screen, trials
from jaxdl.runs.members import Member
from jaxdl.search import Asked

NAME = "members_timing"
WAYS = ("together", "in_turn", "processes")
TITLES = {
    "together": "as one program",
    "in_turn": "in turn in one process",
    "processes": "a process each, in turn",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What ``members_timing`` lets one set."""

    experiment: str = option("image_classification", "which training experiment")
    settings: str = option("model=mlp", "the experiment's own flags: NAME=VALUE; ...")
    members: int = option(8, "how many seeds, or trials of --space")
    space: str = option("", "members are trials drawn from it; empty: seeds")
    processes: int = option(0, "processes to time; all take as long; 0: all")
    rounds: int = option(1, "take each way so often, by turns, and give the medians")
    complete: bool = option(False, "whole runs with reports, not training alone")
    way: str = option("", f"only {', '.join(WAYS)}, in this process")
    member: int = option(-1, "with --way=processes: which member")
    json: bool = option(False, "print JSON, and nothing else, on stdout")
    traceback: bool = option(False, "show the traceback of an error")


def build(settings: Settings) -> tuple[searching.Subject, list[Member]]:
    """The experiment and its members.

    Raises:
      ValueError: in one line, for a setting that cannot be used.
    """
    about = searching.subject(settings.experiment, settings.settings, settings.space)
    if not settings.space:
        seeds = dataclasses.replace(about.settings, seeds=settings.members)
        return about, common.seed_members(seeds, about.build)
    apart = sorted(set(about.space) - about.numbers)
    if apart:
        raise ValueError(
            f"--space has {apart[0]}, in which no program can differ: give numbers of "
            "the step, such as learning_rate."
        )
    asked = [
        Asked(i, 0, space_room.sample(about.space, 0, i))
        for i in range(settings.members)
    ]
    return about, searching.members(about, asked)


def train(settings: Settings) -> list[float]:
    """Train in this process by the way of the settings; the members' best values."""
    runs.prepare()
    about, members = build(settings)
    if settings.complete:
        return _complete(settings, about, members)
    if settings.way == "processes":
        members = members[settings.member : settings.member + 1]
    asked = tuple(Asked(i, 0, {}) for i in range(len(members)))
    program = trials.Program(asked, lambda: members)
    if settings.way == "together":
        return [t.value for t in trials.train_together(program, members)]
    return [t.value for t in trials.train_in_turn(program, members)]


def _complete(
    settings: Settings, about: searching.Subject, members: Sequence[Member]
) -> list[float]:
    """Whole runs below a folder that is not kept."""
    with tempfile.TemporaryDirectory() as folder:
        if settings.way == "processes":
            member = members[settings.member]
            code = runs.execute(
                runs.Request(about.name, member.settings, {}, workdir=folder),
                lambda: (member.task, member.plan),
            )
        else:
            request = runs.Request(about.name, members[0].settings, {}, workdir=folder)
            code = population.execute(request, lambda: members, settings.way)
        if code:
            raise RuntimeError(f"a run ended with exit code {code}.")
    return []


@dataclasses.dataclass(frozen=True)
class Taken:
    """What a way took.

    Attributes:
      wall, cpu: seconds, from the start of the process to its end.
      values: what the members reached.
    """

    wall: float
    cpu: float
    values: list[float]


def take(settings: Settings, way: str, member: int = -1) -> Taken:
    """Take a way in a fresh process.

    Raises:
      RuntimeError: it failed.
    """
    given = dataclasses.replace(settings, way=way, member=member, json=True)
    command = [
        *(sys.executable, "-m", f"experiments.{NAME}"),
        *(f"--{k}={v}" for k, v in dataclasses.asdict(given).items()),
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ})
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{way} failed: {done.stderr.strip()[-500:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Taken(wall, cpu, json.loads(done.stdout.splitlines()[-1]))


def _way(settings: Settings, way: str) -> Taken:
    """All members by a way; of processes as many as are asked for, scaled to all."""
    if way != "processes":
        return take(settings, way)
    count = min(settings.processes or settings.members, settings.members)
    parts = [take(settings, way, member) for member in range(count)]
    scale = settings.members / count
    return Taken(
        wall=scale * sum(part.wall for part in parts),
        cpu=scale * sum(part.cpu for part in parts),
        values=[value for part in parts for value in part.values],
    )


def compare(settings: Settings, say: Any = print) -> dict[str, list[Taken]]:
    """Every way, round by round, after a first round that fills the cache of compiled
    programs and is not counted."""
    for way in WAYS:
        say(f"compiling: {TITLES[way]}")
        take(settings, way, 0 if way == "processes" else -1)
    taken: dict[str, list[Taken]] = {way: [] for way in WAYS}
    for number in range(settings.rounds):
        for way in WAYS:
            taken[way].append(_way(settings, way))
            say(
                f"round {number + 1}, {TITLES[way]}: {taken[way][-1].wall:.1f} s, "
                f"{taken[way][-1].cpu:.1f} s of CPU"
            )
    return taken


def figures(taken: dict[str, list[Taken]]) -> dict[str, dict[str, float]]:
    """Medians, and how many times as long as one program each way took."""
    medians = {
        way: {
            "wall_seconds": float(np.median([part.wall for part in parts])),
            "cpu_seconds": float(np.median([part.cpu for part in parts])),
        }
        for way, parts in taken.items()
    }
    one = medians["together"]
    return {
        way: {
            **found,
            "wall_times": found["wall_seconds"] / one["wall_seconds"],
            "cpu_times": found["cpu_seconds"] / one["cpu_seconds"],
        }
        for way, found in medians.items()
    }


def largest_difference(taken: dict[str, list[Taken]]) -> float:
    """By how much what members reached differs between the ways."""
    lists = [parts[0].values for parts in taken.values()]
    pairs = [zip(lists[0], other, strict=False) for other in lists[1:]]
    apart = [abs(a - b) for pair in pairs for a, b in pair if a == a and b == b]
    return max(apart, default=0.0)


def table(settings: Settings, found: dict[str, dict[str, float]]) -> comparison.Table:
    """A row a way."""
    count = min(settings.processes or settings.members, settings.members)
    what = "trials" if settings.space else "seeds"
    told = "whole runs, reports included" if settings.complete else "training alone"
    scaled = (
        f"; {count} of the {settings.members} processes were timed, and scaled"
        if count < settings.members
        else ""
    )
    return comparison.Table(
        title=f"{settings.members} {what} of {settings.experiment}",
        about=f"{settings.settings}; {told}; processes from start to end, programs "
        f"compiled before; medians of {settings.rounds} rounds{scaled}",
        columns=("way", "seconds", "times", "CPU seconds", "times"),
        rows=[
            [
                TITLES[way],
                f"{row['wall_seconds']:.1f}",
                f"{row['wall_times']:.2f}",
                f"{row['cpu_seconds']:.1f}",
                f"{row['cpu_times']:.2f}",
            ]
            for way, row in found.items()
        ],
    )


def main(settings: Settings) -> int:
    """Compare as the settings say; the exit code."""
    if settings.members < 1 or settings.rounds < 1 or settings.processes < 0:
        raise ValueError(
            "--members and --rounds take 1 or more, --processes 0 or more."
        )
    if settings.complete and settings.space:
        raise ValueError("--complete times seeds: leave --space out.")
    if settings.way:
        common.choice("way", settings.way, WAYS)
        print(json.dumps(train(settings)))
        return 0
    build(settings)  # what is wrong is told here, and not by a process
    to = screen.console(json=settings.json)
    taken = compare(settings, lambda line: to.print(line, soft_wrap=True))
    found = figures(taken)
    apart = largest_difference(taken)
    to.print(comparison.markdown([table(settings, found)]), soft_wrap=True)
    if not settings.complete:
        # One rounding (3e-8 of a weight) after a step; at Adam's rate 0.045 all of it
        # after 120, at 0.0002 as much as before.
        why = "; rounding, which training at large rates magnifies" if apart else ""
        told = f"what members reached differs by {apart:.2g} at most{why}"
        to.print(told, soft_wrap=True)
    if settings.json:
        print(json.dumps({"ways": found, "largest_difference": apart}, indent=2))
    return 0


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
