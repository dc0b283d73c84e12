"""Metrics add up exactly, however they are cut, and equal scikit-learn's."""

import functools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl import metrics
from jaxdl.metrics import Mean, RootMean

few = settings(max_examples=20, deadline=None)


def test_mean_leaves_out_what_the_mask_marks_even_nan():
    values = jnp.array([1.0, jnp.nan, 3.0, jnp.inf])
    mask = jnp.array([1.0, 0.0, 1.0, 0.0])
    assert metrics.read({"m": metrics.mean(values, mask)}) == {"m": 2.0}
    gradient = jax.grad(lambda v: metrics.mean(v, mask).total)(values)
    np.testing.assert_array_equal(gradient, [1, 0, 1, 0])


def test_mean_counts_tokens_where_values_have_more_axes_than_the_mask():
    result = metrics.mean(jnp.ones((3, 4)), jnp.array([1.0, 1.0, 0.0]))
    assert (float(result.total), float(result.count)) == (8.0, 8.0)
    by_token = metrics.mean(jnp.ones((2, 2)), jnp.array([[1.0, 0.0], [0.0, 0.0]]))
    assert (float(by_token.total), float(by_token.count)) == (1.0, 1.0)


@few
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 7]))
def test_merged_parts_equal_the_whole(seed, cut):
    rng = np.random.default_rng(seed)
    values = jnp.asarray(rng.normal(size=10), jnp.float32)
    mask = jnp.asarray(rng.integers(0, 2, 10), jnp.float32)
    whole = metrics.mean(values, mask)
    parts = metrics.merge(
        metrics.mean(values[:cut], mask[:cut]), metrics.mean(values[cut:], mask[cut:])
    )
    assert isinstance(parts, Mean)
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-6)


def test_read_gives_roots_nan_of_nothing_arrays_and_members():
    read = metrics.read(
        {
            "rmse": RootMean(jnp.float32(8.0), jnp.float32(2.0)),
            "none": Mean(0.0, 0.0),
            "matrix": jnp.eye(2),
            "members": Mean(jnp.array([2.0, 6.0]), jnp.array([2.0, 0.0])),
            "rate": metrics.value(0.5),
        }
    )
    assert read["rmse"] == 2.0
    assert isinstance(read["rmse"], float)
    assert math.isnan(read["none"])
    assert isinstance(read["matrix"], np.ndarray)
    np.testing.assert_array_equal(read["members"], [1.0, np.nan])
    assert read["rate"] == 0.5


def _stack(rng, steps):
    return {
        "loss": Mean(
            # So unequal in size that another order of adding rounds otherwise.
            np.exp(rng.normal(size=steps) * 15).astype(np.float32),
            rng.integers(1, 9, steps).astype(np.float32),
        ),
        "matrix": rng.integers(0, 9, (steps, 2, 2)).astype(np.int32),
    }


@few
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 200), max_size=4))
def test_totals_do_not_depend_on_how_steps_are_cut(seed, cuts):
    stacked = _stack(np.random.default_rng(seed), 200)
    whole = metrics.accumulate(None, stacked)
    totals = None
    bounds = [0, *sorted(set(cuts) - {0, 200}), 200]
    for start, stop in zip(bounds, bounds[1:], strict=False):
        block = jax.tree.map(lambda x, a=start, b=stop: x[a:b], stacked)
        totals = metrics.accumulate(totals, block)
        totals = metrics.from_json(json.loads(json.dumps(metrics.to_json(totals))))
    jax.tree.map(np.testing.assert_array_equal, totals, whole)
    exact = math.fsum(np.asarray(stacked["loss"].total, np.float64))
    assert float(whole["loss"].total) == pytest.approx(exact, rel=1e-12)
    assert whole["matrix"].dtype == np.int64


def test_single_steps_add_as_stacked_ones_do():
    stacked = _stack(np.random.default_rng(0), 5)
    totals = None
    for step in range(5):
        one = jax.tree.map(lambda x, s=step: x[s], stacked)
        totals = metrics.accumulate(totals, one, stacked=False)
    whole = metrics.accumulate(None, stacked)
    jax.tree.map(np.testing.assert_array_equal, totals, whole)


def test_json_keeps_bits_kinds_and_what_is_not_finite():
    totals = {
        "a": Mean(np.float64(0.1) + np.float64(0.2), np.float64(3)),
        "b": RootMean(np.array([math.nan, math.inf]), np.array([1.0, 2.0])),
        "c": np.array([[1, 2], [3, 4]], np.int64),
    }
    text = json.dumps(metrics.to_json(totals), allow_nan=False)
    back = metrics.from_json(json.loads(text))
    assert jax.tree.structure(back) == jax.tree.structure(totals)
    jax.tree.map(np.testing.assert_array_equal, back, totals)


def test_direction():
    assert metrics.direction("loss") == "min"
    assert metrics.direction("accuracy") == "max"
    with pytest.raises(ValueError, match="test split.*monitor.*'loss'"):
        metrics.direction("test_loss")
    with pytest.raises(ValueError, match="did you mean 'accuracy'.*loss, accuracy"):
        metrics.direction("acuracy")


def test_accuracy_of_integer_one_hot_and_soft_targets():
    logits = jnp.array([[0.1, 2.0, 0.3], [3.0, 0.0, 1.0]])
    integer = jnp.array([1, 2])
    expected = [1.0, 0.0]
    np.testing.assert_array_equal(metrics.accuracy(logits, integer), expected)
    rows = jax.nn.one_hot(integer, 3)
    np.testing.assert_array_equal(metrics.accuracy(logits, rows), expected)
    soft = jnp.array([[0.3, 0.7, 0.0], [0.1, 0.3, 0.6]])
    np.testing.assert_array_equal(metrics.accuracy(logits, soft), expected)


