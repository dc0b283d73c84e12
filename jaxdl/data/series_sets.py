"""Series by name: tables whose rows are in order of time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxdl.data.csv_files import read_csv
from jaxdl.data.embedded import installed_file

TextColumns = dict[str, list[str]]


def text_columns(name: str) -> tuple[TextColumns, str]:
    """The columns of the series of that name, and its target where it is embedded.

    Args:
      name: one of ``EMBEDDED``, or "csv:PATH".

    Raises:
      FileNotFoundError, ValueError: there is none, or it is broken.
    """
    if name in EMBEDDED:
        return EMBEDDED[name]()
    prefix, _, path = name.partition(":")
    if prefix != "csv" or not path:
        raise ValueError(
            f"--dataset={name} is unknown: give {', '.join(EMBEDDED)}, or csv:PATH "
            "with --target=COLUMN"
        )
    return read_csv(path), ""


def neuron() -> tuple[TextColumns, str]:
    """6 seconds of a neuron's membrane potential in millivolts, every 0.5 ms: at rest,
    firing regularly, firing irregularly, at rest.

    Source: ``membrane.dat`` of Matplotlib's sample data, the recording in its logo of
    2003, scaled as there.
    """
    volts = np.fromfile(_sample_data("membrane.dat"), "<f4").astype(np.float64)
    return {"potential": _cells(100 * volts)}, "potential"


def eeg() -> tuple[TextColumns, str]:
    """10 seconds of an electroencephalogram: 4 channels, 80 values a second, each in
    its own standard deviations.

    Source: ``eeg.dat`` of Matplotlib's sample data, as in its example "MRI with EEG".
    """
    table = np.fromfile(_sample_data("eeg.dat"), "<f8").reshape(-1, 4)
    names = ("PG3", "PG5", "PG7", "PG9")
    return dict(zip(names, map(_cells, table.T), strict=True)), names[-1]


def _sample_data(name: str) -> Path:
    file = installed_file("matplotlib", "mpl-data", "sample_data", name)
    if file is None:
        raise FileNotFoundError(
            f"Matplotlib's sample data ({name}) is not installed: give "
            "--dataset=csv:PATH --target=COLUMN"
        )
    return file


def _cells(values: np.ndarray) -> list[str]:
    return [repr(value) for value in values.tolist()]


EMBEDDED: dict[str, Callable[[], tuple[TextColumns, str]]] = {
    "neuron": neuron,
    "eeg": eeg,
}
