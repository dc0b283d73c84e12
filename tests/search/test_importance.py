"""Importance: known functions, whose variance is known."""

import math

import numpy as np
import pytest

from jaxdl import search
from jaxdl.search import Asked, Trial

SPACE = search.parse(
    "rate=log(1e-4,1e-1); units=int(1,64); share=uniform(0,1); kind=choice(a,b)"
)


def trials(value, count=150):
    rows = [search.sample(SPACE, 0, i) for i in range(count)]
    return [
        Trial(Asked(i, 0, row), value(row), 1, 1, "completed")
        for i, row in enumerate(rows)
    ]


def test_what_does_not_matter_has_no_share():
    found = search.importance(SPACE, trials(lambda v: math.log(v["rate"])), "max")
    assert found.shares["rate"] > 0.95
    assert max(found.shares[n] for n in ("units", "share", "kind")) < 0.02
    assert found.correlations["rate"] == pytest.approx(1.0)
    assert found.correlations["kind"] is None
    assert found.explained > 0.95


def test_shares_are_those_of_the_variance():
    """Of 2 a + b, both uniform, a accounts for 4 / 5 of the variance."""

    def value(v):
        return 2 * (math.log10(v["rate"]) + 4) / 3 + v["share"]

    shares = search.importance(SPACE, trials(value, 400), "max").shares
    assert shares["rate"] == pytest.approx(0.8, abs=0.08)
    assert shares["share"] == pytest.approx(0.2, abs=0.08)


def test_less_may_be_better_and_failed_trials_are_worst():
    def value(v):
        return math.nan if v["rate"] > 1e-2 else v["rate"]

    found = search.importance(SPACE, trials(value), "min")
    assert found.shares["rate"] > 0.9
    assert found.correlations["rate"] < -0.9


def test_noise_is_not_explained_and_few_trials_say_nothing():
    rng = np.random.default_rng(0)
    found = search.importance(SPACE, trials(lambda v: rng.normal()), "max")
    assert found.explained < 0.15
    assert search.importance(SPACE, trials(lambda v: 1.0, 5), "max") is None
    level = search.importance(SPACE, trials(lambda v: 1.0, 20), "max")
    assert set(level.shares.values()) == {0.0}
