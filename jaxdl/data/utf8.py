"""Text files."""

from pathlib import Path


def read_utf8(path: str | Path) -> str:
    """The text of a file in UTF-8, with or without a byte-order mark; its lines end in
    a line feed.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not UTF-8.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"{path} does not exist or is no file")
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8"
        ) from error
