"""What a text classifier is judged by: figures, label scores, worst texts."""

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as sklearn

from jaxdl.data.dataset import Dataset
from jaxdl.data.source import in_memory
from jaxdl.data.vocabulary import Vocabulary
from jaxdl.runs import shown, texts

RNG = np.random.default_rng(0)
KNOWN = Vocabulary(("cat", "dog", "owl"), 3)


def data_of(targets, classes):
    tokens = RNG.integers(1, 5, (len(targets), 3)).astype(np.int32)
    part = in_memory(tokens, targets)
    return Dataset("some", part, part, part, classes, (3,), KNOWN)


def test_of_several_labels_figures_are_scikit_learns(tmp_path):
    targets = RNG.integers(0, 2, (40, 3)).astype(np.float32)
    shares = np.clip(0.4 * targets + 0.7 * RNG.random((40, 3)), 0, 1)
    data = data_of(targets, ("a", "b", "c"))
    found = texts.findings(data, shares, data.test)
    said = shares > 0.5
    expected = {
        "accuracy": np.mean(targets == said),
        "precision": sklearn.precision_score(targets, said, average="macro"),
        "recall": sklearn.recall_score(targets, said, average="macro"),
        "f1": sklearn.f1_score(targets, said, average="macro"),
        "roc_auc": sklearn.roc_auc_score(targets, shares),
        "average_precision": sklearn.average_precision_score(targets, shares),
    }
    assert found.metrics == pytest.approx(expected)
    lines = found.pictures["label_scores.txt"].splitlines()
    assert [line.split()[0] for line in lines] == ["label", "a", "b", "c"]
    recall = sklearn.recall_score(targets[:, 1], said[:, 1])
    assert lines[2].split()[3] == f"{recall:.3f}"
    assert set(found.pictures) == {
        "ranking_curves.png",
        "worst_texts.txt",
        "label_scores.txt",
    }


def test_of_two_classes_they_are_those_of_the_second(tmp_path):
    targets = RNG.integers(0, 2, 50).astype(np.int32)
    yes = np.clip(0.3 * targets + 0.7 * RNG.random(50), 0, 1)
    data = data_of(targets, ("no", "yes"))
    found = texts.findings(data, np.stack([1 - yes, yes], axis=1), data.test)
    expected = {
        "accuracy": sklearn.accuracy_score(targets, yes > 0.5),
        "precision": sklearn.precision_score(targets, yes > 0.5),
        "recall": sklearn.recall_score(targets, yes > 0.5),
        "f1": sklearn.f1_score(targets, yes > 0.5),
        "roc_auc": sklearn.roc_auc_score(targets, yes),
    }
    assert found.metrics == pytest.approx(expected)
    shown.write(found.pictures, tmp_path)
    for name in ("confusion_matrix.png", "ranking_curves.png"):
        assert Image.open(tmp_path / name).size[0] > 300


def test_the_worst_texts_come_first_as_the_model_reads_them():
    targets = np.array([0, 1, 1, 0], np.int32)
    shares = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.01, 0.99]])
    data = data_of(targets, ("no", "yes"))
    tokens = data.test.arrays["inputs"]
    tokens[3] = [2, 1, 0]
    blocks = texts.findings(data, shares, data.test).pictures["worst_texts.txt"]
    heads = [line for line in blocks.splitlines() if line.startswith("is ")]
    assert heads[:3] == [
        "is no; said yes (99.0%)",
        "is yes; said no (80.0%)",
        "is yes; said yes (60.0%)",
    ]
    assert blocks.splitlines()[1] == "  cat <unknown>"


def test_labels_that_are_there_and_not_there_both_count():
    targets = np.array([[1, 1], [0, 0], [1, 0]], np.float32)
    shares = np.array([[0.9, 0.8], [0.9, 0.9], [0.9, 0.4]])
    data = data_of(targets, ("a", "b"))
    blocks = texts.findings(data, shares, data.test).pictures["worst_texts.txt"]
    heads = [line for line in blocks.splitlines() if line.startswith("is ")]
    assert heads == [
        "is none; said a (90.0%), b (90.0%)",
        "is a; said a (90.0%)",
        "is a, b; said a (90.0%), b (80.0%)",
    ]
