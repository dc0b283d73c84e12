"""jaxdl: functional deep learning in JAX. One pure step, run any way.

Everything that learns is a pure function ``step(state, batch) -> (state,
metrics)``; the same step is jitted, scanned, vmapped, pmapped or sharded.

The rooms are imported when first named (``jaxdl.train``, ``jaxdl.models``...),
so that importing jaxdl is quick, touches no device and parses no flag.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_ROOMS = (
    "analysis",
    "batch",
    "data",
    "generation",
    "layers",
    "metrics",
    "models",
    "objectives",
    "optimizers",
    "parallel",
    "runs",
    "search",
    "train",
)

if TYPE_CHECKING:
    from jaxdl import (
        analysis as analysis,
    )
    from jaxdl import (
        batch as batch,
    )
    from jaxdl import (
        data as data,
    )
    from jaxdl import (
        generation as generation,
    )
    from jaxdl import (
        layers as layers,
    )
    from jaxdl import (
        metrics as metrics,
    )
    from jaxdl import (
        models as models,
    )
    from jaxdl import (
        objectives as objectives,
    )
    from jaxdl import (
        optimizers as optimizers,
    )
    from jaxdl import (
        parallel as parallel,
    )
    from jaxdl import (
        runs as runs,
    )
    from jaxdl import (
        search as search,
    )
    from jaxdl import (
        train as train,
    )


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"jaxdl.{name}")
    raise AttributeError(f"module 'jaxdl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])


__all__ = [*_ROOMS, "__version__"]
