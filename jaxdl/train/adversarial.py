"""The step of two players: the discriminator's updates, then the generator's.

Both are the step of ``make_step`` over one player's parameters, the other's held
fixed, so that all of its options and ways of running hold for the pair.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from jaxdl.batch import Batch, positions
from jaxdl.metrics import Mean, value
from jaxdl.train.evaluation import EVALUATION_SEED, Evaluation
from jaxdl.train.nonfinite import guarded
from jaxdl.train.state import State, create_state, evaluation_params
from jaxdl.train.step import (
    Metrics,
    Objective,
    Step,
    make_step,
    microbatches,
    one_after_another,
    scheduled,
)
from jaxdl.train.updating import moving_average

PLAYERS = ("generator", "discriminator")


class AdversarialState(State):
    """The state of two players; ``params`` and ``opt_state`` are dicts of theirs.

    Attributes:
      classifier: what the samples are measured with; no step changes it, but figures
        are its own, so that it must come back with the rest.
    """

    classifier: PyTree = None


def create_adversarial_state(
    params: Mapping[str, PyTree],
    optimizer: optax.GradientTransformation,
    model_state: PyTree | None = None,
    *,
    classifier: PyTree = None,
    **options: Any,
) -> AdversarialState:
    """The state before the first step; pure.

    Args:
      params: of both ``PLAYERS``.
      optimizer: the one that ``make_adversarial_step`` is given; each player has
        moments of its own.
      model_state: the model's other collections.
      classifier: see ``AdversarialState``.
      **options: ``hyper``, ``seed`` and ``ema_decay`` of ``create_state``.
    """
    whole = create_state(params, optax.identity(), model_state, **options)
    apart = {name: optimizer.init({name: params[name]}) for name in PLAYERS}
    parts = {**vars(whole), "opt_state": apart, "classifier": classifier}
    return AdversarialState(**parts)


def make_adversarial_step(
    generator: Objective,
    discriminator: Objective,
    optimizer: optax.GradientTransformation,
    *,
    critic_updates: int = 1,
    on_nonfinite: str = "ignore",
    **options: Any,
) -> Step:
    """One pure step of both players.

    The batch is cut into ``critic_updates`` microbatches. The discriminator is
    updated on each in turn, with fresh noise; then the generator, once, from as many
    latents as a microbatch holds. So a step sees every example of its batch once,
    however many updates it makes.

    Metrics: ``generator_loss``, ``discriminator_loss`` (the mean over its updates),
    their sum as ``loss``, the norm of both players' gradients together, and the
    learning rate.

    Args:
      generator, discriminator: each an objective that takes the parameters of both.
      optimizer: as of ``make_step``.
      critic_updates: of the discriminator, to one of the generator; must divide the
        examples that a device holds.
      on_nonfinite: as of ``make_step``; one player's trouble undoes the whole step.
      **options: of ``make_step``, for each player by itself: ``accumulate_steps``,
        ``clip_norm``, ``penalty``, ``schedules``.

    Raises:
      ValueError: for an option out of range, here; for a batch that does not
        divide, when the step is traced.
    """
    if critic_updates < 1:
        raise ValueError(f"critic_updates is {critic_updates}: give 1 or more.")
    if "freeze" in options:
        raise ValueError("a player that is frozen is no player: leave freeze out.")
    make_step(generator, optimizer, on_nonfinite=on_nonfinite, **options)  # checks
    # A player that fails stops the pair: what is played after it changes nothing.
    rule = "ignore" if on_nonfinite == "ignore" else "stop"
    game = {"generator": generator, "discriminator": discriminator}
    optimizers = dict.fromkeys(PLAYERS, optimizer)
    if rule == "stop":
        # What the discriminator had is kept until the generator has played: to write
        # it anew in place (``updating``) took longer.
        optimizers["discriminator"] = optax.GradientTransformation(*optimizer)
    play = partial(_play, game, optimizers, {**options, "on_nonfinite": rule})

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        new, maker, critic, updates = _played(play, critic_updates, state, batch)
        hyper = scheduled(state.hyper, options.get("schedules") or {}, state.step)
        new = new.replace(
            step=state.step + 1, ema=moving_average(state, hyper, new.params)
        )
        metrics = _told([maker, critic])
        bad = _culprit(state.params, maker, updates)
        return _undone(on_nonfinite, bad, new, state, metrics)

    return step


def _played(
    play: Callable[..., tuple[State, Metrics]],
    critic_updates: int,
    state: State,
    batch: Batch,
) -> tuple[State, Metrics, Metrics, Metrics]:
    """All updates of a step: the state after them, the metrics of the generator, those
    of the discriminator summed, and by update."""
    batch = {**batch, "position": positions(batch)}
    parts = microbatches(batch, critic_updates, "critic_updates")

    def criticize(state: State, numbered: tuple[Array, Batch]) -> tuple[State, Any]:
        number, part = numbered
        return play("discriminator", state, part, number)

    numbered = (jnp.arange(critic_updates), parts)
    new, updates = one_after_another(criticize, state, numbered, critic_updates)
    critic = jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), updates)
    first = jax.tree.map(lambda leaf: leaf[0], parts)
    new, maker = play("generator", new, first, critic_updates)
    return new, maker, critic, updates


def _play(
    game: Mapping[str, Objective],
    optimizers: Mapping[str, optax.GradientTransformation],
    options: Mapping[str, Any],
    player: str,
    state: State,
    batch: Batch,
    number: int | Array,
) -> tuple[State, Metrics]:
    """One update of one player, the ``number``-th of the step."""

    def own(params: PyTree, *rest: Any) -> Any:
        return game[player]({**state.params, **params}, *rest)

    seat = State(
        step=state.step,
        params={player: state.params[player]},
        model_state=state.model_state,
        opt_state=state.opt_state[player],
        hyper=state.hyper,
        key=jax.random.fold_in(state.key, number),
    )
    after, metrics = make_step(own, optimizers[player], **options)(seat, batch)
    new = state.replace(
        step=jnp.minimum(state.step, after.step),  # negative once it has failed
        params={**state.params, **after.params},
        model_state=after.model_state,
        opt_state={**state.opt_state, player: after.opt_state},
    )
    return new, metrics


def _undone(
    on_nonfinite: str, bad: Array, new: State, old: State, metrics: Metrics
) -> tuple[State, Metrics]:
    """State and metrics by the rule for a step that is not finite. The generator, which
    plays last, has kept what it had where anything failed: the rest goes back."""

    def with_generator(state: State, other: State) -> State:
        parts = {"generator": other.params["generator"]}
        moments = {"generator": other.opt_state["generator"]}
        return state.replace(
            params={**state.params, **parts}, opt_state={**state.opt_state, **moments}
        )

    rest = with_generator(new, old)  # what is the same in both needs no choice
    kept, metrics = guarded(on_nonfinite, bad, rest, old, metrics)
    return with_generator(kept, new), metrics


def _culprit(params: PyTree, maker: Metrics, updates: Metrics) -> Array:
    """That of both players together, from what the generator and each update of the
    discriminator told of theirs; 0 where they do not look."""
    if "nonfinite" not in maker:
        return jnp.int32(0)
    worst = jnp.max(updates["nonfinite"].total)
    found = {"generator": maker["nonfinite"].total, "discriminator": worst}
    first = 0
    codes = []
    for name in sorted(PLAYERS):  # as their parameters are
        code = found[name]
        codes.append(jnp.where(code > 1, code + first, code))
        first += len(jax.tree.leaves(params[name]))
    return jnp.where(codes[0] > 1, codes[0], jnp.maximum(*codes))


def _told(players: Sequence[Metrics]) -> Metrics:
    """The metrics of a step; whether they are finite, ``_culprit`` says."""

    def means(name: str) -> Array:
        found = [metrics[name] for metrics in players]
        return jnp.stack([m.total / jnp.maximum(m.count, 1.0) for m in found])

    told: Metrics = {}
    for metrics in players:
        told |= metrics
    told.pop("nonfinite", None)
    losses, norms = means("loss"), means("gradient_norm")
    told["loss"] = value(jnp.sum(losses))
    told["gradient_norm"] = value(jnp.linalg.norm(norms))
    if "penalty" in told:
        told["penalty"] = value(jnp.sum(means("penalty")))
    return told


def make_adversarial_evaluation(
    generator: Objective,
    discriminator: Objective,
    measure: Callable[[State, PyTree, Batch, Array], Metrics],
) -> Evaluation:
    """``(state, batch) -> metrics``: the losses of both players and their sum, and
    what ``measure(state, params, batch, key)`` makes of samples, with the moving
    average of the parameters where the state has one."""

    def evaluation(state: State, batch: Batch) -> Metrics:
        params, key = evaluation_params(state), jax.random.key(EVALUATION_SEED)
        batch = {**batch, "position": positions(batch)}
        metrics = measure(state, params, batch, key)
        pairs = []
        for objective in (generator, discriminator):
            pair, (_, told) = objective(
                params, state.model_state, state.hyper, batch, key, False
            )
            pairs.append(pair)
            metrics |= told
        (made, count), (criticized, _) = pairs
        return {"loss": Mean(made + criticized, count), **metrics}

    return evaluation
