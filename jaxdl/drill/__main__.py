"""Drill a training command: kill it, stop it, damage its files, fill its disk.

  python -m jaxdl.drill --faults=kill,term,flip --count=5 -- \
      python -m experiments.image_classification --model=mlp --max_steps=240 \
      --epochs=0 --evaluate_every=10 --save_every=3

First one run is left alone. After each fault the command is run to its end, which must
equal that run: every bit of parameters, optimizer and early stopping, the metrics file,
the best step. Give a command whose training takes some seconds and saves often; of
several processes (python -m jaxdl.launch ... -- COMMAND) one is killed, or hangs. Only
on Linux.
The exit code is 0 where nothing was lost, 1 where something was, 2 for a wrong command.
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jax

from jaxdl.drill import FAULTS, Tally, prepare


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drills; the exit code."""
    asked = _parser().parse_args(arguments)
    command = asked.command[1:] if asked.command[:1] == ["--"] else asked.command
    names = [name.strip() for name in asked.faults.split(",") if name.strip()]
    wrong = _wrong(names, asked.count, command)
    if wrong:
        return _fail(wrong)
    # Here states are only read; the commands may have the accelerator for themselves.
    jax.config.update("jax_platforms", "cpu")
    with tempfile.TemporaryDirectory(prefix="jaxdl-drill-") as scratch:
        place = Path(asked.keep or scratch)
        try:
            drill = prepare(command, place, _say)
            tallies = [
                FAULTS[name](drill, random.Random(f"{asked.seed} {name}"), asked.count)
                for name in names
            ]
        except (ValueError, OSError) as error:
            return _fail(str(error))
    print(_json(tallies) if asked.json else _table(tallies))
    return 1 if any(tally.lost for tally in tallies) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        usage="python -m jaxdl.drill [--faults=A,B] [--count=N] [--seed=S] [--json] "
        "[--keep=FOLDER] -- COMMAND...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--faults", default="kill,term,flip", help=f"of {', '.join(FAULTS)}"
    )
    parser.add_argument("--count", type=int, default=5, help="tries of each (5)")
    parser.add_argument("--seed", type=int, default=0, help="of moments and places")
    parser.add_argument("--json", action="store_true", help="JSON alone on stdout")
    parser.add_argument("--keep", default="", help="leave the runs in this new folder")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to drill")
    return parser


def _wrong(names: Sequence[str], count: int, command: Sequence[str]) -> str:
    """What is wrong with the command line; empty where nothing is."""
    for name in names:
        if name not in FAULTS:
            return f"--faults={name}: give some of {', '.join(FAULTS)}."
    if not names:
        return f"--faults is empty: give some of {', '.join(FAULTS)}."
    if count < 1:
        return f"--count={count}: give 1 or more."
    if not command:
        return "nothing to drill: give the command after --, such as -- python -m X."
    if any(part.startswith("--workdir") for part in command):
        return "the command names a --workdir: leave it out, each run is given its own."
    return ""


def _table(tallies: Sequence[Tally]) -> str:
    lines = [f"{'fault':<10}{'tried':>7}{'survived':>10}{'lost':>6}"]
    for tally in tallies:
        row = f"{tally.fault:<10}{tally.tried:>7}{tally.survived:>10}{tally.lost:>6}"
        lines += [row, *(f"    {note}" for note in tally.notes)]
    return "\n".join(lines)


def _json(tallies: Sequence[Tally]) -> str:
    return json.dumps([vars(tally) for tally in tallies], indent=2)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _fail(line: str) -> int:
    _say(f"jaxdl.drill: {line}")
    return 2


if __name__ == "__main__":
    sys.exit(main())
