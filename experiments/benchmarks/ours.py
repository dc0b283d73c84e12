"""jaxdl's side: the step that an experiment trains with, run as it runs it."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from experiments.benchmarks.cases import (
    LEARNING_RATE,
    Case,
    Side,
    make_batches,
    make_latents,
)
from jaxdl import __version__, models, objectives, optimizers, parallel, runs, train
from jaxdl.distributions import Gaussian
from jaxdl.objectives.adversarial import Networks, Players
from jaxdl.objectives.variational import Autoencoder
from jaxdl.train import population


def make(
    case: Case,
    parameters: Path,
    cores: int,
    device: str,
    on_nonfinite: str = "stop",
    choose: bool = True,
) -> Side:
    """The case by the defaults of every flag, or without what jaxdl chooses for XLA's
    compiler; writes its initial parameters."""
    del cores, device  # the worker has seen to them
    return _run(case, *_learner(case, parameters, on_nonfinite), choose)


def make_in_turn(case: Case, parameters: Path, cores: int, device: str) -> Side:
    """The case's members one after another, each as one alone is trained: 64 steps of
    the first, 64 of the second, and so on."""
    del cores, device
    step, state, batches = _learner(case, parameters)
    alone = [
        [{k: leaf[i] for k, leaf in batch.items()} for batch in batches]
        for i in range(case.folds)
    ]
    one = dataclasses.replace(case, folds=1)
    way = _alone(one, step, state, alone[0][0])
    run, fed, block = _blocks(way, 0, step, state, alone[0][0], alone[0])
    feeds = [fed, *(_fed(way, 0, block, batches) for batches in alone[1:])]
    states = [way.state(jax.tree.map(jnp.copy, state)) for _ in feeds]
    turns = max(1, 64 // case.batches)

    def take() -> Any:
        taken = []
        for i, fed in enumerate(feeds):
            of_one = []
            for batch in fed * turns:
                states[i], metrics = run(states[i], batch)
                of_one.append(metrics["loss"])
            taken.append(of_one)
        return taken

    def losses(taken: Any) -> list[float]:
        taken = jax.device_get(jax.block_until_ready((states, taken))[1])
        each = [[np.ravel(m.total / m.count) for m in of_one] for of_one in taken]
        return np.mean([np.concatenate(of_one) for of_one in each], axis=0).tolist()

    return Side(take, losses, turns * len(batches), _VERSIONS)


_VERSIONS = {"jaxdl": __version__, "jax": jax.__version__}


def initial(case: Case, parameters: Path) -> tuple[Any, Any, Any]:
    """The model, its parameters and its other arrays; the parameters are written."""
    runs.prepare()
    model = models.create(case.model, **case.arguments)
    example = make_batches(case)[0]["inputs"].reshape(-1, *case.shape)[:1]
    params, model_state = jax.jit(lambda key: models.init(model, key, example))(
        jax.random.key(0)
    )
    np.savez(parameters, **flatten_dict(jax.device_get(params), sep="/"))
    return model, params, model_state


def _learner(
    case: Case, parameters: Path, on_nonfinite: str = "stop"
) -> tuple[Any, Any, list[Any]]:
    """A step, its state, and batches."""
    model, params, model_state = initial(case, parameters)
    optimizer = optimizers.make("adam", learning_rate=LEARNING_RATE)
    hyper = {"learning_rate": LEARNING_RATE}
    if case.kind == "adversarial":
        players = _players(case, model)
        step = train.make_adversarial_step(
            players.generator,
            players.discriminator,
            optimizer,
            on_nonfinite=on_nonfinite,
        )
        create: Any = train.create_adversarial_state
    else:
        objective = _objective(case, model)
        step = train.make_step(objective, optimizer, on_nonfinite=on_nonfinite)
        create = train.create_state
    state = create(params, optimizer, model_state, hyper=hyper)
    return step, state, make_batches(case)


def _players(case: Case, model: Any) -> Players:
    latents = make_latents(case)
    networks = Networks(
        generate=models.forward(model, "generate"),
        discriminate=models.forward(model, "discriminate"),
        draw=lambda keys: jnp.asarray(latents),
    )
    return objectives.adversarial(networks)


def _objective(case: Case, model: Any) -> objectives.Objective:
    if case.kind != "variational":
        return getattr(objectives, case.kind)(models.forward(model))
    noise, encode = jnp.asarray(make_latents(case)), models.forward(model, "encode")

    class Given(Gaussian):
        def sample(self, _: Any) -> jax.Array:
            return super().sample(noise)

    def encoded(*given: Any) -> Any:
        posterior, model_state = encode(*given)
        return Given(*posterior), model_state

    decode = models.forward(model, "decode")
    as_it_is = Autoencoder(encoded, decode, lambda batch, key, training: batch)
    return objectives.variational(as_it_is)


def _run(case: Case, step: Any, state: Any, batches: list[Any], choose: bool) -> Side:
    """The step placed and compiled as ``--parallel`` and ``--steps_per_call`` have
    it when nothing is said."""
    if case.folds > 1:
        alone = {name: leaf[0] for name, leaf in batches[0].items()}
        way, many, first = _members(case.folds, step, state, alone)
        run, fed, block = _blocks(way, 1, many, state, alone, batches, of_one=step)
    else:
        way, first = _alone(case, step, state, batches[0], choose), state
        run, fed, block = _blocks(way, 0, step, state, batches[0], batches)
    state = way.state(first)
    held = {"state": state, "calls": 0}

    def take() -> Any:
        batch = fed[held["calls"] % len(fed)]
        held["state"], metrics = run(held["state"], batch)
        held["calls"] += 1
        return metrics["loss"]

    def losses(taken: Any) -> list[float]:
        # The state is awaited too: the last update is part of the step.
        loss = jax.block_until_ready((held["state"], taken))[1]
        return np.reshape(loss.total / loss.count, (block, -1)).mean(1).tolist()

    return Side(take, losses, block, _VERSIONS)


def _blocks(
    way: parallel.Placement,
    axis: int,
    step: Any,
    state: Any,
    batch: Any,
    batches: list[Any],
    of_one: Any = None,
) -> tuple[Any, list[Any], int]:
    """The step compiled in blocks, the batches placed for it, and steps a block.

    Args:
      way, axis: where, and the axis of the examples.
      step: what is compiled.
      state, batch: of one member, which decide with its step (``of_one``) how many
        steps a block has.
      batches: all of them.
    """
    block = parallel.automatic_block(of_one or step, state, batch, len(batches))
    run = (way.step if block == 1 else way.block)(step, axis=axis)
    return run, _fed(way, axis, block, batches), block


def _fed(way: parallel.Placement, axis: int, block: int, batches: list[Any]) -> Any:
    if block == 1:
        return [way.put(batch, axis) for batch in batches]
    stacks = [batches[i : i + block] for i in range(0, len(batches), block)]
    return [
        way.put(jax.tree.map(lambda *x: np.stack(x), *stack), axis + 1)
        for stack in stacks
    ]


def _alone(
    case: Case, step: Any, state: Any, batch: Any, choose: bool = True
) -> parallel.Placement:
    name = "auto"
    if parallel.cores.are_devices():
        name = parallel.cores.automatic(step, state, batch, case.size)
    way = parallel.placement(name)
    return parallel.tuned(way, step, state, batch) if choose else way


def _members(
    count: int, step: Any, state: Any, batch: Any
) -> tuple[parallel.Placement, Any, Any]:
    """Where so many train as one program, their step, and their state."""
    stacked = population.stack([state] * count)
    apart = parallel.apart(count, step, state, batch)
    if apart is not None:
        return apart.placement(), apart.member_step(step), stacked
    over = parallel.over_members(step, state, batch)
    return parallel.placement("none"), population.population_step(step, over), stacked
