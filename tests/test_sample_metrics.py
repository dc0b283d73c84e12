"""Metrics of samples: the published formula, sums that merge, what NaN does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl import metrics
from jaxdl.sample_metrics import (
    ClassCoverage,
    FrechetDistance,
    class_coverage,
    covered,
    frechet_distance,
)


def clouds(seed=0, rows=40, features=4):
    draw = np.random.default_rng(seed)
    real, made = draw.normal(size=(2, rows, features)).astype(np.float32)
    mix = draw.normal(size=(features, features)).astype(np.float32)
    return real, made @ mix + 0.5


def formula(real, made):
    """Heusel et al. 2017, eq. 6, by SciPy's matrix square root."""
    first, second = np.cov(real, rowvar=False), np.cov(made, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second).real
    apart = np.sum((real.mean(0) - made.mean(0)) ** 2)
    return apart + np.trace(first + second - 2 * root)


def test_the_distance_is_that_of_the_formula():
    real, made = clouds()
    got = frechet_distance(real, made, jnp.ones(len(real))).read()
    expected = formula(real.astype(np.float64), made.astype(np.float64))
    assert float(got) == pytest.approx(expected, rel=1e-4)


def test_the_distance_of_one_dimension_is_that_of_means_and_deviations():
    real, made = clouds(features=1)
    got = frechet_distance(real, made, jnp.ones(len(real))).read()
    expected = (real.mean() - made.mean()) ** 2 + (
        real.std(ddof=1) - made.std(ddof=1)
    ) ** 2
    assert float(got) == pytest.approx(expected, rel=1e-3)


def test_equal_clouds_are_no_distance_apart_and_moved_ones_the_square_of_the_way():
    real, _ = clouds()
    mask = jnp.ones(len(real))
    assert float(frechet_distance(real, real, mask).read()) == pytest.approx(
        0, abs=1e-4
    )
    moved = frechet_distance(real, real + np.float32(3), mask).read()
    assert float(moved) == pytest.approx(4 * 9, rel=1e-4)


def test_fewer_samples_than_features_are_measured_all_the_same():
    real, made = clouds(rows=3, features=6)
    got = float(frechet_distance(real, made, jnp.ones(3)).read())
    assert np.isfinite(got)
    assert got > 0


@settings(max_examples=8, deadline=None)
@given(cut=st.integers(0, 40))
def test_batches_cut_anywhere_and_padded_with_nan_merge_to_the_same(cut):
    real, made = clouds()
    measure = jax.jit(frechet_distance)
    totals = None
    for part in (slice(0, cut), slice(cut, None)):
        rows = [np.full_like(x, np.nan) for x in (real, made)]
        count = len(real[part])
        for row, x in zip(rows, (real, made), strict=True):
            row[:count] = x[part]
        mask = (np.arange(len(real)) < count).astype(np.float32)
        totals = metrics.accumulate(totals, {"d": measure(*rows, mask)}, stacked=False)
    expected = measure(real, made, np.ones(len(real), np.float32)).read()
    assert metrics.read(totals)["d"] == pytest.approx(float(expected), rel=1e-4)
    packed = metrics.from_json(metrics.to_json(totals))
    assert metrics.read(packed) == metrics.read(totals)


def test_members_of_a_population_are_read_each_by_itself():
    pairs = [clouds(seed) for seed in range(3)]
    alone = [frechet_distance(*pair, jnp.ones(40)) for pair in pairs]
    stacked = FrechetDistance(*(np.stack(parts) for parts in zip(*alone, strict=True)))
    expected = [float(one.read()) for one in alone]
    np.testing.assert_allclose(stacked.read(), expected, rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_make_the_distance_nan(value):
    real, made = clouds()
    made[3, 1] = value
    assert np.isnan(frechet_distance(real, made, jnp.ones(len(real))).read())
    assert np.isnan(frechet_distance(real, made, jnp.zeros(len(real))).read())


def test_coverage_counts_the_classes_that_hold_a_hundredth_of_the_samples():
    counts = np.array([900, 90, 10, 9, 0])
    assert covered(counts).tolist() == [True, True, False, False, False]
    assert float(ClassCoverage(np.array([989, 0, 11])).read()) == pytest.approx(2 / 3)
    assert np.isnan(ClassCoverage(np.zeros(3, int)).read())


def test_of_many_classes_a_tenth_of_an_even_share_is_enough():
    assert covered(np.ones(1000)).all()
    assert covered(np.array([10_000, *[1] * 99, *[0] * 100])).sum() == 1


def test_coverage_leaves_padding_out():
    classes, mask = jnp.array([0, 1, 1, 2]), jnp.array([1.0, 1.0, 1.0, 0.0])
    found = class_coverage(classes, 4, mask)
    assert found.counts.tolist() == [1, 2, 0, 0]
    assert float(found.read()) == 0.5
