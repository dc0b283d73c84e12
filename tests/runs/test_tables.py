"""What a model of a table is judged by: figures, importance, pictures."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from jaxdl.data.source import in_memory
from jaxdl.runs import analysis, tables
from jaxdl.runs.plots.importance import importance_bars
from jaxdl.runs.plots.ranking import ranking_curves

few = settings(max_examples=20, deadline=None)


@few
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3]))
def test_class_figures_equal_scikit_learns(seed, classes):
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.arange(20) % classes)
    shares = rng.dirichlet(np.ones(classes), 20)
    said = shares.argmax(1)
    if classes == 2:
        average = {"average": "binary"}
        area = roc_auc_score(targets, shares[:, 1])
    else:
        average = {"average": "macro", "labels": np.unique([*said, *targets])}
        area = roc_auc_score(targets, shares, multi_class="ovr")
    expected = precision_recall_fscore_support(
        targets, said, zero_division=0, **average
    )[:3]
    found = analysis.class_figures(shares, targets)
    assert [found[k] for k in ("precision", "recall", "f1")] == pytest.approx(expected)
    assert found["roc_auc"] == pytest.approx(area)
    assert found["accuracy"] == pytest.approx(np.mean(said == targets))


def test_importance_finds_what_a_model_goes_by():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(400, 4)).astype(np.float32)
    targets = 3 * inputs[:, 0] + inputs[:, 2] - inputs[:, 3]

    def cost(features):
        said = 3 * features[:, 0] + features[:, 2] - features[:, 3]
        return float(np.mean((said - targets) ** 2))

    groups = {"a": np.array([0]), "unused": np.array([1]), "both": np.array([2, 3])}
    found = analysis.permutation_importance(cost, inputs, groups, repeats=20)
    # Shuffling a feature of weight w and variance 1 costs 2 w^2 on average.
    assert found["a"].mean() == pytest.approx(18, rel=0.1)
    assert found["both"].mean() == pytest.approx(4, rel=0.1)
    assert not found["unused"].any()
    assert found["a"].shape == (20,)
    again = analysis.permutation_importance(cost, inputs, groups, repeats=20)
    np.testing.assert_array_equal(again["a"], found["a"])


def shown(path):
    """Mean brightness and size of a picture that was drawn."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L")).mean(), picture.size


def data(classes, targets):
    """A data set of two columns, and its test part."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(len(targets), 3)).astype(np.float32)
    groups = {"a": np.array([0]), "b": np.array([1, 2])}
    table = SimpleNamespace(target="price", groups=groups)
    return SimpleNamespace(classes=classes, preprocess=table), in_memory(
        inputs, np.asarray(targets)
    )


def check_pictures(findings, names, folder):
    assert set(findings.pictures) == names
    for name, draw in findings.pictures.items():
        draw(folder / name)
        brightness, size = shown(folder / name)
        assert 50 < brightness < 254.9, name
        assert min(size) > 100


def test_a_regression_is_drawn(tmp_path):
    values = np.arange(12, dtype=np.float32)
    set_, source = data((), values)
    found = tables.regression(set_, lambda x: x[:, 0], values + 1, source)
    assert found.metrics == {"mae": 1.0, "rmse": 1.0}
    check_pictures(found, {"predicted_and_true.png", "importance.png"}, tmp_path)


@pytest.mark.parametrize("classes", [("no", "yes"), ("a", "b", "c")])
def test_classes_are_scored_and_drawn(tmp_path, classes):
    targets = (np.arange(12) % len(classes)).astype(np.int32)
    shares = np.eye(len(classes))[targets] * 0.8 + 0.2 / len(classes)
    set_, source = data(classes, targets)
    found = tables.classes(set_, lambda x: shares, shares, source)
    names = ("accuracy", "precision", "recall", "f1", "roc_auc")
    assert found.metrics == dict.fromkeys(names, 1.0)
    names = {"confusion_matrix.png", "ranking_curves.png", "importance.png"}
    check_pictures(found, names, tmp_path)


def test_a_class_that_is_missing_or_too_many_still_draw(tmp_path):
    scores = np.linspace(0, 1, 6)
    ranked = {"never": (scores, np.zeros(6, bool)), "some": (scores, scores > 0.3)}
    ranking_curves(ranked, tmp_path / "some.png")
    ranking_curves({"never": ranked["never"]}, tmp_path / "none.png")
    assert shown(tmp_path / "some.png")[0] < shown(tmp_path / "none.png")[0]
    importance_bars({f"c{i}": np.ones(2) for i in range(40)}, "x", tmp_path / "b.png")
    assert shown(tmp_path / "b.png")[1][1] > 600
