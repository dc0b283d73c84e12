"""A run's settings as an absl flagfile, and what differs between two of them."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxdl.runs.folder import write_text


def flag_text(name: str, value: Any) -> str | None:
    """A flag's value as its command line would have it; None for an unset flag.

    Raises:
      ValueError: no flagfile can hold it: absl reads flags line by line and
        strips the ends.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        # absl's list flags are read as a line of CSV.
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(value)
        text = line.getvalue()
    else:
        text = repr(value) if isinstance(value, float) else str(value)
    if "\n" in text or "\r" in text:
        raise ValueError(f"--{name} holds a line break; no flagfile can: {text!r}")
    if text != text.rstrip():
        raise ValueError(f"--{name} ends in white space; flagfiles drop it: {text!r}")
    return text


def write_flagfile(path: Path, flags: Mapping[str, Any], comment: str = "") -> None:
    """Writes ``--name=value`` lines, in the order given, unset flags left out.

    ``python -m experiments.X --flagfile=PATH`` then repeats the run. ``comment``
    becomes the first line.

    Raises:
      ValueError: a name or a value that a flagfile cannot hold.
    """
    lines = [f"# {line}" for line in comment.splitlines()]
    for name, value in flags.items():
        if not name.isidentifier() or name in ("flagfile", "undefok"):
            raise ValueError(f"{name!r} is no flag of an experiment")
        text = flag_text(name, value)
        if text is not None:
            lines.append(f"--{name}={text}")
    write_text(path, "".join(f"{line}\n" for line in lines))


def read_flagfile(path: Path) -> dict[str, str]:
    """Reads what ``write_flagfile`` wrote: name to value, both text.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: a line that is not ``--name=value``, or a nested flagfile.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    flags = {}
    # Not splitlines: a value may hold a form feed or a U+2028.
    for number, raw in enumerate(_text(path).split("\n"), start=1):
        line = raw.strip()
        if not line or line.startswith(("#", "//")):
            continue
        name, equals, value = line.removeprefix("--").partition("=")
        if not line.startswith("--") or not equals or name == "flagfile":
            raise ValueError(f"{path}, line {number}: {line!r} is not --name=value")
        flags[name] = value
    return flags


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is broken: not text") from error


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The settings that differ, as lines like ``learning_rate: 0.001 -> 0.01``.

    Values are compared as a flagfile would hold them, numbers by their value;
    a flag that is None and one that is absent are both "not set".
    """
    lines = []
    for name in dict.fromkeys([*old, *new]):
        before = flag_text(name, old.get(name))
        after = flag_text(name, new.get(name))
        if not _equal(before, after):
            shown = ("not set" if text is None else text for text in (before, after))
            lines.append(f"{name}: " + " -> ".join(shown))
    return lines


def _equal(one: str | None, other: str | None) -> bool:
    if one == other:
        return True
    if one is None or other is None:
        return False
    try:
        return float(one) == float(other)
    except ValueError:
        return False
