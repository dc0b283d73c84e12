"""Networks that are trained alike, to see what their difference does."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import data as data_room
from jaxdl import parallel, train
from jaxdl.batch import Batch
from jaxdl.runs import diagnosis

CHECKS = 10  # validation checks, and points of a curve
PROBE = 256  # training examples on which layers are looked at
EVALUATION_BATCH = 256

# What runs one state, or a stack of them: the identity, or ``parallel.vmap``.
Over = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclasses.dataclass(frozen=True)
class Network:
    """A module with what it takes to train it.

    Attributes:
      module: a Flax module.
      objective: what is minimised.
      step: the training step.
      create: the state of a seed; pure, so that it vmaps.
    """

    module: Any
    objective: train.Objective
    step: train.Step
    create: Callable[[Any], train.State]


@dataclasses.dataclass(frozen=True)
class Family:
    """Networks that are trained alike: the same batches in the same order.

    Attributes:
      title, about: what is compared, and the settings that all share.
      networks: by name.
      seeds: how many of each; they decide the initial values alone.
      steps, batch_size: of every network.
      together: the networks differ in initial values only; they and all seeds
        run as one vmapped program.
    """

    title: str
    about: str
    networks: Mapping[str, Network]
    seeds: int
    steps: int
    batch_size: int
    together: bool


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a network; arrays lead with the seeds.

    Attributes:
      at: [checks], the steps of the curve; shared by the seeds.
      curve: [seeds, checks], training loss, mean since the check before.
      validation, test: [seeds], accuracy after the last step.
      start: [seeds], loss before the first step, on the training examples that
        layers are looked at with.
      deviations: [seeds, layers], of the layers' outputs before the first step.
      gradients: [seeds, layers], norms before the first step.
      dead: [seeds], share of hidden units that are dead after the last step.
      identical: [seeds], whether all units of each hidden layer are the same then.
      finite: [seeds], whether all parameters are finite then.
    """

    at: np.ndarray
    curve: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    start: np.ndarray
    deviations: np.ndarray
    gradients: np.ndarray
    dead: np.ndarray
    identical: np.ndarray
    finite: np.ndarray


def train_family(
    data: data_room.Dataset, family: Family, say: Callable[[str], None] = print
) -> dict[str, Outcome]:
    """Trains every network of a family; outcomes by name.

    Nothing is chosen on the way: all that is measured after training is measured
    on the last state, the test part once.

    Args:
      data: what they learn.
      family: the networks.
      say: told of each program as it goes.
    """
    say(f"{family.title}: {family.about}")
    run = _together if family.together else _one_by_one
    return dict(run(data, family, say))


def _together(
    data: data_room.Dataset, family: Family, say: Callable[[str], None]
) -> Iterator[tuple[str, Outcome]]:
    networks = list(family.networks.values())
    seeds = jnp.arange(family.seeds)
    stacks = [jax.jit(jax.vmap(network.create))(seeds) for network in networks]
    states = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *stacks)
    began = time.perf_counter()
    # They differ in values alone: the step of one is the step of all.
    whole = _train(data, family, networks[0], states, parallel.vmap)
    seconds = time.perf_counter() - began
    say(f"{len(networks) * family.seeds} networks in one program: {seconds:.0f} s")
    for i, name in enumerate(family.networks):
        members = slice(i * family.seeds, (i + 1) * family.seeds)
        yield name, _over_members(lambda x, of=members: x[of], [whole])


def _one_by_one(
    data: data_room.Dataset, family: Family, say: Callable[[str], None]
) -> Iterator[tuple[str, Outcome]]:
    """Vmapped, convolutions of unequal weights become grouped: slow on a CPU."""
    for name, network in family.networks.items():
        outcomes = []
        for seed in range(family.seeds):
            began = time.perf_counter()
            state = jax.jit(network.create)(seed)
            outcomes.append(_train(data, family, network, state, lambda f: f))
            say(f"{name}, seed {seed}: {time.perf_counter() - began:.0f} s")
        yield name, _over_members(lambda *members: np.stack(members), outcomes)


