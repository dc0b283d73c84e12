"""Search: spaces of hyper-parameters, which trials to try next, what mattered.

Pure functions of a space and of a table of trials; what runs trials and keeps the
table is ``jaxdl.runs.search``.
"""

from jaxdl.search.importance import Importance, importance
from jaxdl.search.spaces import (
    Choice,
    Dimension,
    Integer,
    Log,
    Space,
    Uniform,
    describe,
    parse,
    places,
)
from jaxdl.search.strategies import (
    STRATEGIES,
    Search,
    ask,
    narrowed,
    sample,
    space_of,
)
from jaxdl.search.trials import Asked, Trial, best, ranked, whole

__all__ = [
    "STRATEGIES",
    "Asked",
    "Choice",
    "Dimension",
    "Importance",
    "Integer",
    "Log",
    "Search",
    "Space",
    "Trial",
    "Uniform",
    "ask",
    "best",
    "describe",
    "importance",
    "narrowed",
    "parse",
    "places",
    "ranked",
    "sample",
    "space_of",
    "whole",
]
