"""Damaged checkpoints: bits flipped, files cut short or gone."""

import random
import shutil
from pathlib import Path

from jaxdl.drill.equal import same_state
from jaxdl.drill.running import Drill, Tally, copied, interrupted, steps_of
from jaxdl.runs.folder import RunFolder, read_json
from jaxdl.train import manifest
from jaxdl.train.checkpoints import Checkpoints

# So many damages are looked at where they lie for each that a whole run is put to.
_EACH = 50


def flip(drill: Drill, draw: random.Random, count: int) -> Tally:
    """Flipped bits, cut and missing files, all over the files of checkpoints.

    Every damage must be found by the manifest, or leave every bit of what is read as
    it was. A few are then put to a run on its way: it must name the step, set it
    aside, and end as the whole one did.
    """
    tally = Tally("flip")
    harmless = _in_place(drill, draw, count, tally)
    half = interrupted(drill)
    runs = -(-count // _EACH)
    for number in range(runs):
        tally.count(_in_a_run(drill, draw, half, number))
    tally.notes.append(
        f"{count} damages: {count - harmless} found, {harmless} of bytes that nothing "
        f"reads; {runs} more put to runs"
    )
    return tally


def damage(path: Path, draw: random.Random) -> str:
    """Damage a file; what was done."""
    content = path.read_bytes()
    at = draw.randrange(max(len(content), 1))
    what = draw.choices(["flip", "cut", "gone"], [6, 3, 1])[0]
    if what == "gone" or not content:
        path.unlink()
        return f"{path.name} removed"
    if what == "cut":
        path.write_bytes(content[:at])
        return f"{path.name} cut to {at} of {len(content)} bytes"
    flipped = bytearray(content)
    bit = draw.randrange(8)
    flipped[at] ^= 1 << bit
    path.write_bytes(bytes(flipped))
    return f"bit {bit} of byte {at} of {path.name} flipped"


def _in_place(drill: Drill, draw: random.Random, count: int, tally: Tally) -> int:
    """Damage a copy of the newest checkpoint, again and again; how often it was
    harmless."""
    folder = copied(drill.whole / "states", drill.fresh("flip"))
    step = max(int(path.name) for path in folder.iterdir() if path.name.isdigit())
    place, harmless = folder / str(step), 0
    with Checkpoints(folder, read_only=True) as checkpoints:
        whole = checkpoints.read(step)
    files = sorted(path for path in place.rglob("*") if path.is_file())
    for _ in range(count):
        path = draw.choice(files)
        content = path.read_bytes()
        what = damage(path, draw)
        silent = not manifest.wrong(place)
        harmless += silent
        wrong = []
        if silent:
            with Checkpoints(folder, read_only=True) as checkpoints:
                if not same_state(whole, checkpoints.read(step)):
                    wrong = [f"{what}: restored without a word"]
        tally.count(wrong)
        path.write_bytes(content)
    return harmless


def _in_a_run(drill: Drill, draw: random.Random, half: Path, number: int) -> list[str]:
    """Damage the newest checkpoint of a run on its way, or any; what is wrong then."""
    folder = copied(half, drill.fresh("damaged"))
    steps = list(steps_of(folder))
    place = steps[0] if number % 2 == 0 else draw.choice(steps)
    files = [path for path in place.rglob("*") if path.is_file()]
    what = damage(draw.choice([p for p in files if p.stat().st_size > 200]), draw)
    found = manifest.wrong(place)
    running = drill.begin(folder)
    code = running.wait()
    _, err = running.printed
    drill.say(f"flip: {what} of checkpoint {place.name}: {running.last_line()[:200]}")
    if code != 0:
        return [f"{what}: exit code {code}: {running.last_line()}"]
    if place == steps[0] and found and f"checkpoint {place.name} is damaged" not in err:
        return [f"{what}: not a word of checkpoint {place.name}"]
    wrong = drill.differences(folder)
    told = " ".join(read_json(RunFolder(folder).summary).get("warnings", []))
    if wrong and f"the best checkpoint, {place.name}, is lost" in told:
        wrong = []  # it cannot be had again, and that is said
    if not wrong:
        shutil.rmtree(folder.parent)
    return [f"{what}: {line}" for line in wrong]
