"""Compare jaxdl's speed with PyTorch, Keras and plain Flax on this machine.

Each figure is measured side by side: a fresh process a library, by turns, as many
threads each (loop, guard, products: both sides in one); medians of the rounds, warm-up
apart. From the same initial parameters on the same batches, the first losses of both
sides must agree; else there is no figure. A ratio above 1 means that jaxdl is better.
Beside jaxdl itself: loop (its peer the bare step), guard (against loss that is not
finite; peer without), products (of matrices, by XLA's choice of library), population
(in turn), checkpoint (waiting for the disk), startup, build and compile (the first
start), generation (no cache). Whole runs and data into the step read MNIST and
tiny_shakespeare, prepared by TFDS in --data_dir; like loops and imports they are taken
once.
"""

import dataclasses
import datetime
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import common, flags
from experiments.benchmarks import cases, worker
from experiments.flags import option
from jaxdl import kernels
from jaxdl.hardware import cpu_count
from jaxdl.runs import comparison, environment, screen

NAME = "benchmark"
# Of a loss, relatively. Rounding alone left 8e-5 after three steps of ResNet-20 and at
# most 2e-5 of the other cases; a learning rate 1% off changes the MLP's by 7e-4.
TOLERANCE = 3e-4
DEVICES = ("cpu", "gpu")
KERNELS = ("build", "off")
Say = Callable[[str], Any]


@dataclasses.dataclass(frozen=True)
class Measure:
    """A measure of the table.

    Attributes:
      work: what workers do for it, a key of ``cases.WORK``.
      key, unit: what of their findings it is.
      libraries: those of its peers that are libraries, None for all that are asked.
      ways: peers that are jaxdl itself, in another way.
      more: whether more is better.
      dataset: the TFDS set that it reads; empty: none.
      once: whether it is taken once, however many rounds there are.
    """

    work: str
    key: str
    unit: str
    libraries: Sequence[str] | None = None
    ways: Sequence[str] = ()
    more: bool = False
    dataset: str = ""
    once: bool = False


_FED: Any = {"libraries": ("torch",), "dataset": "mnist", "once": True}
MEASURES = {
    "training_step": Measure("training", "milliseconds", "ms"),
    "memory": Measure("training", "peak_mib", "MiB"),
    "loop": Measure("loop", "milliseconds", "ms", (), ("bare step",), once=True),
    "guard": Measure("guard", "milliseconds", "ms", (), ("unguarded",)),
    "products": Measure("products", "milliseconds", "ms", (), ("XLA's choice",)),
    "population": Measure("population", "milliseconds", "ms", (), ("in turn",)),
    "inference": Measure(
        *("inference", "examples_a_second", "examples/s", ("torch",)), more=True
    ),
    "generation": Measure(
        *("generation", "examples_a_second", "tokens/s", ("torch",), ("no cache",)),
        more=True,
    ),
    "checkpoint": Measure("checkpoint", "milliseconds", "ms", (), ("waiting",)),
    "startup": Measure("startup", "seconds", "s", (), ("first start",)),
    "build": Measure("startup", "build_seconds", "s", (), ("first start",)),
    "compile": Measure("startup", "compile_seconds", "s", (), ("first start",)),
    "import": Measure("import", "seconds", "s", ("torch", "keras", "flax"), once=True),
    "data": Measure("feeding", "examples_a_second", "examples/s", more=True, **_FED),
    "data_step": Measure("feeding", "milliseconds", "ms", **_FED),
    "data_wait": Measure("feeding", "wait_percent", "%", **_FED),
    "end_to_end": Measure("end_to_end", "seconds", "s", **_FED),
    "nanogpt": Measure(
        *("nanogpt", "milliseconds", "ms", ("torch",)),
        dataset="tiny_shakespeare",
        once=True,
    ),
}
CASES = tuple(dict.fromkeys(name for of in cases.WORK.values() for name in of))


@dataclasses.dataclass(frozen=True)
class Settings:
    """What ``benchmark`` lets one set."""

    only: str = option("", f"cases: {', '.join(CASES)}; empty: all")
    measure: str = option("", f"{', '.join(MEASURES)}; empty: all")
    peers: str = option(",".join(cases.DEFAULT_PEERS), "also: compile (torch.compile)")
    device: str = option("cpu", "cpu or gpu")
    kernels: str = option("build", "compiled ones: build (once, if need be), or off")
    data_dir: str = option("", "where TFDS data sets lie; empty: no measure of them")
    rounds: int = option(2, "take each library so often, by turns; medians")
    seconds: float = option(2.0, "how long each timing takes")
    json: bool = option(False, "print JSON rows, and nothing else, on stdout")
    traceback: bool = option(False, "show the traceback of an error")


