"""An empty figure, and a PNG of it: matplotlib without pyplot's global state."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from jaxdl.runs.folder import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of so many inches, apart from pyplot's state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def save_figure(figure: "Figure", path: Path) -> None:
    """Writes the PNG whole or not at all; no version or time in it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    content = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(
        content,
        format="png",
        dpi=110,
        bbox_inches="tight",  # labels that the layout would cut off
        pad_inches=0.08,
        metadata={"Software": None},
    )
    write_bytes(Path(path), content.getvalue())
