"""TensorBoard's messages, as tensorboardX has them; without the rest of that package,
which imports PyTorch wherever it is installed: 2.5 s, for nothing that is needed here.
"""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def _bare(package: str) -> Iterator[None]:
    """While inside, modules of a package are imported without the package itself; who
    imports that later gets it whole."""
    if package in sys.modules:
        yield
        return
    found = importlib.util.find_spec(package)
    if found is None or found.submodule_search_locations is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    stand_in = ModuleType(package)
    stand_in.__path__ = list(found.submodule_search_locations)
    sys.modules[package] = stand_in
    try:
        yield
    finally:
        del sys.modules[package]


with _bare("tensorboardX"):
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.record_writer import masked_crc32c

__all__ = ["Event", "SessionLog", "Summary", "masked_crc32c"]
