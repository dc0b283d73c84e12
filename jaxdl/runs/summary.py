"""``summary.json``: the outcome of a run, in names that scripts rely on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxdl.runs.folder import read_json, write_json
from jaxdl.runs.text import SPLITS

STATUSES = ("completed", "early_stopped", "interrupted", "failed")
_NUMBER = (int, float)
_KINDS: dict[str, tuple[type, ...]] = {
    "experiment": (str,),
    "monitor": (str, type(None)),
    "examples_per_second": (*_NUMBER, type(None)),
    "compile_seconds": (*_NUMBER, type(None)),
    "wall_seconds": _NUMBER,
}
Metrics = Mapping[str, float]
_KEYS = (
    "experiment",
    "status",
    "step",
    "best_step",
    "monitor",
    "metrics",
    "baselines",
    "parameters",
    "examples_per_second",
    "compile_seconds",
    "wall_seconds",
)
# Where something went wrong that the run got over: a line each.
_OF_FAULTS = ("warnings",)
# What the summary of members that were trained together has besides: name to status,
# best step and test metrics; which was best on validation; the standard deviation of
# each mean in ``metrics``; metrics of their averaged outputs.
_OF_MEMBERS = ("members", "best_member", "spread", "ensemble")
# Of a run that began with another's parameters: which run, its step, how many arrays.
_MORE = (*_OF_FAULTS, *_OF_MEMBERS, "init_from")


def summarize(
    *,
    experiment: str,
    status: str,
    step: int,
    best_step: int | None,
    monitor: str | None,
    metrics: Mapping[str, Metrics],
    baselines: Mapping[str, Metrics],
    parameters: int,
    examples_per_second: float | None,
    compile_seconds: float | None,
    wall_seconds: float,
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """The summary of a run, checked.

    Args:
      experiment: its module's name, ``image_classification``.
      status: one of ``STATUSES``.
      step: steps taken.
      best_step: the step whose parameters were best; None when none was checked.
      monitor: the validation metric that said so; None when nothing did.
      metrics: split to name to value, with the best parameters.
      baselines: name to metrics on the test part.
      parameters: how many numbers were learned.
      examples_per_second: training speed without compiling; None when unknown.
      compile_seconds: time to compile; None when unknown.
      wall_seconds: time of the whole run, resumed parts added up.
      warnings: what went wrong and was got over, a line each.

    Raises:
      ValueError: a value that cannot be.
    """
    summary = {
        "experiment": experiment,
        "status": status,
        "step": int(step),
        "best_step": None if best_step is None else int(best_step),
        "monitor": monitor,
        "metrics": _floats(metrics),
        "baselines": _floats(baselines),
        "parameters": int(parameters),
        "examples_per_second": _float(examples_per_second),
        "compile_seconds": _float(compile_seconds),
        "wall_seconds": float(wall_seconds),
        **({"warnings": list(warnings)} if warnings else {}),
    }
    check_summary(summary)
    return summary


def check_summary(summary: Any) -> None:
    """Raises a ValueError that says what is wrong with a summary, if anything."""
    if not isinstance(summary, Mapping):
        raise ValueError("a summary is a JSON object")
    missing = sorted(set(_KEYS) - set(summary))
    unknown = sorted(map(str, set(summary) - {*_KEYS, *_MORE}))
    if missing or unknown:
        raise ValueError(f"a summary without {missing}, with unknown {unknown}")
    if summary["status"] not in STATUSES:
        raise ValueError(f"status {summary['status']!r} is none of {STATUSES}")
    for name in ("step", "parameters"):
        if not isinstance(summary[name], int) or summary[name] < 0:
            raise ValueError(f"{name} is {summary[name]!r}; it counts from 0")
    for name, kinds in _KINDS.items():
        if not isinstance(summary[name], kinds) or isinstance(summary[name], bool):
            raise ValueError(f"{name} may not be {summary[name]!r}")
    best = summary["best_step"]
    if best is not None and not (
        isinstance(best, int) and 0 <= best <= summary["step"]
    ):
        raise ValueError(
            f"best_step is {best!r}; it lies between 0 and step {summary['step']}"
        )
    for split in _tables(summary, "metrics"):
        if split not in SPLITS:
            raise ValueError(f"metrics of {split!r}; splits are {SPLITS}")
    _tables(summary, "baselines")
    warnings = summary.get("warnings", [])
    if not isinstance(warnings, list) or not all(isinstance(x, str) for x in warnings):
        raise ValueError(f"warnings are lines of text, not {warnings!r}")


def _tables(summary: Mapping[str, Any], name: str) -> Mapping[str, Metrics]:
    """``metrics`` or ``baselines``, once it is name to name to number."""
    tables = summary[name]
    if not isinstance(tables, Mapping) or not all(
        isinstance(table, Mapping) and all(map(_is_number, table.values()))
        for table in tables.values()
    ):
        raise ValueError(f"{name} must be name to metric to number, not {tables!r}")
    return tables


def _is_number(value: Any) -> bool:
    return isinstance(value, _NUMBER) and not isinstance(value, bool)


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _floats(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    return {
        name: {metric: float(value) for metric, value in table.items()}
        for name, table in tables.items()
    }


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Checks and writes a summary; keys in their order, nan as the string "nan".

    Raises:
      ValueError: it is not one (see ``check_summary``).
    """
    check_summary(summary)
    names = (*_KEYS, *_MORE)
    write_json(path, {name: summary[name] for name in names if name in summary})


def read_summary(path: Path) -> dict[str, Any]:
    """Reads and checks a summary; "nan" and "inf" are floats again.

    Raises:
      FileNotFoundError: there is none.
      ValueError: it is broken.
    """
    summary = read_json(path)
    try:
        for name in ("metrics", "baselines"):
            summary[name] = _floats(summary[name])
        check_summary(summary)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path} is broken: {error}") from error
    return summary
