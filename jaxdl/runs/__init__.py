"""The run: its folder, what it prints and draws, and loading it back."""

import importlib
from typing import Any

# Imported when first named: plots and tables take a while to import.
_NAMES = {
    "Loaded": "loading",
    "Request": "execution",
    "RunFolder": "folder",
    "dry_run": "trial",
    "execute": "execution",
    "load": "loading",
    "make_deterministic": "environment",
    "prepare": "execution",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"jaxdl.runs.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'jaxdl.runs' has no attribute {name!r}")


__all__ = list(_NAMES)
