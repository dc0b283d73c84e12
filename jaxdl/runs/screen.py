"""What a run prints: tables of model and data, devices, and how it ended.

Names of classes and files come from anywhere, so every cell is a plain ``Text``
without control characters, never markup.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxdl import kernels
from jaxdl.runs.text import bare, outcome, printable, shape_text, value_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# A row of the model's table: path, kind, output shape, parameters.
LayerRow = tuple[str, str, tuple[int, ...], int]


def console(*, json: bool = False) -> "Console":
    """Where a run prints: stdout, or stderr when stdout is to hold JSON alone."""
    from rich.console import Console

    return Console(stderr=json, markup=False, highlight=False, emoji=False)


def show_start(task: Any, machine: Any, to: "Console | None" = None) -> None:
    """Prints what is about to be trained, on what data and devices.

    Args:
      task: has ``layers()``, rows for ``model_table``, and ``data``.
      machine: has ``devices``.
    """
    to = to or console()
    model_table(task.layers(), to)
    data_table(task.data, to)
    devices_line(machine.devices, to)
    if machine.devices[0].platform == "cpu":
        kernels_line(to)


def kernels_line(to: "Console | None" = None) -> None:
    """Prints which compiled kernels there are, or how they are to be had."""
    if kernels.switched_off():
        line = f"compiled kernels left out ({kernels.SWITCH}=off)"
    elif kernels.load():
        line = f"compiled kernels for {kernels.KINDS}"
    elif kernels.buildable():
        line = (
            "no compiled kernels: python -m jaxdl.kernels makes those for "
            f"{kernels.KINDS}, once, and steps quicker"
        )
    else:
        return
    _line(to or console(), line)


def model_table(rows: Iterable[LayerRow], to: "Console | None" = None) -> None:
    """Prints the layers with their output shapes and parameters, and the sum."""
    rows = list(rows)
    to = to or console()
    _line(to, "model", "bold")
    table = _table(("layer", "kind", "output"), ("parameters",))
    for path, kind, shape, parameters in rows:
        table.add_row(*_cells(path, kind, shape_text(shape), f"{parameters:,}"))
    table.add_section()
    total = sum(parameters for *_, parameters in rows)
    table.add_row(*_cells("all", "", "", f"{total:,}"))
    to.print(table)


def state_table(
    rows: Iterable[tuple[str, tuple[int, ...], str, int]], to: "Console | None" = None
) -> None:
    """Prints path, shape, dtype and bytes of every array of a state, and the sum."""
    rows = list(rows)
    to = to or console()
    _line(to, "state", "bold")
    table = _table(("array", "shape", "dtype"), ("bytes",))
    for path, shape, dtype, size in rows:
        table.add_row(*_cells(path, shape_text(shape), dtype, f"{size:,}"))
    table.add_section()
    table.add_row(*_cells("all", "", "", f"{sum(row[-1] for row in rows):,}"))
    to.print(table)


def describe_data(dataset: Any) -> dict[str, Any]:
    """A data set in JSON's types: name, examples by split, input shape, classes."""
    classes = getattr(dataset, "classes", None)
    return {
        "name": dataset.name,
        "examples": {
            split: int(getattr(dataset, split).size)
            for split in ("train", "validation", "test")
            if getattr(dataset, split, None) is not None
        },
        "input_shape": [int(size) for size in dataset.input_shape],
        "classes": None if classes is None else [str(name) for name in classes],
    }


def classes_text(classes: Sequence[str] | None, limit: int = 12) -> str:
    """Class names as ``10: 0, 1, 2...``; ``-`` without classes."""
    if not classes:
        return "-"
    names = ", ".join(printable(name, 40) for name in classes[:limit])
    return f"{len(classes)}: {names}{', ...' if len(classes) > limit else ''}"


def data_table(dataset: Any, to: "Console | None" = None) -> None:
    """Prints name, examples by split, input shape and classes of a data set."""
    about = describe_data(dataset)
    to = to or console()
    _line(to, f"data {about['name']}", "bold")
    table = _table(("part",), ("examples",))
    for split, count in about["examples"].items():
        table.add_row(*_cells(split, f"{count:,}"))
    to.print(table)
    _line(to, f"input {shape_text(about['input_shape'])}")
    _line(to, f"classes {classes_text(about['classes'])}")


def text_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], to: "Console | None" = None
) -> None:
    """Prints a table of texts; all columns but the first stand to the right."""
    table = _table(columns[:1], columns[1:])
    for row in rows:
        table.add_row(*_cells(*row))
    (to or console()).print(table)


