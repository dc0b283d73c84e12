"""From shared settings to the pieces of a task: what every experiment does alike."""

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
import optax

from experiments.flags import TrainingSettings, identity
from jaxdl import data, models, objectives, optimizers, parallel, runs, train
from jaxdl.runs import environment, joining, population, warm_start
from jaxdl.runs.flagfile import flag_text
from jaxdl.runs.members import Member
from jaxdl.train.task import Plan, Task, steps_of

S = TypeVar("S", bound=TrainingSettings)
PRECISIONS = ("float32", "bfloat16")
# What JAX counts steps with and makes keys of; and more members than anybody trains.
LARGEST, MOST_SEEDS = 2**31 - 1, 10_000


def check(settings: TrainingSettings) -> None:
    """Raise ValueError in one line for a shared setting out of its range."""
    _at_least(0, settings, "epochs", "max_steps", "evaluate_every", "save_every")
    _at_least(0, settings, "patience", "warmup_steps", "min_delta", "clip_norm")
    _at_least(0, settings, "weight_decay", "l2", "seed", "split_seed")
    _at_least(1, settings, "batch_size", "accumulate_steps", "memory_budget", "seeds")
    for name, number in dataclasses.asdict(settings).items():
        if isinstance(number, int) and abs(number) > LARGEST:
            raise ValueError(f"--{name} is too large: give at most {LARGEST}.")
    if settings.seeds > min(MOST_SEEDS, LARGEST - settings.seed):
        raise ValueError(
            f"--seeds is {settings.seeds}: give at most {MOST_SEEDS}, of seeds up to "
            f"{LARGEST}."
        )
    for name in ("dropout", "ema_decay", "validation_fraction"):
        number = getattr(settings, name)
        if not 0 <= number < 1:
            raise ValueError(f"--{name} is {number}: give a number in [0, 1).")
    if not (settings.learning_rate > 0 and math.isfinite(settings.learning_rate)):
        raise ValueError(
            f"--learning_rate is {settings.learning_rate}: give a number above 0."
        )
    if settings.precision not in PRECISIONS:
        raise ValueError(
            f"--precision is {settings.precision!r}: give {' or '.join(PRECISIONS)}."
        )
    steps_per_call(settings)
    _require_writable(settings)


def _require_writable(settings: TrainingSettings) -> None:
    """What a flagfile cannot hold is refused before there is a run folder."""
    for name, value in identity(settings).items():
        text = flag_text(name, value) or ""
        if text != text.encode(errors="replace").decode():
            raise ValueError(f"--{name} is {text!a}, which is no text: give UTF-8.")


def _at_least(least: float, settings: TrainingSettings, *names: str) -> None:
    for name in names:
        number = getattr(settings, name)
        if not (number >= least and math.isfinite(number)):
            raise ValueError(f"--{name} is {number}: give {least} or more.")


