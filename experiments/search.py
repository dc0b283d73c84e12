"""Search the hyper-parameters of any training experiment, by its validation part.

Without flags: learning rate and weight decay of an MLP on handwritten digits, 100
trials. Trials that differ only in numbers a step takes train as one program; a killed
search goes on with the same command. The test part is read once, for the best trial.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from experiments import common, flags
from experiments.flags import option
from experiments.saved import EXPERIMENTS
from jaxdl import runs
from jaxdl import search as space_room
from jaxdl.metrics import direction
from jaxdl.runs import environment, resume, search_report, trials
from jaxdl.runs import search as running
from jaxdl.runs.flagfile import write_flagfile
from jaxdl.runs.folder import (
    RunFolder,
    create,
    default_workdir,
    lock,
    read_json,
    write_json,
)
from jaxdl.runs.members import Member
from jaxdl.search import Asked, Dimension, Space
from jaxdl.train.task import Plan, Task

NAME = "search"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What ``search`` lets one set."""

    experiment: str = option("image_classification", "which training experiment")
    space: str = option(
        "learning_rate=log(1e-4,1e-1); weight_decay=log(1e-8,1e-2)",
        "NAME=log(a,b), uniform(a,b), int(a,b) or choice(a,b,c); ...",
    )
    settings: str = option(
        "model=mlp; epochs=15", "the experiment's own flags: NAME=VALUE; ..."
    )
    trials: int = option(100, "trials in all; of halving, those it begins with")
    rounds: int = option(3, "rounds in which they are tried")
    strategy: str = option("narrow", f"{', '.join(space_room.STRATEGIES)}")
    search_seed: int = option(0, "seed of what is drawn")
    workdir: str = option("", "run folder; empty: checkpoints/...", same_run=True)
    resume: str = option("auto", "auto, never or must", same_run=True)
    other_code: bool = option(
        False, "go on with a search of other code or library versions", same_run=True
    )
    traceback: bool = option(False, "show the traceback of an error", same_run=True)


@dataclasses.dataclass(frozen=True)
class Subject:
    """The experiment that is searched.

    Attributes:
      name: its own.
      settings: its default settings, with those that ``--settings`` gives.
      build: settings to task and plan.
      space: what is searched.
      numbers: those of the space that are numbers of the state: trials that differ in
        them alone train as one program.
      plan, headline, monitor: of the default settings.
    """

    name: str
    settings: Any
    build: Callable[[Any], tuple[Task, Plan]]
    space: Space
    numbers: frozenset[str]
    plan: Plan
    headline: str

    @property
    def monitor(self) -> str:
        """The validation metric that decides."""
        return self.plan.rule.monitor

    @property
    def default(self) -> dict[str, Any]:
        """The default settings' values, by the names of the space."""
        return {name: getattr(self.settings, name) for name in self.space}

    def trial(self, asked: Asked) -> Any:
        """The settings that repeat a trial alone."""
        changes = dict(asked.values)
        if asked.share < 1:
            changes["max_steps"] = max(1, math.ceil(asked.share * self.plan.steps))
        return dataclasses.replace(self.settings, **changes)


def subject(experiment: str, given: str, space_text: str) -> Subject:
    """The experiment, its settings and the space, checked.

    Args:
      experiment: a name of ``EXPERIMENTS``.
      given: its settings, as ``NAME=VALUE; ...``.
      space_text: as ``jaxdl.search.parse`` reads it; empty searches nothing.

    Raises:
      ValueError: in one line, for what is wrong with them.
    """
    common.choice("experiment", experiment, EXPERIMENTS)
    module: Any = EXPERIMENTS[experiment]
    settings = module.Settings(**read_settings(module.Settings, given))
    space = space_room.parse(space_text) if space_text else {}
    space = {name: _typed(settings, name, space[name]) for name in space}
    task, plan = module.build(settings)
    numbers = _numbers(settings, module.build, space)
    return Subject(
        experiment, settings, module.build, space, numbers, plan, task.headline
    )


