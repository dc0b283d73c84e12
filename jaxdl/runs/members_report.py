"""What became of members that were trained together: one table, one summary."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxdl import train
from jaxdl.metrics import direction
from jaxdl.models import count_parameters
from jaxdl.runs import screen
from jaxdl.runs.folder import RunFolder, write_text
from jaxdl.runs.machine import Machine
from jaxdl.runs.page import element, page, section, table
from jaxdl.runs.recorder import Recorder
from jaxdl.runs.summary import read_summary, summarize, write_summary
from jaxdl.runs.text import printable, value_text

Table = Mapping[str, Mapping[str, float]]


def write_incomplete(
    experiment: str,
    folder: RunFolder,
    machine: Machine,
    fitted: train.Fitted,
    recorder: Recorder,
) -> None:
    """``summary.json`` of members that were interrupted."""
    states = fitted.state.states
    members = fitted.state.running.shape[0]
    summary = summarize(
        experiment=experiment,
        status=fitted.status,
        step=fitted.step,
        best_step=None,
        monitor=machine.plan.rule.monitor,
        metrics={},
        baselines={},
        parameters=count_parameters(getattr(states, "params", states)) // members,
        examples_per_second=recorder.examples_per_second,
        compile_seconds=recorder.compile_seconds,
        wall_seconds=recorder.wall_seconds,
    )
    write_summary(folder.summary, summary)


def gather(
    experiment: str, places: Sequence[RunFolder], recorder: Recorder | None
) -> dict[str, Any]:
    """The summary of all from the members' own.

    Args:
      experiment: its name.
      places: the members' folders, finished.
      recorder: of all as one program; None where they ran one after another.
    """
    ends = {place.path.name: read_summary(place.summary) for place in places}
    done = [end for end in ends.values() if end["status"] != "failed"]
    first = next(iter(ends.values()))
    best = _best(ends)
    statuses = {end["status"] for end in ends.values()}
    speeds = [end["examples_per_second"] or 0.0 for end in ends.values()]
    walls = [end["wall_seconds"] for end in ends.values()]
    compiles = [end["compile_seconds"] or 0.0 for end in ends.values()]
    summary = summarize(
        experiment=experiment,
        status=statuses.pop() if len(statuses) == 1 else "completed",
        step=max(end["step"] for end in ends.values()),
        best_step=None if best is None else ends[best]["best_step"],
        monitor=first["monitor"],
        metrics=_over([end["metrics"] for end in done], np.mean),
        baselines=_over([end["baselines"] for end in done], np.mean),
        parameters=first["parameters"],
        examples_per_second=(recorder.examples_per_second if recorder else None)
        or float(np.mean(speeds)),
        compile_seconds=recorder.compile_seconds if recorder else sum(compiles),
        wall_seconds=recorder.wall_seconds if recorder else sum(walls),
    )
    members = {
        name: {
            "status": end["status"],
            "best_step": end["best_step"],
            "metrics": end["metrics"],
        }
        for name, end in ends.items()
    }
    spread = _over([end["metrics"] for end in done], np.std)
    return {**summary, "members": members, "best_member": best, "spread": spread}


def _over(tables: Sequence[Table], function: Any) -> dict[str, dict[str, float]]:
    """``function`` of each figure that every member has."""
    if not tables:
        return {}
    first = tables[0]
    return {
        split: {
            name: float(function([one[split][name] for one in tables]))
            for name in figures
            if all(name in one.get(split, {}) for one in tables)
        }
        for split, figures in first.items()
    }


def _best(ends: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The member that was best on validation, never on the test part."""
    values = {
        name: end["metrics"].get("validation", {}).get(end["monitor"])
        for name, end in ends.items()
    }
    known = {name: v for name, v in values.items() if v is not None and np.isfinite(v)}
    if not known:
        return None
    monitor = next(iter(ends.values()))["monitor"]
    pick = min if direction(monitor) == "min" else max
    return pick(known, key=lambda name: known[name])


def finish(folder: RunFolder, summary: Mapping[str, Any], headline: str) -> None:
    """Write the summary and the report of all, print the table."""
    write_summary(folder.summary, summary)
    rows = _rows(summary)
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    names.sort(key=lambda name: (name != headline, name))
    texts = [(label, *(row.get(name, "-") for name in names)) for label, row in rows]
    write_text(folder.report, _page(folder, summary, names, texts))
    screen.text_table(("test part", *names[:5]), [row[:6] for row in texts])
    if summary["best_member"]:
        print(f"best on validation: {folder.members / summary['best_member']}")
    print(f"report {folder.report}")


def _rows(summary: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """A row a member, then mean and spread, ensemble, baselines: label and figures."""

    def shown(figures: Mapping[str, float]) -> dict[str, str]:
        return {name: value_text(name, value) for name, value in figures.items()}

    rows = [
        (name, shown(member["metrics"].get("test", {})) or {"-": member["status"]})
        for name, member in summary["members"].items()
    ]
    mean, spread = (summary[k].get("test", {}) for k in ("metrics", "spread"))
    together = {
        name: f"{value_text(name, value)} ± {value_text(name, spread[name])}"
        for name, value in mean.items()
        if name in spread
    }
    rows.append(("mean ± deviation", together))
    if summary.get("ensemble"):
        rows.append(("averaged outputs", shown(summary["ensemble"])))
    rows += [(name, shown(found)) for name, found in summary["baselines"].items()]
    return rows


def _page(
    folder: RunFolder,
    summary: Mapping[str, Any],
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> str:
    """The report of all; each member has its own beside it."""
    title = f"{printable(summary['experiment'])} {folder.path.name}"
    best = summary["best_member"]
    ended = [
        f"{len(summary['members'])} members, {summary['step']:,} steps each",
        f"{summary['parameters']:,} parameters each",
        f"best on validation: {best}" if best else "no member was best",
    ]
    places = [
        (name, str(Path("members") / name / "report.html"))
        for name in summary["members"]
    ]
    parts = [
        element("h1", printable(summary["experiment"])),
        element("p", folder.path, "soft"),
        element("p", "; ".join(ended) + "."),
        section("On the test part", table(("", *names), rows, numbers=names)),
        section("Reports of the members", table(("member", "page"), places)),
    ]
    return page(title, parts)