def choice(flag: str, value: str, allowed: Iterable[str]) -> str:
    """The value, where it is one of those allowed; else ValueError in one line."""
    allowed = list(allowed)
    if value not in allowed:
        close = difflib.get_close_matches(value, allowed, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise ValueError(
            f"--{flag} is {value!r}{hint}: give one of {', '.join(allowed)}."
        )
    return value


def sizes(flag: str, value: str, what: str = "sizes of layers") -> list[int]:
    """The sizes that a value such as ``64,64`` names; else ValueError in one line that
    says of ``what``."""
    parts = [part.strip() for part in value.split(",")]
    if not all(_is_size(part) for part in parts):
        raise ValueError(f"--{flag} is {value!r}: give {what}, such as 64,64.")
    return [int(part) for part in parts]


def _is_size(text: str) -> bool:
    return text.isdecimal() and len(text) <= 10 and 0 < int(text) <= LARGEST


def steps_per_call(settings: TrainingSettings) -> int:
    """The number asked for; 0 for auto."""
    text = settings.steps_per_call
    if text == "auto":
        return 0
    if not _is_size(text):
        raise ValueError(
            f"--steps_per_call is {text!r}: give a number of steps, or auto."
        )
    return int(text)


def dataset(settings: TrainingSettings, image_size: int = 0) -> data.Dataset:
    """The data set that shared settings name, images resized where a size is given."""
    return data.load(
        settings.dataset,
        data_dir=settings.data_dir or None,
        validation_fraction=settings.validation_fraction or None,
        split_seed=settings.split_seed,
        image_size=image_size or None,
        memory_budget=settings.memory_budget * 2**20,
    )


def plan(settings: TrainingSettings, examples: int) -> Plan:
    """How long a run over so many training examples takes, and in which way."""
    batch = settings.batch_size
    if batch > examples:
        raise ValueError(
            f"--batch_size is {batch}, but there are only {examples} training "
            f"examples: give {examples} or less."
        )
    steps = steps_of(settings.epochs, examples, batch)
    if settings.max_steps:
        steps = min(steps, settings.max_steps) if steps else settings.max_steps
    if not steps:
        raise ValueError("--epochs and --max_steps are both 0: give one of them.")
    if steps > LARGEST:
        raise ValueError(f"--epochs makes {steps} steps: give at most {LARGEST}.")
    check_every = settings.evaluate_every or _an_epoch(examples, batch)
    plateau = settings.schedule == "plateau"
    return Plan(
        batch_size=batch,
        steps=steps,
        evaluate_every=check_every,
        save_every=settings.save_every,
        rule=train.Rule(
            monitor=settings.monitor,
            patience=settings.patience,
            min_delta=settings.min_delta,
            plateau_patience=max(1, settings.patience // 3 or 5) if plateau else 0,
        ),
        seed=settings.seed,
        parallel=settings.parallel,
        mesh=settings.mesh,
        steps_per_call=steps_per_call(settings),
    )


def _an_epoch(examples: int, batch: int) -> int:
    """Steps of about a pass: whole blocks of steps, where it holds several, so that
    a dispatch may hold more than one."""
    steps = -(-examples // batch)
    block = 16 if steps >= 160 else 4 if steps >= 16 else 1
    return -(-steps // block) * block


def hyper(
    settings: TrainingSettings, more: Mapping[str, float] | None = None
) -> dict[str, float]:
    """The numbers that a run may vary without compiling anew, and ``more`` of them."""
    numbers = {"learning_rate": settings.learning_rate, **(more or {})}
    for name in ("weight_decay", "dropout", "l2"):
        if getattr(settings, name):
            numbers[name] = getattr(settings, name)
    return numbers


def learner(
    settings: TrainingSettings,
    objective: train.Objective,
    steps: int,
    more_hyper: Mapping[str, float] | None = None,
    more_schedules: Mapping[str, train.Schedule] | None = None,
) -> tuple[train.Step, Callable[..., train.State], warm_start.Start | None]:
    """The step of an objective, what creates its state from
    ``(params, model_state, seed)``, and the run that it takes parameters from.

    Args:
      settings: the shared ones.
      objective: what is minimised.
      steps: of the whole run, for schedules.
      more_hyper: further numbers of the state (a KL weight), by name.
      more_schedules: factors of those over the steps.
    """
    optimizer: optax.GradientTransformation = optimizers.make(
        settings.optimizer, weight_decay=settings.weight_decay
    )
    step = train.make_step(
        objective,
        optimizer,
        freeze=settings.freeze or None,
        **step_options(settings, steps, more_schedules),
    )

    start = start_of(settings)

    def create(params: Any, model_state: Any, seed: Any) -> train.State:
        params, model_state = warm_start.begin(start, params, model_state)
        return train.create_state(
            params,
            optimizer,
            model_state,
            hyper=hyper(settings, more_hyper),
            seed=seed,
            ema_decay=settings.ema_decay or None,
        )

    return step, create, start


def start_of(settings: TrainingSettings) -> warm_start.Start | None:
    """The run to take parameters from (``--init_from``), if any, read and verified:
    once, for it takes a while.

    Raises:
      ValueError, OSError: in one line, where there is no such run.
    """
    return warm_start.read(settings.init_from) if settings.init_from else None


def step_options(
    settings: TrainingSettings,
    steps: int,
    more_schedules: Mapping[str, train.Schedule] | None = None,
) -> dict[str, Any]:
    """Options that every kind of step has, for a run of so many steps."""
    factor = optimizers.schedule(
        settings.schedule, steps, warmup_steps=settings.warmup_steps or None
    )
    return {
        "accumulate_steps": settings.accumulate_steps,
        "clip_norm": settings.clip_norm or None,
        "penalty": _penalty if settings.l2 else None,
        "schedules": {"learning_rate": factor, **(more_schedules or {})},
        "on_nonfinite": settings.on_nonfinite,
    }


def _penalty(params: Any, numbers: Any) -> Any:
    return objectives.losses.l2(params, numbers["l2"])


def layers(model: Any, create: Callable[[Any], train.State], example: Any) -> list[Any]:
    """The table of a model's layers, for inputs like ``example`` (as ``models.init``
    takes them); nothing is computed."""
    state = jax.eval_shape(create, 0)
    variables = {"params": state.params, **state.model_state}
    return models.layer_table(model, variables, example)


def run(
    name: str, settings: S, build: Callable[[S], tuple[Task, Plan]], json: bool = False
) -> int:
    """Train what the settings say, or try it out (``--dry_run``); the exit code."""
    join(name, settings)
    if settings.dry_run:
        runs.prepare()
        return runs.dry_run(*built(settings, build))
    wanted = request(name, settings)
    if settings.seeds > 1:
        return population.execute(wanted, lambda: seed_members(settings, build))
    return runs.execute(wanted, lambda: built(settings, build))


def join(name: str, settings: TrainingSettings) -> None:
    """Train with the other processes that settings or a cluster name, if any; on
    devices whose kernels are deterministic where that is asked for."""
    if settings.deterministic:
        runs.make_deterministic()
    joining.join(name, dataclasses.asdict(settings), asked(settings))


def asked(settings: TrainingSettings) -> parallel.Asked:
    """Which processes settings ask to train with."""
    return parallel.Asked(
        mode=settings.distributed,
        coordinator=settings.coordinator,
        count=settings.process_count,
        index=settings.process_id,
        heartbeat=settings.heartbeat,
    )


def request(name: str, settings: TrainingSettings) -> runs.Request:
    """The run that settings ask for."""
    return runs.Request(
        experiment=name,
        settings=dataclasses.asdict(settings),
        identity=identity(settings),
        workdir=settings.workdir,
        mode=settings.resume,
        profile=settings.profile,
        verify=settings.verify,
        other_code=settings.other_code,
        began=environment.process_began(),
    )


def built(settings: S, build: Callable[[S], tuple[Task, Plan]]) -> tuple[Task, Plan]:
    """What ``build`` gives, on a bootstrap sample of the training part if asked."""
    task, plan = build(settings)
    task = started(task)
    return (_resampled(task, settings.seed) if settings.bootstrap else task), plan


def started(task: Task) -> Task:
    """The task, having said what it takes from another run, if anything, and with that
    run in its record."""
    start = task.start
    if start is None:
        return task
    state = jax.eval_shape(task.create, 0)
    taken, _ = start.check(state.params, state.model_state)
    print(start.told(state.params, state.model_state))
    found = {"run": str(start.run), "step": start.step, "arrays": len(taken)}
    return dataclasses.replace(task, model={**task.model, "init_from": found})


def seed_members(settings: S, build: Callable[[S], tuple[Task, Plan]]) -> list[Member]:
    """A member for each of ``settings.seeds`` seeds, all of one task.

    With ``bootstrap`` each trains on as many examples, drawn from the training part
    with replacement (Breiman 1996).
    """
    task, plan = build(settings)
    task = started(task)
    return [
        Member(
            name=f"seed_{seed}",
            task=_resampled(task, seed) if settings.bootstrap else task,
            plan=dataclasses.replace(plan, seed=seed),
            settings=dataclasses.asdict(
                dataclasses.replace(settings, seed=seed, seeds=1)
            ),
        )
        for seed in range(settings.seed, settings.seed + settings.seeds)
    ]


def _resampled(task: Task, seed: int) -> Task:
    size = task.data.train.size
    drawn = np.random.default_rng([seed, size]).integers(size, size=size)
    train_part = data.subset(task.data.train, drawn)
    return dataclasses.replace(
        task, data=dataclasses.replace(task.data, train=train_part)
    )
