"""n-gram baselines: probabilities that add up, and the formula written out."""

import math
from collections import Counter

import numpy as np
import pytest

from jaxdl.data import language
from jaxdl.runs import baselines
from jaxdl.runs.baselines.language import kneser_ney

CLASSES = 4
# Not even: a chain that mostly counts on.
RNG = np.random.default_rng(0)
TEXT = (np.arange(60) + (RNG.random(60) < 0.3).cumsum()) % CLASSES


def surprise(history, symbol, order):
    """-log P(symbol | history)."""
    both = [*history, symbol]
    longer = kneser_ney(TEXT, np.array([0, *both]), CLASSES, order) * len(both)
    if not history:
        return longer
    return longer - kneser_ney(TEXT, np.array([0, *history]), CLASSES, order) * len(
        history
    )


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_after_any_history_add_up_to_one(order):
    for history in ([], [1], [2, 2], [0, 1, 3]):
        total = sum(math.exp(-surprise(history, c, order)) for c in range(CLASSES))
        assert total == pytest.approx(1)


def written_out(train, order):
    """P(symbol | history) as Chen and Goodman have it, by dictionaries."""
    tables = {order: Counter(zip(*(train[i:] for i in range(order)), strict=False))}
    for n in range(order - 1, 0, -1):
        tables[n] = Counter(gram[1:] for gram in tables[n + 1])

    def share(history, symbol, n):
        if n == 0:
            return 1 / CLASSES
        history = history[len(history) - n + 1 :]
        counts = tables[n]
        after = {g[-1]: c for g, c in counts.items() if g[:-1] == tuple(history)}
        shorter = share(history[1:], symbol, n - 1)
        if not after:
            return shorter
        once, twice = (list(counts.values()).count(k) for k in (1, 2))
        discount = once / (once + 2 * twice) if once else 0.5
        left = max(after.get(symbol, 0) - discount, 0) + discount * len(after) * shorter
        return left / sum(after.values())

    return share


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_loss_is_that_of_the_formula(order):
    train, test = TEXT.tolist(), RNG.integers(0, CLASSES, 25).tolist()
    share = written_out(train, order)
    losses = [
        -math.log(share(test[max(0, i - order + 1) : i], test[i], min(order, i + 1)))
        for i in range(1, len(test))
    ]
    found = kneser_ney(np.array(train), np.array(test), CLASSES, order)
    assert found == pytest.approx(np.mean(losses))


def test_longer_histories_help_where_the_text_is_a_chain():
    text = np.arange(300) % 3
    even, sure = (kneser_ney(text, text[:50], 3, n) for n in (1, 3))
    assert even == pytest.approx(math.log(3), rel=1e-3)
    assert sure < 0.05


def test_texts_shorter_than_the_order_are_measured_all_the_same():
    assert np.isfinite(kneser_ney(np.array([0, 1]), np.array([1, 0]), 2, 5))


def test_baselines_are_named_by_their_order(tmp_path):
    (tmp_path / "text").write_text("the cat sat on the mat. " * 40)
    for level, order in (("character", 5), ("word", 3)):
        data = language.load(f"text:{tmp_path / 'text'}", context=8, level=level)
        found = baselines.language(data)
        assert list(found) == ["unigram", f"{order}-gram"]
        assert found[f"{order}-gram"]["loss"] < found["unigram"]["loss"]
        for figures in found.values():
            assert figures["perplexity"] == pytest.approx(math.exp(figures["loss"]))
            assert ("bits_per_character" in figures) == (level == "character")
