"""The shared flags, and how an experiment's settings become a command line.

An experiment's ``Settings`` is a frozen dataclass; each field made by ``option``
becomes one flag. Nothing here knows an experiment.
"""

import dataclasses
import gc
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from absl import app, flags, logging

from jaxdl.parallel import hosts
from jaxdl.runs.text import printable

S = TypeVar("S")


def option(default: Any, help: str, *, same_run: bool = False) -> Any:
    """A settings field with its help.

    Args:
      default: also says the type: bool, int, float, str, or () for several str.
      help: a line.
      same_run: whether a run may be resumed with another value.
    """
    return dataclasses.field(
        default=default, metadata={"help": help, "same_run": same_run}
    )


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """What every training experiment lets one set."""

    dataset: str = option("digits", "embedded name, TFDS name, npz:PATH, folder:PATH")
    data_dir: str = option("", "where TFDS data sets lie")
    model: str = option("", "model name; empty takes the experiment's own")
    epochs: int = option(0, "passes over the training part", same_run=True)
    max_steps: int = option(0, "stop after so many steps; 0: epochs", same_run=True)
    batch_size: int = option(128, "examples a step, over all devices")
    optimizer: str = option(
        "adam", "sgd, momentum, adamw, lion, muon...; a wrong one lists all"
    )
    learning_rate: float = option(1e-3, "peak learning rate")
    schedule: str = option("constant", "learning-rate schedule; a wrong one lists all")
    warmup_steps: int = option(0, "steps of linear warm-up; 0: as the schedule has it")
    weight_decay: float = option(0.0, "decoupled decay of weights, not biases or norms")
    l2: float = option(0.0, "L2 penalty on weights, added to the loss")
    clip_norm: float = option(0.0, "bound on the gradient's norm; 0: none")
    dropout: float = option(0.0, "dropout rate")
    ema_decay: float = option(0.0, "moving average of parameters; 0: none")
    accumulate_steps: int = option(1, "microbatches a batch is cut into")
    freeze: str = option("", "regular expression over parameter paths to keep fixed")
    init_from: str = option(
        "", "run to take parameters from; RUN:REGEX: those whose paths begin so"
    )
    seed: int = option(0, "seed of parameters, batches and noise")
    split_seed: int = option(0, "seed of the splits")
    validation_fraction: float = option(0.0, "share for validation; 0: by size")
    evaluate_every: int = option(
        0, "steps between validation checks; 0: about an epoch"
    )
    save_every: int = option(0, "steps between checkpoints; 0: at checks, by time")
    patience: int = option(0, "checks without improvement before stopping; 0: never")
    monitor: str = option("loss", "validation metric that decides what is best")
    min_delta: float = option(0.0, "least improvement that counts")
    workdir: str = option("", "run folder; empty: checkpoints/...", same_run=True)
    resume: str = option("auto", "auto, never or must", same_run=True)
    seeds: int = option(1, "train so many seeds, from --seed on, as one program")
    bootstrap: bool = option(False, "train on a sample drawn with replacement")
    parallel: str = option("auto", "auto, none, data, fsdp or pmap", same_run=True)
    mesh: str = option("", "devices by use, e.g. data:4,model:2", same_run=True)
    steps_per_call: str = option("auto", "steps a dispatch, or auto", same_run=True)
    precision: str = option("float32", "compute in float32 or bfloat16")
    on_nonfinite: str = option(
        "stop", "loss or gradient not finite: stop, skip, ignore"
    )
    memory_budget: int = option(1024, "MiB of data kept on the device, else streamed")
    distributed: str = option(
        "auto",
        "train with other processes: auto (in a cluster), off, on",
        same_run=True,
    )
    coordinator: str = option("", "HOST:PORT where process 0 listens", same_run=True)
    process_count: int = option(0, "how many processes train together", same_run=True)
    process_id: int = option(-1, "which one this is, from 0 on", same_run=True)
    heartbeat: int = option(
        100, "seconds after which a silent process counts as dead", same_run=True
    )
    deterministic: bool = option(
        False, "GPU kernels that give equal bits each time (slower)", same_run=True
    )
    verify: bool = option(
        True,
        "restore no checkpoint but one with the hashes of its manifest",
        same_run=True,
    )
    other_code: bool = option(
        False, "go on with a run of other code or library versions", same_run=True
    )
    dry_run: bool = option(False, "build, one step, one check; no run", same_run=True)
    profile: bool = option(False, "leave a trace of some steps", same_run=True)
    traceback: bool = option(False, "show the traceback of an error", same_run=True)


def identity(settings: Any) -> dict[str, Any]:
    """The settings that make a run this run and no other."""
    return {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if not field.metadata["same_run"]
    }