@dataclasses.dataclass(frozen=True)
class Row:
    """A figure of jaxdl's beside a peer's.

    Attributes:
      case, measure, peer: what was measured.
      ours, theirs: medians, in ``unit``.
      ratio: theirs / ours; above 1 jaxdl is better.
    """

    case: str
    measure: str
    peer: str
    ours: float
    theirs: float
    unit: str
    ratio: float


class Different(RuntimeError):
    """The two sides of a case do not compute the same."""


def take(task: worker.Task) -> dict[str, Any]:
    """What a worker finds, in a fresh process.

    Raises:
      RuntimeError: it failed.
    """
    name = "experiments.benchmarks.worker"
    threads = {"OMP_NUM_THREADS": str(task.cores)}
    if task.library == "keras":
        threads["KERAS_BACKEND"] = "jax"
    done = subprocess.run(
        [sys.executable, "-m", name, json.dumps(dataclasses.asdict(task))],
        capture_output=True,
        text=True,
        env={**os.environ, **threads},
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"case {task.case}, {task.library}: {last[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def check_equal(
    case: str, peer: str, ours: Sequence[float], theirs: Sequence[float]
) -> None:
    """Raise ``Different`` unless the first losses agree to ``TOLERANCE``."""
    apart = [abs(a - b) / max(abs(a), 1e-6) for a, b in zip(ours, theirs, strict=True)]
    # Written so that a loss that is not a number differs too.
    if not all(difference <= TOLERANCE for difference in apart):
        raise Different(
            f"case {case}: {peer} does not compute what jaxdl computes: its first "
            f"losses are {_numbers(theirs)}, not {_numbers(ours)}."
        )


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def measure(
    case: str,
    peers: Sequence[str],
    settings: Settings,
    say: Say,
    taking: Callable[[worker.Task], dict[str, Any]] = take,
    work: str = "training",
) -> dict[str, list[dict[str, Any]]]:
    """What every library's workers found, round by round, by turns.

    A library that has no such case, or did not reach what it was to, is left out; all
    are where jaxdl is.

    Args:
      case, peers: jaxdl comes first, and writes the parameters that the peers read.
      settings: rounds, seconds and device.
      say: told what is going on.
      taking: runs a worker's task.
      work: what the workers do, a key of ``cases.WORK``.

    Raises:
      Different: the first losses of a peer are not jaxdl's.
      RuntimeError: a worker failed.
    """
    found: dict[str, list[dict[str, Any]]] = {"jaxdl": [], **{p: [] for p in peers}}
    with tempfile.TemporaryDirectory() as folder:
        task = worker.Task(
            library="jaxdl",
            case=case,
            parameters=str(Path(folder) / "parameters.npz"),
            cores=cpu_count(),
            device=settings.device,
            seconds=settings.seconds,
            work=work,
            data_dir=settings.data_dir,
        )
        for number in range(settings.rounds):
            together: dict[str, Any] = {}
            for library in list(found):
                result = together.get(library) or taking(
                    dataclasses.replace(task, library=library)
                )
                together |= result.pop("beside", {})
                if "absent" in result:
                    say(f"{case}: skipped: {result['absent']}")
                    if library == "jaxdl":
                        return {}
                    del found[library]
                    continue
                found[library].append(result)
                ours = found["jaxdl"][0]["losses"]
                check_equal(case, library, ours, result["losses"])
                took = f"{result['milliseconds']:.4g} ms"
                told = f"; {result['told']}" if "told" in result else ""
                say(f"{case}, round {number + 1}, {library}: {took}{told}")
    return found


def measure_case(
    case: str, names: Sequence[str], peers: Sequence[str], settings: Settings, say: Say
) -> dict[str, list[dict[str, Any]]]:
    """``measure``, with those of the peers that measures of one work have."""
    told = MEASURES[names[0]]
    beside = [p for p in peers if told.libraries is None or p in told.libraries]
    if told.once:
        settings = dataclasses.replace(settings, rounds=1)
    return measure(case, [*beside, *told.ways], settings, say, work=told.work)