@few
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_top_k_accuracy_equals_scikit_learn(seed, k):
    rng = np.random.default_rng(seed)
    logits = rng.permuted(np.tile(np.arange(6.0), (20, 1)), axis=1)
    targets = rng.integers(0, 6, 20)
    ours = metrics.top_k_accuracy(jnp.asarray(logits), jnp.asarray(targets), k)
    theirs = sklearn.metrics.top_k_accuracy_score(
        targets, logits, k=k, normalize=False, labels=range(6)
    )
    assert float(ours.sum()) == theirs
    if k == 1:
        top = metrics.accuracy(jnp.asarray(logits), jnp.asarray(targets))
        np.testing.assert_array_equal(ours, top)


@few
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_top_k_accuracy_equals_jax_sorting_with_equal_logits_and_nan(seed, k):
    rng = np.random.default_rng(seed)
    logits = rng.choice([-np.inf, -1.0, 0.0, 2.0, np.nan], size=(40, 6))
    targets = rng.integers(-1, 7, 40)  # -1 and 6 are no classes
    _, best = jax.lax.top_k(jnp.asarray(logits), k)
    right = np.any(np.asarray(best) == targets[:, None], axis=-1)
    ours = metrics.top_k_accuracy(jnp.asarray(logits), jnp.asarray(targets), k)
    np.testing.assert_array_equal(ours, right)


def test_top_k_refuses_more_than_there_are_classes_and_nan_is_never_right():
    logits = jnp.full((1, 3), jnp.nan).at[0, 0].set(0.0)
    with pytest.raises(ValueError, match="top-5 accuracy of 3 classes"):
        metrics.top_k_accuracy(logits, jnp.array([0]), 5)
    assert float(metrics.accuracy(logits, jnp.array([0]))[0]) == 0.0


# Of one length, so that the device function compiles once.
count = jax.jit(metrics.confusion_matrix, static_argnums=2)
labels = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40
)


@few
@given(labels)
def test_confusion_matrix_and_its_scores_equal_scikit_learn(pairs):
    targets, predictions = (np.array(x) for x in zip(*pairs, strict=True))
    padded, guessed = np.full(42, -1), np.full(42, 7)
    padded[: len(targets)], guessed[: len(targets)] = targets, predictions
    mask = (np.arange(42) < len(targets)).astype(np.float32)
    matrix = count(padded, guessed, 4, mask)
    expected = sklearn.metrics.confusion_matrix(targets, predictions, labels=range(4))
    np.testing.assert_array_equal(matrix, expected)

    scores = metrics.class_scores(matrix)
    theirs = sklearn.metrics.precision_recall_fscore_support(
        targets, predictions, labels=range(4), zero_division=0
    )
    np.testing.assert_allclose(scores, theirs)
    precision, recall, f1, _ = sklearn.metrics.precision_recall_fscore_support(
        targets, predictions, average="macro", zero_division=0
    )
    macro = metrics.macro_scores(matrix)
    np.testing.assert_allclose(
        [macro["precision"], macro["recall"], macro["f1"]], [precision, recall, f1]
    )


def test_macro_scores_of_no_examples_are_nan():
    assert all(math.isnan(x) for x in metrics.macro_scores(np.zeros((2, 2))).values())


@few
@given(st.integers(0, 2**32 - 1), st.integers(2, 12))
def test_ranking_metrics_equal_scikit_learn_with_ties(seed, levels):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, 30) / levels
    targets = np.concatenate([[0, 1], rng.integers(0, 2, 28)])
    auc = sklearn.metrics.roc_auc_score(targets, scores)
    assert metrics.roc_auc(scores, targets) == pytest.approx(auc, abs=1e-12)
    precision = sklearn.metrics.average_precision_score(targets, scores)
    ours = metrics.average_precision(scores, targets)
    assert ours == pytest.approx(precision, abs=1e-12)


def test_ranking_metrics_over_classes_and_labels_equal_scikit_learn():
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(4), size=50)
    targets = np.arange(50) % 4
    auc = sklearn.metrics.roc_auc_score(targets, scores, multi_class="ovr")
    assert metrics.roc_auc(scores, targets) == pytest.approx(auc, abs=1e-12)
    rows = rng.integers(0, 2, (50, 4))
    precision = sklearn.metrics.average_precision_score(rows, scores)
    ours = metrics.average_precision(scores, rows)
    assert ours == pytest.approx(precision, abs=1e-12)


def test_ranking_metrics_without_a_ranking():
    assert math.isnan(metrics.roc_auc([0.1, 0.2], [1, 1]))
    assert math.isnan(metrics.average_precision([0.1, math.nan], [0, 1]))
    assert metrics.roc_auc([[0.1, 0.9], [0.8, 0.2]], [1, 0]) == 1.0
    with pytest.raises(ValueError, match="2 rows of scores against 1 targets"):
        metrics.roc_auc([0.1, 0.2], [1])


def test_perplexity_is_e_to_the_mean_of_the_losses():
    losses = np.array([0.5, 1.5, 4.0], np.float32)
    parts = [metrics.ExpMean(x, np.float32(1)) for x in losses]
    merged = functools.reduce(metrics.merge, parts)
    assert metrics.read({"perplexity": merged})["perplexity"] == pytest.approx(
        math.exp(2.0)
    )
    empty = metrics.read({"perplexity": metrics.ExpMean(0.0, 0.0)})["perplexity"]
    assert math.isnan(empty)
    assert metrics.read({"p": metrics.ExpMean(1e6, 1.0)})["p"] == math.inf
    packed = metrics.to_json(metrics.accumulate(None, {"p": merged}, stacked=False))
    assert isinstance(metrics.from_json(packed)["p"], metrics.ExpMean)