def devices_line(devices: Iterable[Any], to: "Console | None" = None) -> None:
    """Prints the devices in use: ``devices 2 x cpu (16 cores)``; of how many
    processes, where there are several."""
    from jaxdl.hardware import cpu_count

    devices = list(devices)
    kinds = Counter((d.platform, d.device_kind) for d in devices)
    processes = len({d.process_index for d in devices})
    of = f" of {processes} processes" if processes > 1 else ""
    parts = []
    for (platform, kind), count in kinds.items():
        name = f"cpu ({cpu_count()} cores)" if platform == "cpu" else kind
        parts.append(f"{count} x {name}")
    _line(to or console(), f"devices {', '.join(parts)}{of}")


def show_layout(rows: Sequence[Any], way: Any, to: "Console | None" = None) -> None:
    """Prints how a state lies over several devices; nothing where there is one, or
    where members lie apart, each whole.

    Args:
      rows: ``jaxdl.parallel.laid_out``: path, shape, split, bytes, held.
      way: a ``Placement``.
    """
    count = len(way.devices)
    if count < 2 or way.name == "none":
        return
    to = to or console()
    whole, held = (sum(row[at] for row in rows) for at in (3, 4))
    _line(
        to,
        f"{way.name}: {count} devices, a batch in {way.shares} parts; each holds "
        f"{held / 2**20:,.2f} of the state's {whole / 2**20:,.2f} MiB",
    )
    if held == whole:
        return
    table = _table(("parameter", "shape", "split"), ("bytes", "a device's"))
    for path, shape, split, size, own in rows:
        inside, _, name = path.partition("params/")
        if name and not inside:  # moments and averages lie as their parameters do
            table.add_row(
                *_cells(name, shape_text(shape), split, f"{size:,}", f"{own:,}")
            )
    to.print(table)


def result_table(
    test: Mapping[str, float],
    baselines: Mapping[str, Mapping[str, float]],
    monitor: str | None = None,
    report: str | os.PathLike | None = None,
    to: "Console | None" = None,
) -> None:
    """Prints the outcome on the test part beside the baselines', and the report.

    Args:
      test: metric to value.
      baselines: name to metrics.
      monitor: the metric that names the result; by default the first of accuracy,
        ..., loss that was measured.
      report: the page's path; left out when None.
    """
    to = to or console()
    line = result_line(test, baselines, monitor)
    if line:
        _line(to, line, "bold")
    others = [name for name in test if name != outcome(dict(test), monitor)]
    if others:
        parts = (f"{printable(name)} {value_text(name, test[name])}" for name in others)
        _line(to, f"test {', '.join(parts)}")
    if report is not None:
        _line(to, f"report {Path(report)}")


def notes(text: str, to: "Console | None" = None) -> None:
    """Prints lines that nobody should miss; nothing of an empty text."""
    to = to or console()
    for line in text.splitlines():
        _line(to, line, "bold red")


def line(text: str, to: "Console | None" = None) -> None:
    """Prints a line; nothing of an empty text."""
    if text:
        _line(to or console(), text)


def warn(line: str) -> None:
    """Prints a line on stderr, above a progress line that is on the screen."""
    print(printable(line, 1000), file=sys.stderr, flush=True)


def result_line(
    test: Mapping[str, float],
    baselines: Mapping[str, Mapping[str, float]],
    monitor: str | None = None,
) -> str:
    """``test accuracy 98.61% | majority 10.11% | logistic 96.39%``; or nothing."""
    name = outcome(dict(test), monitor)
    if name is None:
        return ""
    parts = [f"test {bare(printable(name))} {value_text(name, test[name])}"]
    parts += [
        f"{printable(baseline)} {value_text(name, metrics[name])}"
        for baseline, metrics in baselines.items()
        if name in metrics
    ]
    return " | ".join(parts)


def _table(left: Sequence[str], right: Sequence[str]) -> "Table":
    """An empty table; the columns of ``right`` hold numbers."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right")
    return table


def _cells(*values: object) -> list[Any]:
    return [_text(value) for value in values]


def _text(value: object, style: str = "") -> Any:
    from rich.text import Text

    return Text(printable(value, 1000), style=style)


def _line(to: "Console", line: str, style: str = "") -> None:
    """A line as it is: wrapped by the terminal, so that paths can be copied."""
    to.print(_text(line, style), soft_wrap=True)
