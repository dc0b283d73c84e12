"""``report.html``: one self-contained page of all that a run folder holds.

It is built from the folder's files alone, so it may be built again at any time,
by anyone. The folder may come from a stranger: every text is escaped, links that
lead out of it are not followed, and what is broken is named and left out.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from jaxdl.runs import times, writers
from jaxdl.runs.flagfile import read_flagfile
from jaxdl.runs.folder import RunFolder, open_folder, read_json, write_text
from jaxdl.runs.page import element, page, picture, section, table
from jaxdl.runs.screen import classes_text, result_line
from jaxdl.runs.summary import read_summary
from jaxdl.runs.text import (
    SPLITS,
    bare,
    duration_text,
    outcome,
    printable,
    shape_text,
    value_text,
)

_CAPTIONS = {
    "learning_curves": "Loss and metrics over the steps; the dotted line marks the "
    "best step, whose parameters are kept.",
    "confusion_matrix": "Test examples by true class (row) and predicted class "
    "(column); shaded by the share of the true class.",
    "worst_images": "The test images whose true class got the lowest probability, "
    "the worst first.",
    "predicted_and_true": "Test examples: predicted against true values, and what the "
    "prediction misses by.",
    "ranking_curves": "How well the probabilities rank the test examples: one class "
    "against the rest.",
    "importance": "How much worse the test part is told when a column is shuffled, "
    "mean and deviation of five shuffles. Columns that say the same share their "
    "importance.",
    "attention": "What was read (left to right) while each character was written "
    "(top to bottom), in test examples: the darker, the more weight.",
    "samples": "Images made of random latents.",
    "reconstructions": "Rows of test images as stored, as encoded where they are "
    "binarised, and as reconstructed from the mean of their latents.",
    "latent_grid": "Images decoded from a plane through the latents, by quantiles of a "
    "normal distribution: all of it where there are two latents, else that of the "
    "first two principal components of the test images' latents.",
    "interpolation": "Each row goes from one test image to another, on the straight "
    "line between their latents.",
    "latent_map": "Test images by their latents, where there are more than two by the "
    "first two principal components.",
    "samples_by_class": "Samples by the class that the classifier takes them for, a "
    "row a class; black where it has fewer.",
    "frequencies": "Mean power by frequency, 0 in the middle, of real images and of "
    "samples; a checkerboard is bright at the borders.",
    "forecasts": "Forecasts of a stretch of the test part beside what came, each made "
    "as long before as the horizon says.",
    "error_by_horizon": "Mean absolute error on the test part by the rows ahead.",
    "error_by_hour": "Mean absolute error on the test part by the hour that is "
    "forecast.",
    "feature_maps": "What the layer puts out for one image, a tile a channel.",
    "loss_by_place": "The mean loss of test tokens by how many were read before them: "
    "what more context helps.",
    "gradient_by_lag": "How strongly the loss of a token depends on the embeddings "
    "before it, by how many places: a line that falls steeply forgets.",
}
_STATUS = {
    "completed": "completed",
    "early_stopped": "stopped early: validation no longer improved",
    "interrupted": "interrupted: resume it to train on",
    "failed": "failed: the loss or a gradient was not finite",
}
# The text in ``plots/`` that holds the findings' notes.
NOTES = "notes.txt"
_PNG = b"\x89PNG\r\n\x1a\n"
_LARGEST_PICTURE = 20 * 2**20
_LARGEST_TEXT = 2**18


def write_report(folder: RunFolder | str | os.PathLike) -> Path:
    """Builds ``report.html`` from the folder's files and returns its path.

    Files that are missing are left out; those that are broken are named.

    Raises:
      FileNotFoundError: there is no such folder.
      ValueError: it holds no run.
    """
    if not isinstance(folder, RunFolder):
        folder = open_folder(folder)
    write_text(folder.report, build_report(folder))
    return folder.report


def build_report(folder: RunFolder) -> str:
    """The report as HTML text."""
    notes: list[str] = []
    summary = _load(folder, folder.summary, read_summary, notes) or {}
    model = _mapping(_load(folder, folder.model, read_json, notes))
    about = _mapping(_load(folder, folder.environment, read_json, notes))
    flags = _load(folder, folder.flags, read_flagfile, notes) or {}
    speed = _load(folder, folder.speed, writers.read, notes) or []
    name = summary.get("experiment") or about.get("experiment") or "run"
    parts = [
        element("h1", printable(name)),
        element("p", folder.path, "soft"),
        _outcome(summary),
        _told(folder),
        _pictures(folder, notes),
        _samples(folder, notes),
        section("Settings", table(("flag", "value"), list(flags.items()))),
        section("Data", _data(_mapping(model.get("data")))),
        section("Model", _layers(model.get("layers"))),
        section("Speed", _times(speed), _speed(speed)),
        section("Environment", _pairs(about)),
        section("Left out", *(element("p", note) for note in notes)),
    ]
    return page(f"{printable(name)} {folder.path.name}", parts)


def _load(
    folder: RunFolder, path: Path, read: Callable[[Path], Any], notes: list[str]
) -> Any:
    """What ``read`` makes of a file; None, and a note unless it is missing."""
    if not path.exists():
        return None
    if not folder.contains(path):
        notes.append(f"{path.name} leads out of the folder.")
        return None
    try:
        return read(path)
    except (OSError, ValueError, OverflowError) as error:
        notes.append(str(error))
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _outcome(summary: Mapping[str, Any]) -> str:
    """The result beside the baselines, how the run ended, and the metrics."""
    if not summary:
        return element("p", "This run has no outcome yet.", "lead")
    metrics, baselines = summary["metrics"], summary["baselines"]
    test = metrics.get("test", {})
    line = result_line(test, baselines, summary["monitor"])
    ended = [_STATUS[summary["status"]], f"{summary['step']:,} steps"]
    if summary["best_step"] is not None:
        watched = f" by validation {summary['monitor']}" if summary["monitor"] else ""
        ended.append(f"best at step {summary['best_step']:,}{watched}")
    ended.append(f"{summary['parameters']:,} parameters")
    ended.append(f"{duration_text(summary['wall_seconds'])} in all")
    if summary["examples_per_second"] is not None:
        ended.append(f"{summary['examples_per_second']:,.0f} examples/s")
    return "\n".join(
        [
            element("p", line, "lead") if line else "",
            element("p", "; ".join(ended) + "."),
            *(element("p", printable(x, 1000)) for x in summary.get("warnings", ())),
            _metrics(metrics),
            _baselines(test, baselines, summary["monitor"]),
        ]
    )


def _metrics(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """Metric by split, with the best parameters.

    What was measured in training alone (a gradient's norm, the learning rate) is
    no result where there are validation or test metrics.
    """
    splits = [split for split in SPLITS if metrics.get(split)]
    judged = [split for split in splits if split != "train"] or splits
    names = dict.fromkeys(name for split in judged for name in metrics[split])
    rows = [[name, *_values(name, splits, metrics)] for name in names]
    return section("Result", table(("metric", *splits), rows, numbers=splits))


def _baselines(
    test: Mapping[str, float],
    baselines: Mapping[str, Mapping[str, float]],
    monitor: str | None,
) -> str:
    """This run and the baselines on the test part; nothing without either."""
    if not test or not baselines:
        return ""
    first = outcome(dict(test), monitor)
    shared = {name for table_ in baselines.values() for name in table_ if name in test}
    names = sorted(shared, key=lambda name: (name != first, name))
    runs = {"this run": test, **baselines}
    rows = [
        [printable(run), *(value_text(name, values.get(name)) for name in names)]
        for run, values in runs.items()
    ]
    body = table(("on the test part", *names), rows, numbers=names, own=0)
    return section("Against baselines", body)


def _values(
    name: str, splits: Sequence[str], metrics: Mapping[str, Mapping[str, float]]
) -> list[str]:
    return [value_text(name, metrics[split].get(name)) for split in splits]


def _told(folder: RunFolder) -> str:
    """What nobody should miss: the findings' notes."""
    path = folder.plots / NOTES
    if not _readable(folder, path):
        return ""
    lines = path.read_text("utf-8", "replace").splitlines()
    return "\n".join(element("p", printable(line), "lead") for line in lines)


def _pictures(folder: RunFolder, notes: list[str]) -> str:
    """The pictures and texts of ``plots/``, those with a known caption first."""
    if not folder.plots.is_dir():
        return ""
    order = list(_CAPTIONS)
    figures = []
    for path in sorted(
        folder.plots.glob("*.png"),
        key=lambda path: (
            order.index(path.stem) if path.stem in order else len(order),
            path.name,
        ),
    ):
        content = _picture_bytes(folder, path)
        if content is None:
            notes.append(f"plots/{printable(path.name)} is no picture of this folder.")
            continue
        title = printable(path.stem).replace("_", " ")
        caption = _CAPTIONS.get(path.stem, f"{title[:1].upper()}{title[1:]}.")
        figures.append(picture(content, caption))
    for path in sorted(folder.plots.glob("*.txt")):
        if path.name != NOTES and _readable(folder, path):
            title = printable(path.stem).replace("_", " ")
            text = path.read_text("utf-8", "replace")
            figures += [element("p", f"{title}.", "soft"), element("pre", text)]
    return section("Pictures", *figures)


def _samples(folder: RunFolder, notes: list[str]) -> str:
    """What the states showed as they learned, in the order of the steps."""
    if not folder.samples.is_dir():
        return ""
    parts = []
    for path in sorted(folder.samples.iterdir()):
        step, _, name = path.stem.partition("_")
        title = printable(name).replace("_", " ")
        caption = f"Step {int(step):,}: {title}." if step.isdigit() else f"{title}."
        content = _picture_bytes(folder, path)
        if content is not None:
            parts.append(picture(content, caption))
        elif path.suffix == ".txt" and _readable(folder, path):
            parts.append(element("p", caption, "soft"))
            parts.append(element("pre", path.read_text("utf-8", "replace")))
        else:
            notes.append(f"samples/{printable(path.name)} is nothing to show.")
    return section("As it learned", *parts)


def _readable(folder: RunFolder, path: Path) -> bool:
    inside = folder.contains(path) and path.is_file()
    return inside and path.stat().st_size <= _LARGEST_TEXT


def _picture_bytes(folder: RunFolder, path: Path) -> bytes | None:
    """A PNG's bytes; None for what is none, is too large or lies elsewhere."""
    if not folder.contains(path) or not path.is_file():
        return None
    if path.stat().st_size > _LARGEST_PICTURE:
        return None
    content = path.read_bytes()
    return content if content.startswith(_PNG) else None


def _data(about: Mapping[str, Any]) -> str:
    """What ``screen.describe_data`` left in ``model.json``."""
    if not about:
        return ""
    classes = about.get("classes")
    known = classes if isinstance(classes, list) else None
    rows: list[tuple[object, object]] = [("name", printable(about.get("name")))]
    for split, count in _mapping(about.get("examples")).items():
        rows.append((f"{split} examples", value_text("examples", count)))
    rows.append(("input", shape_text(about.get("input_shape"))))
    rows.append(("classes", classes_text(known, limit=100)))
    return table(("", ""), rows)


def _layers(rows: Any) -> str:
    """Rows of path, kind, output shape and parameters, as ``model.json`` has them."""
    if not isinstance(rows, list):
        return ""
    cells = []
    total = 0
    for row in rows:
        if not isinstance(row, list) or len(row) != 4 or not isinstance(row[3], int):
            continue
        path, kind, shape, parameters = row
        total += parameters
        cells.append((path, kind, shape_text(shape), f"{parameters:,}"))
    if cells:
        cells.append(("all", "", "", f"{total:,}"))
    columns = ("layer", "kind", "output", "parameters")
    return table(columns, cells, numbers=("parameters",))


def _speed(rows: Sequence[Mapping[str, Any]]) -> str:
    """Each measured time or rate: its median over the checks, and the last."""
    names = dict.fromkeys(
        name
        for row in rows
        for name, value in row.items()
        if name not in ("step", "time") and isinstance(value, int | float)
    )
    cells = []
    for name in names:
        values = [row[name] for row in rows if isinstance(row.get(name), int | float)]
        shown = (median(values), values[-1])
        label = bare(printable(name)).replace("_", " ")
        cells.append((label, *(value_text(name, value) for value in shown)))
    return table(("a check", "median", "last"), cells, numbers=("median", "last"))


def _times(rows: Sequence[Mapping[str, Any]]) -> str:
    """Where the time of the run's last process went, and how fast it computed."""
    accounts = [row["account"] for row in rows if _is_account(row.get("account"))]
    if not accounts:
        return ""
    account = accounts[-1]
    names = ("wall", *times.PARTS)
    cells = [
        (name, f"{account[name]:.2f}", f"{account[name] / account['wall']:.1%}")
        for name in names
    ]
    parts = table(("part", "seconds", "share"), cells, numbers=("seconds", "share"))
    return element("p", times.line(account)) + parts


def _is_account(value: Any) -> bool:
    """Whether it is what ``times.line`` takes; a folder may come from a stranger."""
    names = ("wall", *times.PARTS, *times.RATES)
    return (
        isinstance(value, Mapping)
        and all(isinstance(value.get(name, 0), int | float) for name in names)
        and set(names) - set(times.RATES) <= set(value)
        and all(abs(value.get(name, 0)) < 1e30 for name in names)
        and value["wall"] > 0
    )


def _pairs(about: Mapping[str, Any]) -> str:
    """Nested JSON as rows of dotted name and value."""
    return table(("", ""), [(name, value) for name, value in _flat("", about)])


def _flat(prefix: str, value: Any, depth: int = 0) -> list[tuple[str, str]]:
    if depth > 8:
        return [(prefix, "...")]
    if isinstance(value, Mapping):
        return [
            pair
            for name, item in value.items()
            for pair in _flat(f"{prefix} {name}".strip(), item, depth + 1)
        ]
    if isinstance(value, list) and not any(map(_nested, value)):
        return [(prefix, printable(" ".join(map(str, value)), 2000))]
    if isinstance(value, list):
        return [pair for item in value for pair in _flat(prefix, item, depth + 1)]
    return [(prefix, "-" if value is None else printable(value, 2000))]


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping | list)
