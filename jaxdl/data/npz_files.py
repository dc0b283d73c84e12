"""Archives of NumPy arrays, read without running or swallowing what they bring."""

import os
import zipfile
from pathlib import Path

import numpy as np

# A file of eight megabytes may unpack to as many gigabytes. Images of little content
# do compress well, so that only large archives are judged by it.
_WORTH_JUDGING = 2**30
_GREATEST_RATIO = 200


def read_npz(file: Path) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` archive by name.

    Nothing is unpickled and nothing written: members are read by name whatever
    paths those are.

    Raises:
      ValueError: in one line: no archive, one that is damaged, holds objects, or
        unpacks to more than is plausible or the memory holds.
    """
    try:
        # Never unpickle: an archive of objects may run code when read.
        found = np.load(file, allow_pickle=False)
        if isinstance(found, np.ndarray):
            raise ValueError("it is a single array")
        with found as archive:
            _require_room(archive.zip)  # type: ignore[arg-type]
            return {key: archive[key] for key in archive.files}
    # Broken archives make NumPy and zipfile raise nearly anything (BadZipFile,
    # zlib.error, TokenError, MemoryError, NotImplementedError...).
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise ValueError(
            f"npz:{file} is no archive of plain NumPy arrays ({reason}); write it with "
            "np.savez(path, x_train=..., y_train=...)"
        ) from error


def _require_room(archive: zipfile.ZipFile) -> None:
    """Refuse an archive before it is unpacked, where that would fill the memory."""
    packed = sum(member.compress_size for member in archive.infolist())
    size = sum(member.file_size for member in archive.infolist())
    if size > _WORTH_JUDGING and size > _GREATEST_RATIO * packed:
        raise ValueError(
            f"its {packed:,} bytes unpack to {size:,}: such an archive is refused "
            "unless it is stored unpacked"
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise ValueError(
            f"it unpacks to {size:,} bytes, but the machine's memory has {memory:,}"
        )