def read_settings(kind: Any, text: str) -> dict[str, Any]:
    """Settings of a text such as ``model=mlp; epochs=6``, in the types of their flags.

    Raises:
      ValueError: in one line, for a name or value that is none.
    """
    known = {field.name: field.default for field in dataclasses.fields(kind)}
    found = {}
    for part in filter(str.strip, text.split(";")):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        name = name.removeprefix("--")
        if not equals:
            raise ValueError(f"--settings has {part.strip()!r}: give NAME=VALUE; ...")
        common.choice("settings", name, known)
        found[name] = _as(name, known[name], value)
    return found


def _as(name: str, like: Any, value: Any) -> Any:
    """A value in the type of the flag's default."""
    kind = type(like)
    if kind is bool:
        if str(value).lower() not in ("true", "false"):
            raise ValueError(f"{name} is {value!r}: give true or false.")
        return str(value).lower() == "true"
    try:
        made = kind(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r}: give {kind.__name__}.") from None
    if kind is int and made != float(value):
        raise ValueError(f"{name} is {value!r}: give a whole number.")
    return made


def _typed(settings: Any, name: str, dimension: Dimension) -> Dimension:
    """The dimension, with options in the type of the flag it is of.

    Raises:
      ValueError: no such flag, or one of another type.
    """
    if name in ("workdir", "resume", "seeds", "folds", "fold", "dry_run", "profile"):
        raise ValueError(f"--space has {name}, which is nothing to search.")
    known = [field.name for field in dataclasses.fields(settings)]
    common.choice("space", name, known)
    like = getattr(settings, name)
    if isinstance(dimension, space_room.Choice):
        return space_room.Choice(
            tuple(_as(name, like, option) for option in dimension.options)
        )
    if isinstance(like, bool | str):
        raise ValueError(
            f"--space has {name}={dimension}, but --{name} is no number: give "
            f"{name}=choice(...)."
        )
    if isinstance(like, int) and not isinstance(dimension, space_room.Integer):
        raise ValueError(
            f"--space has {name}={dimension}, but --{name} is a whole number: give "
            f"{name}=int(low,high) or choice(...)."
        )
    return dimension


def _numbers(settings: Any, build: Any, space: Space) -> frozenset[str]:
    """The names of the space that are numbers of the state and of nothing else: what
    is computed is the same program for any of their values."""
    low, high = (_inside(space, unit) for unit in (0.3, 0.7))
    one = build(dataclasses.replace(settings, **low))
    known = _hyper(one[0])
    names = [name for name in space if known.get(name) == _float(low[name])]

    def alone(names: Sequence[str]) -> bool:
        changed = {**low, **{name: high[name] for name in names}}
        other = build(dataclasses.replace(settings, **changed))
        return trials.same_program(one, other)

    if not names or alone(names):
        return frozenset(names)
    return frozenset(name for name in names if alone([name]))


def _inside(space: Space, unit: float) -> dict[str, Any]:
    return {name: dimension.at(unit) for name, dimension in space.items()}


def _float(value: Any) -> float | None:
    """A number as a state holds it; None of what is none."""
    if isinstance(value, bool | str):
        return None
    return float(jax.numpy.float32(value))


def _hyper(task: Task) -> dict[str, float]:
    state = jax.jit(task.create)(0)
    numbers = getattr(state, "hyper", {})
    return {name: float(number) for name, number in numbers.items()}


def programs(subject: Subject, asked: Sequence[Asked]) -> list[trials.Program]:
    """The programs of a round: trials whose settings differ in numbers alone."""
    groups: dict[tuple[Any, ...], list[Asked]] = {}
    for one in asked:
        apart = [one.values[n] for n in subject.space if n not in subject.numbers]
        groups.setdefault((one.share, *apart), []).append(one)
    return [
        trials.Program(tuple(group), lambda group=group: members(subject, group))  # type: ignore[misc]
        for group in groups.values()
    ]


