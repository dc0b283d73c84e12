"""Fault drills: does a run survive kills, signals, damaged files and full disks?

``python -m jaxdl.drill --faults=kill,flip -- COMMAND`` runs them against any training
command; ``prepare`` and ``FAULTS`` are the same as functions. Commands are started as
processes of their own, in a scratch folder.
"""

from jaxdl.drill.damage import flip
from jaxdl.drill.disks import disk, limit, readonly, vanish
from jaxdl.drill.equal import differences
from jaxdl.drill.processes import hang, kill, term
from jaxdl.drill.running import Drill, Tally, prepare
from jaxdl.drill.saves import saves

# Name to ``fault(drill, draw, count) -> Tally``.
FAULTS = {
    "kill": kill,
    "term": term,
    "hang": hang,
    "flip": flip,
    "disk": disk,
    "limit": limit,
    "readonly": readonly,
    "vanish": vanish,
    "saves": saves,
}

__all__ = ["FAULTS", "Drill", "Tally", "differences", "prepare"]
