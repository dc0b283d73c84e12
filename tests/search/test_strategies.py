"""Strategies: which trials come next, as functions of the table."""

import importlib.util
import math

import numpy as np
import pytest
from scipy.stats import kstest

from jaxdl import search
from jaxdl.search import Asked, Search, Trial

SPACE = search.parse("rate=log(1e-6,1e-2); decay=log(1e-8,1e-4)")


def run(plan, value, rounds=None):
    """The trials of a search whose values a function gives."""
    done = []
    for number in range(plan.rounds if rounds is None else rounds):
        asked = search.ask(plan, done, number)
        done += [Trial(a, value(a.values), 1, 1, "completed") for a in asked]
    return done


def away(values):
    """How far a rate is from 1e-3, in powers of ten."""
    return abs(math.log10(values["rate"]) + 3)


def test_what_is_drawn_is_log_uniform():
    rates = [search.sample(SPACE, 0, i)["rate"] for i in range(400)]
    units = (np.log10(rates) + 6) / 4
    assert kstest(units, "uniform").pvalue > 0.01


def test_a_trial_depends_on_seed_and_number_alone():
    short, long = (run(Search(SPACE, n, 1, "random"), away) for n in (5, 20))
    assert [t.asked.values for t in short] == [t.asked.values for t in long[:5]]
    other = run(Search(SPACE, 5, 1, "random", seed=1), away)
    assert short[0].asked.values != other[0].asked.values


@pytest.mark.parametrize("strategy", ["random", "narrow", "halving"])
def test_a_search_is_replayed_from_its_table(strategy):
    plan = Search(SPACE, 27, 3, strategy, mode="min")
    done = run(plan, away)
    for number in range(3):
        again = search.ask(plan, done, number)  # later rounds change nothing
        assert again == [t.asked for t in done if t.asked.round == number]


def test_all_trials_are_tried_once():
    done = run(Search(SPACE, 100, 3, "narrow"), away)
    assert [t.asked.number for t in done] == list(range(100))


def test_narrowing_closes_in_on_what_matters():
    """The range of each round is that of the best so far, and holds the optimum."""
    plan = Search(SPACE, 90, 3, "narrow", mode="min")
    done = run(plan, away)
    widths = []
    for number in range(3):
        part = search.space_of(plan, done, number)["rate"]
        widths.append(math.log10(part.high / part.low))
        assert part.low <= 1e-3 <= part.high
        rates = [t.asked.values["rate"] for t in done if t.asked.round == number]
        assert part.low <= min(rates)
        assert max(rates) <= part.high
    assert widths[0] == pytest.approx(4)
    assert widths[2] < widths[1] / 2 < widths[0] / 4
    blind = run(Search(SPACE, 90, 3, "random", mode="min"), away)
    mean = [
        np.mean([away(t.asked.values) for t in part[60:]]) for part in (done, blind)
    ]
    assert mean[0] < mean[1] / 4


def test_failed_trials_do_not_widen_what_is_kept():
    trials = [
        Trial(
            Asked(i, 0, search.sample(SPACE, 0, i)),
            math.nan if i < 20 else float(i),
            *(1, 1, "completed"),
        )
        for i in range(30)
    ]
    plan = Search(SPACE, 60, 2, "narrow", mode="max")
    part = search.space_of(plan, trials, 1)["rate"]
    best = [trials[i].asked.values["rate"] for i in range(25, 30)]
    assert (part.low, part.high) == (min(best), max(best))


def test_halving_gives_the_best_third_three_times_as_long():
    done = run(Search(SPACE, 27, 3, "halving", mode="min"), away)
    rounds = [[t for t in done if t.asked.round == r] for r in range(3)]
    assert [len(part) for part in rounds] == [27, 9, 3]
    assert [part[0].asked.share for part in rounds] == pytest.approx([1 / 9, 1 / 3, 1])
    for before, after in zip(rounds, rounds[1:], strict=False):
        best = sorted(before, key=lambda t: t.value)[: len(after)]
        assert {t.asked.number for t in after} == {t.asked.number for t in best}
    assert search.best(done, "min").asked.share == 1.0


def test_the_best_is_finite_and_first_of_equals():
    values = [math.nan, 2.0, 1.0, 1.0]
    trials = [Trial(Asked(i, 0, {}), v, 1, 1, "") for i, v in enumerate(values)]
    assert search.best(trials, "min").asked.number == 2
    assert search.best(trials, "max").asked.number == 1
    assert search.best(trials[:1], "max") is None
    assert [t.asked.number for t in search.ranked(trials, "min")] == [2, 3, 1, 0]


def test_optuna_proposes_or_says_how_to_get_it():
    plan = Search(SPACE, 40, 4, "optuna", mode="min")
    if importlib.util.find_spec("optuna") is None:
        with pytest.raises(ValueError, match=r"pip install 'jaxdl\[search\]'"):
            search.ask(plan, [], 0)
        return
    done = run(plan, away)
    assert len(done) == 40
    assert search.ask(plan, done, 3) == [t.asked for t in done[30:]]
    first, last = (np.mean([t.value for t in part]) for part in (done[:10], done[30:]))
    assert last < first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategy": "grid"}, "--strategy is 'grid': give random"),
        ({"rounds": 0}, "one round or more"),
        ({"trials": 2}, "at least one trial a round"),
        ({"seed": -1}, "--search_seed is -1"),
    ],
)
def test_a_wrong_search_is_told_in_one_line(change, message):
    with pytest.raises(ValueError, match=message):
        Search(**{"space": SPACE, **change})
