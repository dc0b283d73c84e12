"""Strategies: which trials the next round tries, as pure functions of those before.

A search that was killed is replayed from its table: the same rounds are asked for.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from jaxdl.search import tpe
from jaxdl.search.spaces import Space, Values
from jaxdl.search.trials import Asked, Trial, ranked, whole

# Of all trials, those whose range the next round keeps; no fewer than so many.
KEPT_SHARE = 0.2
KEPT_LEAST = 5
# Successive halving: one trial in so many goes on, and trains as much longer.
HALVING = 3


@dataclasses.dataclass(frozen=True)
class Search:
    """What is searched, and how.

    Attributes:
      space: name to dimension.
      trials: in all; in successive halving those that it begins with.
      rounds: in which they are tried.
      strategy: a name of ``STRATEGIES``.
      seed: of what is drawn.
      mode: "min" or "max" of the trials' values.
    """

    space: Space
    trials: int = 100
    rounds: int = 3
    strategy: str = "narrow"
    seed: int = 0
    mode: str = "max"

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise ValueError(
                f"--strategy is {self.strategy!r}: give {', '.join(STRATEGIES)}."
            )
        if not 1 <= self.rounds <= self.trials:
            raise ValueError(
                f"--trials is {self.trials} and --rounds is {self.rounds}: give at "
                "least one trial a round, and one round or more."
            )
        if self.seed < 0:
            raise ValueError(f"--search_seed is {self.seed}: give 0 or more.")


def ask(search: Search, trials: Sequence[Trial], number: int) -> list[Asked]:
    """The trials of a round.

    Args:
      search: what is searched.
      trials: all of the rounds before, in their order.
      number: of the round, from 0 to ``search.rounds - 1``.
    """
    earlier = [trial for trial in trials if trial.asked.round < number]
    return STRATEGIES[search.strategy](search, earlier, number)


def sample(space: Space, seed: int, number: int) -> Values:
    """Values of trial ``number``, drawn at random (Bergstra & Bengio 2012).

    A function of seed and number alone: the first trials of a longer search are those
    of a shorter one.
    """
    units = np.random.default_rng([seed, number]).random(len(space))
    return {
        name: dimension.at(float(unit))
        for (name, dimension), unit in zip(space.items(), units, strict=True)
    }


def numbers_of(search: Search, round: int) -> range:
    """Which trials a round tries, where rounds are of equal size."""
    ends = [search.trials * i // search.rounds for i in (round, round + 1)]
    return range(*ends)


def narrowed(space: Space, best: Sequence[Values]) -> dict:
    """The part of a space that just holds the best trials, each dimension by itself."""
    return {
        name: dimension.within([values[name] for values in best])
        for name, dimension in space.items()
    }


def kept(search: Search, trials: Sequence[Trial]) -> list[Values]:
    """The values of the best trials, whose range the next round keeps."""
    finite = [trial for trial in trials if np.isfinite(trial.value)]
    count = max(KEPT_LEAST, round(KEPT_SHARE * len(finite)))
    return [dict(t.asked.values) for t in ranked(finite, search.mode)[:count]]


def space_of(search: Search, trials: Sequence[Trial], number: int) -> Space:
    """The space that a round draws from: narrowed, of that strategy, by the best of all
    trials before it."""
    earlier = [trial for trial in whole(trials) if trial.asked.round < number]
    best = kept(search, earlier)
    if search.strategy != "narrow" or not best:
        return search.space
    return narrowed(search.space, best)


def _drawn(search: Search, trials: Sequence[Trial], number: int) -> list[Asked]:
    space = space_of(search, trials, number)
    return [
        Asked(trial, number, sample(space, search.seed, trial))
        for trial in numbers_of(search, number)
    ]


def _halved(search: Search, trials: Sequence[Trial], number: int) -> list[Asked]:
    """Successive halving (Jamieson & Talwalkar 2016): all trials train for a part of
    the length, the best third three times as long, and so on. Each rung trains anew,
    with schedules of its own length, so that a rung's figure is that of a whole run.
    """
    share = float(HALVING) ** (number + 1 - search.rounds)
    if number == 0:
        count = range(search.trials)
        return [Asked(i, 0, sample(search.space, search.seed, i), share) for i in count]
    before = [trial for trial in trials if trial.asked.round == number - 1]
    best = ranked(before, search.mode)[: max(1, len(before) // HALVING)]
    return [Asked(t.asked.number, number, t.asked.values, share) for t in best]


def _modelled(search: Search, trials: Sequence[Trial], number: int) -> list[Asked]:
    numbers = numbers_of(search, number)
    drawn = tpe.propose(
        search.space, trials, len(numbers), search.seed + number, search.mode
    )
    return [
        Asked(trial, number, values)
        for trial, values in zip(numbers, drawn, strict=True)
    ]


STRATEGIES: dict[str, Callable[[Search, Sequence[Trial], int], list[Asked]]] = {
    "random": _drawn,
    "narrow": _drawn,
    "halving": _halved,
    "optuna": _modelled,
}