def members(subject: Subject, asked: Sequence[Asked]) -> list[Member]:
    """A member a trial, all of one task."""
    # Built where every number is above 0: at 0 a build may leave out what it is for.
    within = _inside(subject.space, 0.5)
    first = dataclasses.replace(
        asked[0], values={**asked[0].values, **_only(within, subject.numbers)}
    )
    task, plan = common.built(subject.trial(first), subject.build)
    return [
        Member(
            name=f"trial_{running.label(one)}",
            task=task,
            plan=plan,
            settings=dataclasses.asdict(subject.trial(one)),
            hyper=_only(one.values, subject.numbers),
        )
        for one in asked
    ]


def _only(values: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: values[name] for name in values if name in names}


def main(settings: Settings) -> int:
    """Search as the settings say; the exit code."""
    runs.prepare()
    path = Path(settings.workdir or default_workdir(NAME))
    identity = flags.identity(settings)
    standing = resume.decide(
        path, settings.resume, NAME, identity, {}, settings.other_code
    )
    if standing == "finished":
        print(f"{path} holds this search, finished: give another --workdir.")
        return 0
    about = subject(settings.experiment, settings.settings, settings.space)
    search = space_room.Search(
        space=about.space,
        trials=settings.trials,
        rounds=settings.rounds,
        strategy=settings.strategy,
        seed=settings.search_seed,
        mode=direction(about.monitor),
    )
    space_room.ask(search, [], 0)  # a sampler that is missing is told here
    folder = create(path)
    with lock(folder):
        _describe(folder, settings)
        try:
            return _search(folder, settings, about, search)
        except trials.Interrupted:
            flagfile, place = folder.flags, folder.path
            print("stopped; what was tried is in trials.jsonl; go on with:")
            print(
                f"  python -m experiments.{NAME} --flagfile={flagfile} "
                f"--workdir={place}"
            )
            return 130


def _describe(folder: RunFolder, settings: Settings) -> None:
    """Write what is searched, before the first trial."""
    write_json(folder.environment, {"experiment": NAME, **environment.environment()})
    comment = f"python -m experiments.{NAME} --flagfile=THIS_FILE"
    write_flagfile(folder.flags, flags.identity(settings), comment)


def _search(
    folder: RunFolder, settings: Settings, about: Subject, search: space_room.Search
) -> int:
    began = time.perf_counter()
    print(f"search {folder.path}")
    print(
        f"{about.name}: trials differ as one program in "
        f"{', '.join(sorted(about.numbers)) or 'nothing'}"
    )
    done = running.run(
        folder,
        search,
        about.default,
        lambda asked: programs(about, asked),
        about.monitor,
    )
    seconds = time.perf_counter() - began
    found = search_report.gather(search, done, about.monitor)
    test = _test(folder, about, found)
    if test is None:
        return 1
    text = search_report.write(
        folder,
        found,
        test,
        about.headline,
        {
            "experiment": NAME,
            "status": "completed",
            "settings": dataclasses.asdict(settings),
            "search_seconds": round(seconds, 1),
        },
    )
    print(f"\n{text}\n\n{seconds:.0f} s of search; report {folder.report}")
    return 0


def _test(
    folder: RunFolder, about: Subject, found: search_report.Found
) -> dict[str, float] | None:
    """Train the best trial once more, as a run of its own, which reads the test part;
    its metrics there. None where that run did not come to its end."""
    if found.best is None:
        print("every trial failed: give a space of smaller learning rates.")
        return None
    place = folder.members / "best"
    print(f"the best trial, {running.label(found.best.asked)}, as a run of its own")
    best = dataclasses.replace(about.trial(found.best.asked), workdir=str(place))
    began = time.perf_counter()  # its time is not the search's
    request = dataclasses.replace(common.request(about.name, best), began=began)
    code = runs.execute(request, lambda: common.built(best, about.build))
    if code:
        print("the trials are kept: the same search goes on with its best trial.")
        return None
    summary = read_json(RunFolder(place).summary)
    return {name: float(value) for name, value in summary["metrics"]["test"].items()}


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