def rows(
    case: str, measures: Sequence[str], found: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[Row]:
    """A row for each measure and peer, from the medians of the rounds; none where
    nothing was found of jaxdl."""
    made = []
    for name in measures if found else ():
        told = MEASURES[name]
        medians = {
            library: statistics.median(result[told.key] for result in results)
            for library, results in found.items()
        }
        ours = medians.pop("jaxdl")
        for peer, theirs in medians.items():
            ratio = ours / theirs if told.more else theirs / ours
            made.append(Row(case, name, peer, ours, theirs, told.unit, ratio))
    return made


def installed(peers: Sequence[str], say: Say) -> list[str]:
    """Those of the peers that are installed; a line for each that is not."""
    here = []
    for peer in peers:
        package = cases.LIBRARIES[peer]
        if importlib.util.find_spec(package):
            here.append(peer)
        else:
            say(f"{peer} is skipped: {package} is not installed (jaxdl[benchmark])")
    return here


def readable(measures: Sequence[str], data_dir: str, say: Say) -> list[str]:
    """Those of the measures whose data set is there; a line for each that is not."""
    here = []
    for name in measures:
        dataset = MEASURES[name].dataset
        if not dataset or (data_dir and Path(data_dir, dataset).is_dir()):
            here.append(name)
        else:
            said = f"{data_dir} holds none" if data_dir else "give --data_dir"
            say(f"{name} is skipped: it reads {dataset}, prepared by TFDS; {said}")
    return here


def prepare_kernels(asked: str, to: Any) -> None:
    """Have workers use the compiled kernels, or leave them out, and say which: they
    are built where they are not yet and a compiler is there."""
    if asked == "off":
        os.environ[kernels.SWITCH] = "off"
    elif not (kernels.switched_off() or kernels.built()):
        to.print("building the compiled kernels, once: python -m jaxdl.kernels")
        try:
            kernels.build()
        except kernels.BuildError as error:
            to.print(f"no compiled kernels: {error}", soft_wrap=True)
            return
    screen.kernels_line(to)


def table(made: Sequence[Row], about: str) -> comparison.Table:
    """A row a case and peer."""
    return comparison.Table(
        title="jaxdl against its peers",
        about=about,
        columns=("case", "measure", "peer", "jaxdl", "peer's", "unit", "times"),
        rows=[
            [
                *(row.case, row.measure, row.peer),
                *(f"{row.ours:.4g}", f"{row.theirs:.4g}", row.unit),
                f"{row.ratio:.2f}",
            ]
            for row in made
        ],
    )


def machine(versions: Mapping[str, str]) -> str:
    """Processor, versions and date."""
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    cpu = environment.environment()["cpu"]
    date = datetime.date.today().isoformat()
    return (
        f"{cpu['model']}, {cpu['count']} cores; Python {platform.python_version()}, "
        f"{named}; {date}"
    )


def _chosen(flag: str, text: str, allowed: Sequence[str]) -> list[str]:
    """The names of a list with commas; else ValueError in one line."""
    return [common.choice(flag, name.strip(), allowed) for name in text.split(",")]


def main(settings: Settings) -> int:
    """Compare as the settings say; the exit code."""
    only = _chosen("only", settings.only or ",".join(CASES), CASES)
    names = ",".join(MEASURES)
    measures = _chosen("measure", settings.measure or names, list(MEASURES))
    peers = _chosen("peers", settings.peers, cases.PEERS)
    common.choice("device", settings.device, DEVICES)
    common.choice("kernels", settings.kernels, KERNELS)
    if settings.rounds < 1 or not settings.seconds > 0:
        raise ValueError("--rounds takes 1 or more, --seconds a number above 0.")
    to = screen.console(json=settings.json)

    def say(line: str) -> None:
        to.print(line, soft_wrap=True)

    if settings.device == "cpu":
        prepare_kernels(settings.kernels, to)
    measures = readable(measures, settings.data_dir, say)
    needed = [MEASURES[name].libraries for name in measures]
    if all(libraries == () for libraries in needed):
        peers = []  # jaxdl beside itself
    peers = installed(peers, say)
    made: list[Row] = []
    versions: dict[str, str] = {}
    wrong: list[Different] = []
    for work, of in cases.WORK.items():
        wanted = [name for name in measures if MEASURES[name].work == work]
        for case in [name for name in of if wanted and name in only]:
            try:
                found = measure_case(case, wanted, peers, settings, say)
            except Different as error:
                wrong.append(error)  # the other cases have their figures all the same
                say(str(error))
                continue
            made += rows(case, wanted, found)
            for results in found.values():
                versions |= results[0]["versions"]
    if made:
        to.print(comparison.markdown([table(made, machine(versions))]), soft_wrap=True)
    if settings.json:
        print(json.dumps([dataclasses.asdict(row) for row in made], indent=2))
    if wrong:
        raise wrong[0]
    return 0


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
