"""Many saves in a row: memory, files and the time of a save must stay flat."""

import os
import random
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from jaxdl.drill.running import Drill, Tally
from jaxdl.train.checkpoints import Checkpoints

# Growth from the second tenth of the saves to the last that counts as a leak.
_MEGABYTES, _FACTOR = 64.0, 3.0


def saves(drill: Drill, draw: random.Random, count: int) -> Tally:
    """Save a state so many times in this process; fewer than 12 say nothing."""
    tally = Tally("saves")
    keys = jax.random.split(jax.random.key(draw.randrange(2**31)), 8)
    state = {str(i): jax.random.normal(key, (64, 64)) for i, key in enumerate(keys)}
    progress = {"best_step": jnp.asarray(-1)}
    seconds, memory, files = [], [], []
    folder = drill.fresh("saves")
    with Checkpoints(folder) as checkpoints:
        for step in range(count):
            began = time.perf_counter()
            checkpoints.save(step, state, progress)
            checkpoints.wait()
            seconds.append(time.perf_counter() - began)
            memory.append(_resident())
            files.append(sum(1 for path in folder.rglob("*") if path.is_file()))
            if step % 100 == 99:
                drill.say(f"saves: {step + 1}, {memory[-1]:.0f} MB, {files[-1]} files")
    tenth = max(count // 10, 4)  # the first fill the folder
    early, late = slice(tenth, 2 * tenth), slice(-tenth, None)
    before, after = (statistics.median(seconds[part]) for part in (early, late))
    wrong = [f"{n} saves failed" for n in [len(checkpoints.failed)] if n]
    if max(files[late]) > 1.5 * max(files[early]):  # Orbax packs arrays as it likes
        wrong.append(f"files grew from {max(files[early])} to {max(files[late])}")
    if memory[-1] - memory[min(2 * tenth, count) - 1] > _MEGABYTES:
        wrong.append("memory grew")
    if count >= 100 and after > _FACTOR * before:
        wrong.append("saves became slower")
    tally.count(wrong, count)
    tally.notes.append(
        f"a save {1000 * before:.0f} ms early, {1000 * after:.0f} ms late; memory "
        f"{memory[tenth]:.0f} MB early, {memory[-1]:.0f} MB late; "
        f"files {max(files[early])} early, {max(files[late])} late"
    )
    return tally


def _resident() -> float:
    """Megabytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