def run(
    name: str,
    settings_class: type[S],
    main: Callable[[S], int | None],
    doc: str,
    files: str = "",
) -> None:
    """Parse the command line into settings and call ``main``; never returns.

    ``files`` names the field that also takes what follows without a flag. A wrong
    flag, path, file or value ends in one line and exit code 2; an error
    of the machine in one line and 1; ``--traceback`` shows where it came from.
    """
    if any(a in ("--helpshort", "-helpshort", "--help", "-help") for a in sys.argv[1:]):
        print(help_text(name, settings_class, doc))
        sys.exit(0)
    asked: list[S] = []

    def parse(argv: Sequence[str]) -> list[str]:
        try:
            asked.append(read(settings_class, argv, files))
        # OSError: a flagfile that is not there; ValueError: one that is no text.
        except (flags.Error, OSError, ValueError) as error:
            _fail(name, error, 2)
        return list(argv[:1])

    def call(_: Sequence[str]) -> None:
        # All that is imported stays, and imports and traces to come make much that
        # does: to look through it for garbage took 1.4 s of a run of 13, now 0.4.
        if not gc.get_freeze_count():  # once a process: what is frozen is kept forever
            gc.freeze()
            gc.set_threshold(10_000, 10, 10)
        logging.set_verbosity(logging.WARNING)
        logging.get_absl_handler().addFilter(_on_one_line)
        code = _guarded(name, main, asked[0])
        if hosts.count() == 1:
            hosts.leave(code)
        sys.exit(code)  # several processes take leave of one another

    app.run(call, flags_parser=parse)


def read(
    settings_class: type[S],
    argv: Sequence[str],
    files: str = "",
    values: flags.FlagValues = flags.FLAGS,
) -> S:
    """The settings that a command line says.

    Args:
      settings_class: of what experiment.
      argv: the command line, its program's name first.
      files: the field that also takes what follows without a flag.
      values: where the flags are defined.

    Raises:
      flags.Error, OSError, ValueError: a flag, a value or a flagfile that is none.
    """
    _define(settings_class, values)
    rest = values(list(argv))[1:]
    if rest and not files:
        raise flags.Error(f"unexpected argument {rest[0]!r}: flags begin with --.")
    fields: Any = settings_class
    names = [field.name for field in dataclasses.fields(fields)]
    given: dict[str, Any] = {name: values[name].value for name in names}
    given |= {k: tuple(v) for k, v in given.items() if isinstance(v, list)}
    if files:
        given[files] += tuple(rest)
    return settings_class(**given)


def _guarded(name: str, main: Callable[[S], int | None], settings: S) -> int:
    """The exit code of ``main``; an error ends in a line, or in a traceback."""
    try:
        return main(settings) or 0
    except hosts.Elsewhere:
        return hosts.leave(2)
    except (ValueError, OSError, RuntimeError, ImportError, MemoryError) as error:
        if not getattr(settings, "traceback", False):
            _fail(name, error, 2 if isinstance(error, ValueError) else 1)
        traceback.print_exc()
        return hosts.leave(1)
    except (Exception, KeyboardInterrupt):
        if hosts.count() == 1:
            raise
        traceback.print_exc()
        return hosts.leave(1)


def _define(settings_class: type, values: flags.FlagValues) -> None:
    define: dict[type, Callable[..., Any]] = {
        bool: flags.DEFINE_boolean,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
        tuple: flags.DEFINE_multi_string,
    }
    for field in dataclasses.fields(settings_class):
        if field.name not in values:
            define[type(field.default)](
                field.name, field.default, field.metadata["help"], flag_values=values
            )


def _on_one_line(record: Any) -> bool:
    """Warnings too quote names of columns and classes: without control characters."""
    record.msg, record.args = printable(record.getMessage(), 2_000), ()
    return True


def _fail(name: str, error: object, code: int) -> Any:
    print(told(name, error), file=sys.stderr)
    hosts.leave(code)


def told(name: str, error: object) -> str:
    """The line that an experiment ends with for an error."""
    # It may quote what a file holds: nothing of it shall steer the terminal.
    return f"{name}: {printable(hosts.explain(error), 2_000)}"


def help_text(name: str, settings_class: type, doc: str) -> str:
    """A screen: what the experiment does, and a line a flag."""
    lines = [doc.strip(), "", f"python -m experiments.{name} [--flag=value ...]", ""]
    for field in dataclasses.fields(settings_class):
        given = f"--{field.name}={'' if field.default == () else field.default}"
        lines.append(f"  {given:<32} {field.metadata['help']}")
    return "\n".join(lines)
