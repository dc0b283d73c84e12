"""Stacks of networks that train as one program, as comparisons of settings do."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.image_classification import prepare_images
from jaxdl import data as data_room
from jaxdl import models, objectives, parallel, train
from jaxdl.batch import context
from jaxdl.models.apply import forward
from jaxdl.runs.families import Network
from jaxdl.train import population

EVALUATION_BATCH = 256
CHECKS = 10


@dataclasses.dataclass(frozen=True)
class Length:
    """How long and in which batches a stack trains.

    Attributes:
      steps, batch_size: of every member.
      checks: how often training and validation parts are measured.
      monitor: the validation metric by which each member's best check is kept.
    """

    steps: int
    batch_size: int
    checks: int = CHECKS
    monitor: str = "loss"


@dataclasses.dataclass(frozen=True)
class Course:
    """What became of a stack; arrays lead with the members.

    Attributes:
      at: [checks], the steps of the checks.
      train, validation: loss and accuracy, each [members, checks], with the parameters
        of that step.
      running: [members, checks], training loss as it was seen, since the check before.
      test: [members], accuracy of the last state.
      test_at_best: [members], of the state at the best validation check.
      states: the last ones, stacked.
      seconds: of training and checks, compiling apart from it as far as it was cached.
    """

    at: np.ndarray
    train: Mapping[str, np.ndarray]
    validation: Mapping[str, np.ndarray]
    running: np.ndarray
    test: np.ndarray
    test_at_best: np.ndarray
    states: Any
    seconds: float

    @property
    def best_check(self) -> np.ndarray:
        """[members], which check had the least validation loss."""
        loss = self.validation["loss"]
        return np.argmin(np.where(np.isfinite(loss), loss, np.inf), axis=1)

    def to_json(self) -> dict[str, Any]:
        """What was measured."""
        names = ("at", "train", "validation", "test", "test_at_best", "seconds")
        return {name: getattr(self, name) for name in names}


def network(
    data: data_room.Dataset,
    module: Any,
    optimizer: Any,
    numbers: Mapping[str, float],
    *,
    objective: train.Objective | None = None,
    augmentation: Any = None,
    penalty: Callable[..., Any] | None = None,
) -> Network:
    """A classifier with its objective and step, from jaxdl's usual pieces.

    Args:
      data: what it learns.
      module: a Flax module.
      optimizer: an Optax transformation.
      numbers: its ``hyper``: learning rate, dropout, ...
      objective: of stored inputs; None: the class of an image.
      augmentation: of ``jaxdl.data.parse_augmentation``, for images.
      penalty: as ``make_step`` takes it.
    """

    stored = data.train.fetch(np.zeros(1, np.int64))["inputs"]
    dtype = jax.eval_shape(data.preprocess.apply, stored).dtype

    def state(seed: Any) -> train.State:
        params, model_state = _initial(module, data.input_shape, dtype, seed)
        return train.create_state(
            params, optimizer, model_state, hyper=numbers, seed=seed
        )

    objective = objective or objectives.classification(
        forward(module),
        classes=len(data.classes),
        prepare=partial(prepare_images, data, augmentation),
    )
    step = train.make_step(objective, optimizer, penalty=penalty)
    return Network(module, objective, step, state)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _initial(module: Any, shape: tuple[int, ...], dtype: Any, seed: Any) -> Any:
    """Parameters and model state: one program for all optimizers of a module."""
    return models.init(module, jax.random.key(seed), jnp.zeros((1, *shape), dtype))


def seeds(network: Network, count: int) -> Any:
    """The stack of its states of seeds 0, 1, ..."""
    # Not jitted as a whole: what draws the weights takes longest to compile, and is
    # compiled once (above) for every network of the module.
    return jax.vmap(network.create)(jnp.arange(count))


def with_numbers(states: Any, rows: Sequence[Mapping[str, float]]) -> Any:
    """Each state once a row of numbers of ``hyper``: [rows, states] as one axis."""
    count = jax.tree.leaves(states)[0].shape[0]
    many = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * len(rows)), states)
    names = dict(many.hyper)
    for name in rows[0]:
        values = np.repeat([row[name] for row in rows], count)
        names[name] = jnp.asarray(values, jnp.float32)
    return many.replace(hyper=names)


def part(course: Course, members: slice) -> Course:
    """The course of some of the members."""

    def cut(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[members], tree)

    names = ("train", "validation", "running", "test", "test_at_best", "states")
    return dataclasses.replace(
        course, **{name: cut(getattr(course, name)) for name in names}
    )


def train_stack(
    data: data_room.Dataset,
    network: Network,
    states: Any,
    length: Length,
    sources: Sequence[Any] | None = None,
) -> Course:
    """Train a stack as one program, and test it once.

    Args:
      data: what they learn.
      network: whose step, and whose objective measures.
      states: the stack.
      length: steps, batches, checks.
      sources: a training part for each member; None: all see the same batches.
    """
    began = time.perf_counter()
    rows: list[tuple[int, str, Any]] = []
    feed, alone = _feed(data, length, states, sources)
    state = population.member(states, 0)
    over = parallel.over_members(network.step, state, alone)
    step = population.population_step(
        network.step, partial(over, shared=sources is None)
    )
    measure = jax.jit(over(train.make_evaluation(network.objective), shared=True))
    parts = {"train": _some(data.train), "validation": data.validation}
    every = max(1, length.steps // length.checks)
    with feed:
        fitted = train.fit(
            _all_running(states),
            step,
            feed,
            steps=length.steps,
            block_way=lambda step: parallel.jit(parallel.scan(step)),
            steps_per_call=parallel.automatic_block(network.step, state, alone, every),
            evaluate=lambda now: _measured(measure, now.states, parts),
            evaluate_every=every,
            rule=train.Rule(monitor=length.monitor),
            judge=population.JUDGE,
            watch=train.Watch(metrics=lambda *row: rows.append(row)),
        )
    seconds = time.perf_counter() - began
    test = {"test": data.test}
    last, best = (
        _measured(measure, one.states, test)["test"]["accuracy"]
        for one in (fitted.state, fitted.best)
    )
    return _course(rows, last, best, fitted.state.states, seconds)


def train_variants(
    data: data_room.Dataset,
    network: Network,
    variants: Mapping[str, Mapping[str, float]],
    count: int,
    length: Length,
) -> dict[str, Course]:
    """Courses of variants that differ in numbers alone: one program trains them all.

    Args:
      data: what they learn.
      network: of them all.
      variants: by name, the numbers of ``hyper``, the same ones for each.
      count: seeds 0, 1, ... of each.
      length: steps, batches, checks.
    """
    states = with_numbers(seeds(network, count), list(variants.values()))
    course = train_stack(data, network, states, length)
    return {
        name: part(course, slice(i * count, (i + 1) * count))
        for i, name in enumerate(variants)
    }


def predictions(
    data: data_room.Dataset, network: Network, states: Any, inputs: Any
) -> np.ndarray:
    """Classes [members, examples] that a stack gives for stored inputs."""
    apply = forward(network.module)

    def predict(state: Any, batch: Any) -> jax.Array:
        prepared = data.preprocess.apply(batch["inputs"])
        about = context(batch, state.hyper, False)
        logits, _ = apply(state.params, state.model_state, prepared, about, None)
        return logits.argmax(axis=-1)

    batch = {"inputs": inputs, "mask": np.ones(len(inputs), np.float32)}
    over = parallel.over_members(predict, population.member(states, 0), batch)
    return np.asarray(jax.jit(over(predict, shared=True))(states, batch))


def batch_losses(
    data: data_room.Dataset, network: Network, states: Any, size: int
) -> np.ndarray:
    """Losses [members, batches] of single training batches of a size, of as many
    examples as a check looks at."""
    measure = train.make_evaluation(network.objective)
    source = _some(data.train)
    parts = list(data_room.evaluation_feed(source, min(size, source.size)))
    whole = [part for part in parts if np.all(part["mask"])]
    over = parallel.over_members(measure, population.member(states, 0), whole[0])
    run = jax.jit(over(measure, shared=True))
    losses = [run(states, part)["loss"] for part in whole]
    return np.stack([np.asarray(loss.total / loss.count) for loss in losses], axis=-1)


def _all_running(states: Any) -> population.Population:
    # Copied, because a step gives its state's memory away.
    count = _size(states)
    return population.Population(
        states=jax.tree.map(jnp.copy, states),
        running=jnp.ones((count,), bool),
        failed=jnp.zeros((count,), bool),
    )


def _size(states: Any) -> int:
    return int(jax.tree.leaves(states)[0].shape[0])


def _some(source: Any) -> Any:
    """The source, or as much of it as a check may look at."""
    return data_room.subset(source, np.arange(min(source.size, 2000)))


def _feed(
    data: data_room.Dataset, length: Length, states: Any, sources: Any
) -> tuple[Any, Any]:
    """The batches of the stack, and one of a member alone."""
    own = data_room.feed(data.train, length.batch_size, seed=0)
    if sources is None:
        return own, own(0)
    numbers = list(range(_size(states)))
    return data_room.members_feed(sources, length.batch_size, numbers), own(0)


def _measured(measure: Any, states: Any, parts: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics by part; those of validation also by themselves, to be judged by."""
    found: dict[str, Any] = {}
    for name, source in parts.items():
        # Small parts are padded: all of them are measured by one compiled program.
        batches = data_room.evaluation_feed(source, EVALUATION_BATCH)
        found[name] = train.evaluate(measure, states, batches)
    return {**found.get("validation", {}), **found}


def _course(
    rows: Sequence[tuple[int, str, Any]],
    test: np.ndarray,
    best: np.ndarray,
    states: Any,
    seconds: float,
) -> Course:
    checks = [(at, values) for at, part, values in rows if part == "validation"]

    def curve(part: str, name: str) -> np.ndarray:
        return np.stack([np.asarray(v[part][name]) for _, v in checks], axis=-1)

    names = ("loss", "accuracy")
    seen = [values["loss"] for _, part, values in rows if part == "train"]
    return Course(
        at=np.array([at for at, _ in checks]),
        train={name: curve("train", name) for name in names},
        validation={name: curve("validation", name) for name in names},
        running=np.stack(seen, axis=-1),
        test=np.asarray(test),
        test_at_best=np.asarray(best),
        states=states,
        seconds=seconds,
    )
