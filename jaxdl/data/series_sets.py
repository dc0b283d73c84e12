"""Series by name: tables whose rows are in order of time."""

from collections.abc import Callable

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


def eeg() -> tuple[TextColumns, str]:
    """10 seconds of an electroencephalogram: 4 channels, 80 values a second, each in
    its own standard deviations; the target is the channel PG9.

    Source: ``eeg.dat``, the recording of Matplotlib's example "MRI with EEG".
    """
    file = installed_file("matplotlib", "mpl-data", "sample_data", "eeg.dat")
    if file is None:
        raise FileNotFoundError(
            "the sample data of Matplotlib is not installed: give --dataset=csv:PATH"
        )
    table = np.fromfile(file, "<f8").reshape(-1, 4)
    names = ("PG3", "PG5", "PG7", "PG9")
    columns = [list(map(repr, column)) for column in table.T.tolist()]
    return dict(zip(names, columns, strict=True)), names[-1]


EMBEDDED: dict[str, Callable[[], tuple[TextColumns, str]]] = {"eeg": eeg}
