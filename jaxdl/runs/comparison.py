"""Several networks side by side: curves, layers, a table, a page."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Num

from jaxdl.runs.folder import RunFolder, write_text
from jaxdl.runs.page import element, page, picture, section, table
from jaxdl.runs.plots import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Told apart in grey too: dashes and markers, not colour alone (Okabe and Ito's).
_STYLES = [
    {"color": "#000000", "linestyle": ":", "marker": "x"},
    {"color": "#d55e00", "linestyle": "--", "marker": "^"},
    {"color": "#999999", "linestyle": "-.", "marker": "v"},
    {"color": "#0072b2", "linestyle": "-", "marker": "s"},
    {"color": "#009e73", "linestyle": "-", "marker": "o"},
    {"color": "#cc79a7", "linestyle": "--", "marker": "d"},
    {"color": "#56b4e9", "linestyle": ":", "marker": "P"},
]


@dataclasses.dataclass(frozen=True)
class Panel:
    """One set of axes.

    Attributes:
      title, x, y: its labels.
      at: name to the places along x, [places].
      lines: name to [seeds, places]; drawn as the mean within least and most.
      log_x: whether places are drawn by their factors.
    """

    title: str
    x: str
    y: str
    at: Mapping[str, Num[np.ndarray, " places"]]
    lines: Mapping[str, Float[np.ndarray, "seeds places"]]
    log_x: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """A table under its heading.

    Attributes:
      title: what is compared.
      about: the settings that all rows share.
      columns: headings.
      rows: a text a column.
    """

    title: str
    about: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def draw(panels: Sequence[Panel], path: Path) -> None:
    """Draws the panels in a row, each with a logarithmic axis of y.

    Values that are zero or not finite have no place there and are left out.
    """
    from matplotlib.ticker import MaxNLocator, NullFormatter

    figure = new_figure(5.4 * len(panels), 4.2)
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1)
        for line, name in enumerate(panel.lines):
            style = _STYLES[line % len(_STYLES)]
            _line(axes, name, panel.at[name], panel.lines[name], style)
        axes.set_yscale("log")
        axes.set_title(panel.title, fontsize=10)
        axes.set_xlabel(panel.x)
        axes.set_ylabel(panel.y)
        axes.grid(visible=True, color="#dddddd", linewidth=0.6)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        if panel.log_x:
            axes.set_xscale("log")
            places = np.unique(np.concatenate(list(panel.at.values())))
            if len(places) <= 8:  # else the decades alone, which never overlap
                axes.set_xticks(places, [f"{place:g}" for place in places])
            axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        # Below: inside it would lie on a line, wherever lines run level.
        axes.legend(
            frameon=False,
            fontsize=9,
            ncols=3,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.14),
        )
    save_figure(figure, path)


def _line(
    axes: "Axes",
    name: str,
    at: np.ndarray,
    values: np.ndarray,
    style: Mapping[str, Any],
) -> None:
    shown = np.where(np.isfinite(values) & (values > 0), values, np.nan)
    seen = np.isfinite(shown).all(axis=0)
    places, shown = at[seen], shown[:, seen]
    reason = "all 0" if not np.any(values) else "not finite"
    label = name if seen.any() else f"{name} ({reason})"
    axes.plot(places, shown.mean(axis=0), label=label, markersize=4, **style)
    if len(shown) > 1:
        low, high = shown.min(axis=0), shown.max(axis=0)
        axes.fill_between(places, low, high, color=style["color"], alpha=0.15, lw=0)


def bars(groups: Mapping[str, Mapping[str, float]], label: str, path: Path) -> None:
    """Draws a group of bars for each name, on a logarithmic axis.

    Args:
      groups: group to bar to value, above 0; every group has the same bars.
      label: of the axis of values.
      path: the PNG to write.
    """
    names = list(next(iter(groups.values())))
    figure = new_figure(2.2 + 1.9 * len(groups), 3.8)
    axes = figure.add_subplot()
    width = 0.8 / len(names)
    shades = np.linspace(0.1, 0.85, len(names))
    for number, name in enumerate(names):
        at = np.arange(len(groups)) + (number - (len(names) - 1) / 2) * width
        values = [group[name] for group in groups.values()]
        shade = str(shades[number])
        drawn = axes.bar(at, values, width, color=shade, edgecolor="black", label=name)
        axes.bar_label(drawn, fmt="%.2g", fontsize=7)
    axes.set_yscale("log")
    axes.set_ylabel(label)
    axes.set_xticks(range(len(groups)), list(groups))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    save_figure(figure, path)


def markdown(tables: Sequence[Table]) -> str:
    """The tables as Markdown, aligned so that they read as they are."""
    return "\n\n".join(
        f"{part.title}: {part.about}\n\n{_aligned(part)}" for part in tables
    )


def _aligned(part: Table) -> str:
    cells = [part.columns, *part.rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def spread(
    values: Float[np.ndarray, " seeds"], form: str, deviation: str, unit: str = ""
) -> str:
    """Mean and sample deviation over the seeds, as ``98.6 ± 0.2%``; each in its format.

    The mean alone where there is one seed, or a value that is not finite.
    """
    mean = f"{values.mean():{form}}"
    if values.size == 1 or not np.isfinite(values).all():
        return f"{mean}{unit}"
    return f"{mean} ± {values.std(ddof=1):{deviation}}{unit}"


def write_page(
    folder: RunFolder,
    title: str,
    tables: Sequence[Table],
    captions: Mapping[str, str],
    settings: Mapping[str, Any],
) -> None:
    """Writes ``report.html``: tables, the pictures of ``plots/``, settings.

    Args:
      folder: where ``plots/`` lies.
      title: of the page.
      tables: what was found.
      captions: file name below ``plots/`` to what the picture shows.
      settings: flag to value.
    """
    parts = [element("h1", title), element("p", folder.path, "soft")]
    for part in tables:
        about = element("p", part.about, "soft")
        parts.append(section(part.title, about, table(part.columns, part.rows)))
    for name, caption in captions.items():
        parts.append(picture((folder.plots / name).read_bytes(), caption))
    parts.append(section("Settings", table(("flag", "value"), list(settings.items()))))
    write_text(folder.report, page(f"{title} {folder.path.name}", parts))
