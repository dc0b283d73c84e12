"""Features equal scikit-learn's to 1e-6, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import (
    cluster,
    decomposition,
    feature_selection,
    impute,
    metrics,
    preprocessing,
)
from sklearn.datasets import load_diabetes, load_digits, load_wine

from jaxdl import analysis
from jaxdl import metrics as ours
from tests.quick import jit

WINE, CLASSES = load_wine(return_X_y=True)
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
DIGITS = load_digits().data[:400]


@pytest.fixture(autouse=True)
def _wide():
    with jax.enable_x64(True):
        yield


def test_standardised_and_back():
    x = np.column_stack([WINE, np.full(len(WINE), 0.1)])
    fitted = jit(analysis.standardise)(x)
    expected = preprocessing.StandardScaler().fit_transform(x)
    np.testing.assert_allclose(fitted.apply(x), expected, atol=1e-6)
    np.testing.assert_allclose(fitted.invert(fitted.apply(x)), x, atol=1e-9)


@pytest.mark.parametrize("statistic", ["mean", "median", "most_frequent"])
def test_imputed(statistic):
    rng = np.random.default_rng(0)
    x = np.where(rng.random(DIABETES.shape) < 0.2, np.nan, DIABETES.round(2))
    expected = impute.SimpleImputer(strategy=statistic).fit_transform(x)
    fitted = analysis.impute(x, statistic)
    np.testing.assert_allclose(fitted.apply(x), expected, atol=1e-6)
    assert int(fitted.missing(x).sum()) == int(np.isnan(x).sum())


def test_one_hot_of_text_and_numbers():
    x = np.array([["Oslo", 3], ["Rome", 1], ["Oslo", 2], ["Bari", 3]], object)
    fitted = analysis.one_hot(x)
    twin = preprocessing.OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    np.testing.assert_array_equal(fitted.apply(x), twin.fit_transform(x))
    np.testing.assert_array_equal(fitted.invert(fitted.apply(x)), x)
    new = np.array([["Paris", 3], ["Reykjavik", 7]], object)
    np.testing.assert_array_equal(fitted.apply(new), twin.transform(new))


@pytest.mark.parametrize("shape", [(178, 13), (10, 13)])
def test_pca(shape):
    x = WINE[: shape[0]]
    x = (x - x.mean(0)) / WINE.std(0)
    found, twin = jit(analysis.pca)(x), decomposition.PCA().fit(x)
    count = min(shape[0] - 1, shape[1])  # the last of few examples has no variance
    signs = np.sign(np.sum(found.components * twin.components_, axis=1))[:, None]
    expected = twin.components_[:count]
    np.testing.assert_allclose((signs * found.components)[:count], expected, atol=1e-6)
    np.testing.assert_allclose(found.variance, twin.explained_variance_, atol=1e-6)
    np.testing.assert_allclose(found.ratio, twin.explained_variance_ratio_, atol=1e-6)
    z = found.transform(x)
    np.testing.assert_allclose(
        (z * signs[:, 0])[:, :count], twin.transform(x)[:, :count], atol=1e-6
    )
    np.testing.assert_allclose(found.inverse(z), x, atol=1e-9)


@pytest.mark.parametrize("components", [7, 0.9])
def test_pca_of_some_components_compresses_as_scikit_learn_does(components):
    twin = decomposition.PCA(components, svd_solver="full").fit(DIGITS)
    found = analysis.pca(DIGITS, components)
    assert len(found.variance) == twin.n_components_
    expected = twin.inverse_transform(twin.transform(DIGITS))
    np.testing.assert_allclose(
        found.inverse(found.transform(DIGITS)), expected, atol=1e-6
    )
    if components == 0.9:
        assert found.ratio.sum() >= 0.9 > found.ratio[:-1].sum()
        ratio = analysis.pca(DIGITS).ratio
        assert analysis.components_for(ratio, 0.9) == twin.n_components_


@pytest.mark.parametrize(
    ("score", "x", "y"),
    [
        ("f_classif", WINE, CLASSES),
        ("f_regression", DIABETES, PROGRESS),
        ("mutual_information", WINE, CLASSES),
    ],
)
def test_select_k_best(score, x, y):
    function = getattr(feature_selection, score.replace("mutual_information", "x"), 0)
    if score == "mutual_information":

        def function(x, y):
            return feature_selection.mutual_info_classif(x, y, random_state=0)

    twin = feature_selection.SelectKBest(function, k=4).fit(x, y)
    found = analysis.select_k_best(x, y, 4, score)
    np.testing.assert_allclose(found.scores, twin.scores_, rtol=1e-6)
    np.testing.assert_array_equal(found.chosen, twin.get_support(indices=True))
    np.testing.assert_array_equal(found.apply(x), twin.transform(x))


def test_select_by_correlation_ranks_as_f_does():
    found = analysis.select_k_best(DIABETES, PROGRESS, 4, "correlation")
    expected = [np.corrcoef(column, PROGRESS)[0, 1] for column in DIABETES.T]
    np.testing.assert_allclose(found.scores, np.abs(expected), atol=1e-6)
    by_f = analysis.select_k_best(DIABETES, PROGRESS, 4, "f_regression")
    np.testing.assert_array_equal(found.chosen, by_f.chosen)


def test_k_means_from_the_same_centres():
    start = DIGITS[:10]
    twin = cluster.KMeans(10, init=start, n_init=1, tol=0).fit(DIGITS)
    found = jit(analysis.lloyd)(DIGITS, start)
    np.testing.assert_allclose(found.centres, twin.cluster_centers_, atol=1e-6)
    np.testing.assert_array_equal(found.labels, twin.labels_)
    assert float(found.inertia) == pytest.approx(twin.inertia_, rel=1e-9)
    np.testing.assert_array_equal(found.assign(DIGITS), found.labels)


def test_k_means_of_its_own_starts_finds_clusters_far_apart():
    rng = np.random.default_rng(0)
    centres = 10.0 * np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    classes = np.arange(80) % 4
    x = centres[classes] + rng.normal(size=(80, 2))
    found = jit(lambda x: analysis.k_means(x, 4, jax.random.key(0)))(x)
    assert analysis.purity(found.labels, classes) == 1
    twin = cluster.KMeans(4, n_init=5, random_state=0).fit(x)
    assert float(found.inertia) == pytest.approx(twin.inertia_, rel=1e-9)
    one = analysis.k_means(x, 1, jax.random.key(0), restarts=1)
    assert analysis.purity(one.labels, classes) == 0.25


def test_ranking_metrics():
    rng = np.random.default_rng(0)
    scores, targets = rng.normal(size=200).round(1), rng.integers(0, 2, 200)
    area = metrics.roc_auc_score(targets, scores)
    assert ours.roc_auc(scores, targets) == pytest.approx(area, abs=1e-6)
    precision = metrics.average_precision_score(targets, scores)
    assert ours.average_precision(scores, targets) == pytest.approx(precision, abs=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: analysis.impute(WINE, "mode"),
            "unknown statistic 'mode': give one of",
        ),
        (lambda: analysis.pca(WINE, 14), "14 components of 178 examples .* 1 to 13"),
        (lambda: analysis.pca(WINE, 1.5), "1.5 components"),
        (lambda: analysis.select_k_best(WINE, CLASSES, 0), "k is 0: there are 13"),
        (lambda: analysis.select_k_best(WINE, CLASSES, 2, "t"), "unknown score 't'"),
        (
            lambda: analysis.k_means(jnp.ones((2, 1)), 3, jax.random.key(0)),
            "3 clusters of 2 examples",
        ),
    ],
)
def test_wrong_arguments_are_told_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
