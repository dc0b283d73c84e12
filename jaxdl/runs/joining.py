"""Joining a run of several processes: one prints, all have the same settings."""

import faulthandler
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from typing import Any, cast

import jax

from jaxdl import kernels
from jaxdl.parallel import cluster, hosts
from jaxdl.runs import same_code
from jaxdl.runs.folder import jsonable

# What processes of one run may have each for themselves.
_OWN = ("coordinator", "process_id", "traceback")
# Bytes that names and hashes of all modules take at most.
_MODULES = 2**16


def join(experiment: str, settings: Mapping[str, Any], asked: cluster.Asked) -> None:
    """Join the other processes, where there are any; from then on only the first
    prints on stdout.

    Args:
      experiment: its name.
      settings: name to value; all processes must have the same.
      asked: which cluster.

    Raises:
      ValueError, OSError: in one line, when they cannot be joined.
    """
    if jax.distributed.is_initialized():
        return
    cluster.join(asked)
    if hosts.count() > 1:
        _only_the_first_prints()
        faulthandler.disable()  # it adds a hundred lines to what JAX aborts with
        code = {"jax": jax.__version__, "compiled kernels": str(kernels.load())}
        require_alike({"experiment": experiment, **code, **settings})
        require_same_code(same_code.loaded_code())


def require_same_code(mine: Mapping[str, str]) -> None:
    """Raise ValueError, in one line that names modules, where processes have loaded
    other ones; ``mine`` are the hashes of this one's, by module."""
    whole = hashlib.sha256(json.dumps(mine, sort_keys=True).encode()).hexdigest()
    if len(set(hosts.gather(whole[:12], hosts.LITTLE))) == 1:
        return
    said = hosts.gather(dict(mine), _MODULES)

    def compare() -> None:
        for number, theirs in enumerate(said):
            if found := same_code.changes({"code": said[0]}, {"code": theirs}):
                raise ValueError(
                    f"process {number} has other code than process 0 "
                    f"({'; '.join(found)}): start all with the same code."
                )

    hosts.together(compare)


def require_alike(settings: Mapping[str, Any]) -> None:
    """Raise ValueError, in one line that names them, where settings of the processes
    differ."""

    def compare() -> None:
        for number, theirs in enumerate(said):
            changed = [name for name in mine if theirs.get(name) != said[0].get(name)]
            if changed:
                parts = (
                    f"{name} is {said[0].get(name)!r} in process 0 and "
                    f"{theirs.get(name)!r} in process {number}"
                    for name in changed
                )
                raise ValueError(
                    f"processes of one run differ: {'; '.join(parts)}. Start all with "
                    "the same code and flags, or with --distributed=off to train apart."
                )

    mine = {k: v for k, v in jsonable(settings).items() if k not in _OWN}
    said = hosts.gather(mine)
    hosts.together(compare)


def _only_the_first_prints() -> None:
    """Silence stdout but for what the first process's Python prints: Gloo greets there
    from C++, in every process."""
    printed, real = sys.stdout, cast(Any, sys.__stdout__)
    if printed is not real:
        return  # someone listens already: a notebook, a test
    printed.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    if hosts.primary():
        sys.stdout = os.fdopen(kept, "w", buffering=1, encoding=printed.encoding)
    else:
        os.close(kept)
