"""Processes that end before their time: killed at any moment, or asked to stop."""

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

from jaxdl.drill.running import Drill, Running, Tally, steps_of

# A run may be over before its kill comes; then another is begun.
_TRIES = 4


def kill(drill: Drill, draw: random.Random, count: int) -> Tally:
    """SIGKILL at random moments: of one process, drawn, where a command has several.

    Of four kills one falls into starting, one beside or into a save, two into
    training. A run takes several, is then run to its end, and must equal the whole.
    """
    tally, left = Tally("kill"), count
    while left > 0:
        folder, killed = drill.fresh("kill"), 0
        share = min(left, draw.randint(2, 5))
        for _ in range(_TRIES * share):
            if killed == share:
                break
            killed += _kill(drill.begin(folder), draw)
            if (folder / "summary.json").is_file():
                break  # it came to its end
        wrong = drill.end(folder)
        drill.say(f"kill: {killed} of a run, then {wrong or 'equal'}")
        if killed:
            tally.count(wrong, killed)
        left -= max(killed, 1)
    return tally


def _kill(running: Running, draw: random.Random) -> bool:
    """Kill at a moment drawn; whether that came in time."""
    when = draw.randrange(4)
    if when == 0:
        time.sleep(draw.uniform(0.3, 6.0))
    elif when == 1:
        states = running.folder / "states"
        running.until(lambda: _saving(states), pause=0.001)
        time.sleep(draw.uniform(0.0, 0.1))
    elif running.until_training():
        time.sleep(draw.uniform(0.0, 0.7))
    victim = draw.choice(running.processes() or [running.process.pid])
    with suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    return running.wait() in (-signal.SIGKILL, 128 + signal.SIGKILL)


def _saving(states: Path) -> bool:
    with suppress(OSError):
        return any("tmp" in path.name for path in states.iterdir())
    return False


def hang(drill: Drill, draw: random.Random, count: int) -> Tally:
    """SIGSTOP of one of several processes while they train: the others must end by
    themselves, not with exit code 0, and say which one it was; started again, the run
    must equal the whole. Give the command a small ``--heartbeat``."""
    tally = Tally("hang")
    for _ in range(count):
        folder = drill.fresh("hang")
        running = drill.begin(folder)
        if not running.until_training():
            raise ValueError("the command is over before it can hang: give more steps.")
        time.sleep(draw.uniform(0.0, 0.7))
        victims = running.processes()
        if len(victims) < 2:
            running.process.kill()
            running.wait()
            raise ValueError(
                "a process that hangs is missed by others only: give a command of "
                "several, python -m jaxdl.launch --processes=2 -- COMMAND."
            )
        which, began = draw.randrange(len(victims)), time.monotonic()
        os.kill(victims[which], signal.SIGSTOP)
        code = running.wait()
        wrong = [f"exit code {code} with a process that hung"] if code <= 0 else []
        if f"process {which} did not run" not in running.last_line():
            wrong.append(f"process {which} hung, and it said: {running.last_line()}")
        wrong += drill.end(folder)
        seconds = time.monotonic() - began
        drill.say(f"hang: ended and repeated in {seconds:.0f} s, {wrong or 'equal'}")
        tally.count(wrong)
    return tally


def term(drill: Drill, draw: random.Random, count: int) -> Tally:
    """SIGTERM at random moments while training: exit code 143, the very step reached
    is on disk, nothing but words on stderr, and the same end as the whole run's."""
    tally, left = Tally("term"), count
    while left > 0:
        folder, stopped, wrong = drill.fresh("term"), 0, []
        for _ in range(min(left, draw.randint(1, 4))):
            running = drill.begin(folder)
            if not running.until_training():
                break
            time.sleep(draw.uniform(0.0, 0.7))
            running.process.send_signal(signal.SIGTERM)
            code = running.wait()
            if code == 0:
                break  # it was over before the signal came
            stopped += 1
            wrong += _badly_stopped(running, code)
        wrong += drill.end(folder)
        drill.say(f"term: {stopped} of a run, then {wrong or 'equal'}")
        if stopped:
            tally.count(wrong, stopped)
        left -= max(stopped, 1)
    return tally


def _badly_stopped(running: Running, code: int) -> list[str]:
    """What a run that was asked to stop did not do."""
    out, err = running.printed
    wrong = []
    if code != 128 + signal.SIGTERM:
        wrong.append(f"exit code {code} after SIGTERM")
    if "Traceback" in err:
        wrong.append("a traceback after SIGTERM")
    newest = next((int(path.name) for path in steps_of(running.folder)), -1)
    if f"stopped at step {newest} and saved; go on with:" not in out:
        wrong.append(f"step {newest} is saved, which is not what it says")
    return wrong