def _over_members(function: Callable, outcomes: Sequence[Outcome]) -> Outcome:
    """``function`` of each field that has members; the steps are shared."""
    first = outcomes[0]
    values = {
        name: function(*(getattr(outcome, name) for outcome in outcomes))
        for name in vars(first)
        if name != "at"
    }
    return dataclasses.replace(first, **values)


def _train(
    data: data_room.Dataset, family: Family, network: Network, states: Any, over: Over
) -> Outcome:
    """Train one state, or with ``over=parallel.vmap`` a stack of them."""
    rows: list[tuple[int, str, Any]] = []
    evaluation = jax.jit(over(train.make_evaluation(network.objective)))
    step = over(network.step)
    every = max(1, family.steps // CHECKS)
    look = _Look.at(data, network, over)
    before = look.before(states)
    parts = data_room.evaluation_feed(data.validation, EVALUATION_BATCH)
    validation = data_room.Kept(parts)
    with data_room.feed(data.train, family.batch_size, seed=0) as feed:
        fitted = train.fit(
            states,
            step,
            feed,
            steps=family.steps,
            block_way=lambda step: parallel.jit(parallel.scan(step)),
            steps_per_call=parallel.automatic_block(step, states, feed(0), every),
            evaluate=lambda states: _watched(evaluation, states, validation),
            evaluate_every=every,
            watch=train.Watch(metrics=lambda *row: rows.append(row)),
        )
    curve = [(at, values["loss"]) for at, part, values in rows if part == "train"]
    test = data_room.evaluation_feed(data.test, EVALUATION_BATCH)
    return Outcome(
        at=np.array([at for at, _ in curve]),
        curve=np.stack([losses for _, losses in curve], axis=-1),
        validation=np.asarray(rows[-1][2]["accuracy"]),
        test=np.asarray(_watched(evaluation, fitted.state, test)["accuracy"]),
        **before,
        **look.after(fitted.state),
    )


def _watched(evaluation: Any, states: Any, batches: Any) -> dict[str, Any]:
    """Metrics of all members, but one loss: the loop watches a single number."""
    values = train.evaluate(evaluation, states, batches)
    return {**values, "loss": float(np.mean(values["loss"]))}


@dataclasses.dataclass(frozen=True)
class _Look:
    """What is looked at inside a network, before and after."""

    network: Network
    layers: diagnosis.Layers
    batch: Batch
    inputs: Any
    over: Over

    @classmethod
    def at(cls, data: data_room.Dataset, network: Network, over: Over) -> "_Look":
        batch = data.train.fetch(np.arange(min(PROBE, data.train.size)))
        inputs = data.preprocess.apply(jnp.asarray(batch["inputs"]))
        shapes = jax.eval_shape(network.create, 0)
        layers = diagnosis.weight_layers(network.module, shapes, inputs)
        return cls(network, layers, batch, inputs, over)

    def before(self, states: Any) -> dict[str, np.ndarray]:
        def look(state: Any, batch: Batch) -> dict[str, Any]:
            return {
                "start": diagnosis.mean_loss(objective, state, state.params, batch),
                "gradients": diagnosis.gradient_norms(
                    objective, self.layers, state, batch
                ),
                "deviations": diagnosis.output_deviations(
                    self.network.module, self.layers, state, self.inputs
                ),
            }

        objective = self.network.objective
        return jax.device_get(jax.jit(self.over(look))(states, self.batch))

    def after(self, states: Any) -> dict[str, np.ndarray]:
        def look(state: Any, inputs: Any) -> dict[str, Any]:
            finite = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(state.params)]
            module, hidden = self.network.module, self.layers[:-1]
            return {
                "dead": diagnosis.dead_share(module, hidden, state, inputs),
                "identical": diagnosis.units_identical(hidden, state),
                "finite": jnp.all(jnp.stack(finite)),
            }

        return jax.device_get(jax.jit(self.over(look))(states, self.inputs))
