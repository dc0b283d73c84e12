"""Baselines of texts: the majority, and logistic regression on which words occur."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from jaxdl.data import text
from jaxdl.runs import baselines
from jaxdl.runs.baselines.texts import STRENGTHS
from tests.data.test_text_sets import write

WORDS = [f"w{i}" for i in range(12)]


def rows(count=150, seed=0):
    """Texts of five words, whose label follows from the first two, mostly."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(count):
        chosen = rng.integers(0, len(WORDS), 5)
        texts.append(" ".join(WORDS[i] for i in chosen))
        labels.append(int((chosen[:2].sum() + rng.integers(0, 4)) // 9))
    return texts, labels


def table(tmp_path, labels):
    texts, _ = rows()
    lines = [f"{words},{label}" for words, label in zip(texts, labels, strict=True)]
    return text.load(write(tmp_path / "a.csv", lines), size=50, length=5)


def test_logistic_regression_is_scikit_learns_on_the_same_words(tmp_path):
    data = table(tmp_path, rows()[1])
    found = baselines.texts(data)
    parts = {n: p.fetch(np.arange(p.size)) for n, p in data.parts.items()}
    texts = {
        name: [data.preprocess.decode(row) for row in part["inputs"]]
        for name, part in parts.items()
    }
    counter = CountVectorizer(binary=True, token_pattern=r"\w+")
    inputs = {"train": counter.fit_transform(texts["train"])}
    inputs |= {name: counter.transform(texts[name]) for name in ("validation", "test")}
    best, expected = -1.0, None
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=100)
        model.fit(inputs["train"], parts["train"]["targets"])
        score = model.score(inputs["validation"], parts["validation"]["targets"])
        if score > best:
            best = score
            expected = model.score(inputs["test"], parts["test"]["targets"])
    assert found["logistic"]["accuracy"] == pytest.approx(expected)
    assert 0.5 < found["logistic"]["roc_auc"] <= 1
    usual = np.bincount(parts["train"]["targets"]).argmax()
    share = np.mean(parts["test"]["targets"] == usual)
    assert found["majority"]["accuracy"] == pytest.approx(share)


def test_of_several_labels_each_is_told_apart(tmp_path):
    """One of them is there always, and there is nothing to fit to it."""
    texts, _ = rows()
    labels = [
        f"x|{words.split()[0]}|{'even' if i % 2 else 'odd'}"
        for i, words in enumerate(texts)
    ]
    data = table(tmp_path, labels)
    found = baselines.texts(data)
    targets = data.test.fetch(np.arange(data.test.size))["targets"]
    train = data.train.fetch(np.arange(data.train.size))["targets"]
    usual = train.mean(0) > 0.5
    assert found["majority"]["accuracy"] == pytest.approx(np.mean(targets == usual))
    assert found["logistic"]["accuracy"] > found["majority"]["accuracy"]
    assert 0.3 < found["logistic"]["average_precision"] <= 1
