"""Whether the code that goes on with a run is the code that began it."""

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

# Another release of these may compute the same step to other bits.
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


def loaded_code() -> dict[str, str]:
    """A short hash of each module that is loaded: jaxdl's, and those that the command
    belongs to (the package of ``python -m package.module``, or the script)."""
    main = _own_name(sys.modules.get("__main__"))
    ours = {"jaxdl", main.partition(".")[0]}
    found = {}
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] in ours or name == "__main__":
            content = _content(module)
            if content is not None:
                known = main if name == "__main__" else name
                found[known] = hashlib.sha256(content).hexdigest()[:12]
    return found


def _own_name(main: ModuleType | None) -> str:
    """The name that what was started has where it is imported; a script's file."""
    spec = getattr(main, "__spec__", None)
    return Path(getattr(main, "__file__", "")).name if spec is None else spec.name


def _content(module: ModuleType) -> bytes | None:
    path = getattr(module, "__file__", None)
    if not path or not str(path).endswith(".py"):
        return None
    try:
        return Path(path).read_bytes()
    except OSError:
        return None


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of the code is other than it was, in words; empty where nothing is.

    Args:
      before, now: what ``environment.environment()`` gave then and gives now. Modules
        that only one of them has loaded say nothing: what imports them would differ.
    """
    ours, theirs = _names(now, "code"), _names(before, "code")
    changed = [name for name in theirs if ours.get(name, theirs[name]) != theirs[name]]
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    found = [f"changed: {', '.join(changed[:3])}{more}"] if changed else []
    ours, theirs = _names(now, "versions"), _names(before, "versions")
    for name in _PACKAGES:
        if name in theirs and ours.get(name) != theirs[name]:
            found.append(f"{name} {theirs[name]} -> {ours.get(name)}")
    kernels = before.get("compiled_kernels"), now.get("compiled_kernels")
    if "compiled_kernels" in before and kernels[0] != kernels[1]:
        found.append(f"compiled kernels: {kernels[0]} -> {kernels[1]}")
    return found


def _names(about: Mapping[str, Any], field: str) -> dict[str, Any]:
    found = about.get(field)
    return found if isinstance(found, dict) else {}
