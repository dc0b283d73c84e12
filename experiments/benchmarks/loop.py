"""The loop against its bare step: what data, metrics and checkpoints cost a run.

The run is a whole one, by ``runs.execute``: recorder, feed, evaluation, checkpoints at
their defaults. Counted is its time to the last step, and what it waits for the last
save behind the test part. The bare side is the same step, compiled by the same way and
in equal blocks, over batches that lie on the device, and the same evaluation over
batches that lie there too, as often as the run checks. So evaluating counts on both
sides, and what is left between them is the loop's. Both go the same steps in turns,
where the run would show samples as it learns (for the clock that saves go by, that time
does not count): what else the machine does then strikes both alike. The first turn is
warm-up on either side: to compile, and to run the first block, in which XLA's libraries
plan their products (0.2 s for a Transformer). What comes after the last step is left
out.
"""

import dataclasses
import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments import common, image_classification, language_model
from jaxdl import __version__, runs
from jaxdl.runs import shown, writers
from jaxdl.runs.folder import RunFolder
from jaxdl.runs.machine import Machine
from jaxdl.train.packing import packed_evaluation
from jaxdl.train.task import Findings, Plan, Shown, Task

Built = Callable[[], tuple[Task, Plan]]

# Of the bare step's batches on the device: those of a pass over the data, up to this
# size. Few that come again and again would stay in a core's cache, as no data set does.
RESIDENT_BYTES = 2**26


def cases(images: Path) -> dict[str, tuple[Any, Any]]:
    """Name to an experiment's module and its settings: steps of about 1 ms, of tens of
    ms by a convolution, and of tens of ms by matrix products."""
    pictures = image_classification.Settings(
        dataset=f"npz:{images}", batch_size=128, augment="none", dropout=0.0
    )
    with_model = dataclasses.replace
    return {
        "mlp_128": (
            image_classification,
            with_model(pictures, model="mlp", max_steps=12_000),
        ),
        "cnn": (
            image_classification,
            with_model(
                pictures, model="simple_cnn", max_steps=2000, evaluate_every=400
            ),
        ),
        "transformer_small": (
            language_model,
            language_model.Settings(
                context=128, width=128, layers=4, max_steps=300, evaluate_every=50
            ),
        ),
    }


def draw_images(path: Path, count: int = 54_000) -> None:
    """An ``npz:`` data set of the shape of MNIST: ten patterns under noise."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 64, size=(10, 28, 28), dtype=np.uint8)
    labels = rng.integers(0, 10, size=count, dtype=np.int32)
    images = rng.integers(0, 192, size=(count, 28, 28), dtype=np.uint8)
    images += patterns[labels]
    np.savez(path, images=images, labels=labels)


def bare_steps(task: Task, plan: Plan) -> Callable[[int], None]:
    """The plan's steps and checks without a loop, compiled: told up to which step,
    it goes on until there."""
    machine = Machine.of(task, plan)
    size = machine.steps_per_call
    way = machine.way.block if size > 1 else machine.way.step
    step = way(task.step, axis=machine.axis)
    count = () if size == 1 else (size,)
    batches = [machine.feed(0, *count)]
    bytes_each = sum(leaf.nbytes for leaf in jax.tree.leaves(batches[0]))
    a_pass = task.data.train.size // (plan.batch_size * size)
    blocks = max(min(a_pass, RESIDENT_BYTES // bytes_each), 2)
    batches += [machine.feed(i * size, *count) for i in range(1, blocks)]
    parts = list(machine.passes(task.data.validation))
    evaluation = machine.way.evaluation(packed_evaluation(task.evaluation))
    state = machine.state()
    state, metrics = step(state, batches[0])
    jax.block_until_ready([evaluation(state, part) for part in parts])
    machine.feed.close()
    taken = 0

    def go_on(end: int) -> None:
        nonlocal state, metrics, taken
        while taken + size <= min(end, plan.steps):
            taken += size
            state, metrics = step(state, batches[taken // size % blocks])
            if taken % plan.evaluate_every < size or taken == plan.steps:
                jax.block_until_ready(metrics)
                jax.device_get([evaluation(state, part) for part in parts])
        jax.block_until_ready(state)

    return go_on


def run_speed(name: str, task: Task, plan: Plan, settings: Any) -> list[writers.Row]:
    """What the whole run told of its speed: at each check, and its account."""
    with tempfile.TemporaryDirectory() as folder:
        request = dataclasses.replace(common.request(name, settings), workdir=folder)
        runs.execute(request, lambda: (task, plan))
        return writers.read(RunFolder(Path(folder)).speed)


def _last_saving(speed: list[writers.Row]) -> float:
    """Seconds that the run went on saving behind its last check."""
    *checks, last = speed
    told = ("saving_seconds", "restoring_seconds")
    before = sum(check.get(name, 0.0) for check in checks for name in told)
    return last["account"]["checkpoint"] - before


def take(name: str) -> dict[str, Any]:
    """The run of a case, and the bare step in turn with it.

    Returns:
      ``milliseconds`` a step, checks included on both sides.
    """
    runs.prepare()
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images.npz"
        draw_images(images)
        module, settings = cases(images)[name]
        task, plan = module.build(settings)
    bare = bare_steps(task, plan)
    between = shown.every(plan.steps, plan.evaluate_every)
    turns: list[tuple[float, float]] = []  # the bare steps', by the clock

    def take_turns(_: Any) -> Shown:
        began = time.perf_counter()
        bare(len(turns) * between)
        turns.append((began, time.perf_counter()))
        return {}

    task = dataclasses.replace(
        task,
        show=take_turns,
        baselines=dict,
        findings=lambda *_: Findings({}, {}),
    )
    speed = run_speed(module.NAME, task, plan, settings)
    pairs = itertools.pairwise(turns[1:])
    looped = sum(began - ended for (_, ended), (began, _) in pairs)
    looped += _last_saving(speed)
    apart = sum(ended - began for began, ended in turns[2:])
    ours, theirs = (
        {
            "losses": [],
            "milliseconds": 1e3 * seconds / (plan.steps - between),
            "versions": {"jaxdl": __version__},
        }
        for seconds in (looped, apart)
    )
    return {**ours, "beside": {"bare step": theirs}}
