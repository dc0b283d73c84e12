"""Normalisation: what it fits, that it survives JSON, that streams agree."""

import json

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from jaxdl.data import Preprocess, preprocess
from jaxdl.data.source import in_memory

TARGETS = np.zeros(3_000, np.int32)


def _fit(inputs, budget=2**40, seed=0):
    return preprocess.fit(in_memory(inputs, TARGETS[: len(inputs)], budget), seed)


@pytest.mark.parametrize("shape", [(3_000, 5), (3_000, 4, 5), (3_000, 2, 2, 5)])
def test_equals_scikit_learn(shape):
    scale, middle = np.array([1, 10, 0.1, 5, 1e3]), np.array([0, 4, 1, -9, 1e5])
    inputs = np.random.default_rng(0).normal(middle, scale, shape).astype(np.float32)
    fitted = _fit(inputs)
    reference = StandardScaler().fit(inputs.reshape(-1, 5).astype(np.float64))
    np.testing.assert_allclose(fitted.mean, reference.mean_, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(fitted.std, reference.scale_, rtol=1e-6)
    applied = np.asarray(fitted.apply(inputs)).reshape(-1, 5)
    np.testing.assert_allclose(applied.mean(0), 0, atol=2e-4)
    np.testing.assert_allclose(applied.std(0), 1, atol=1e-3)


def test_of_stored_integers_by_channel():
    images = np.random.default_rng(1).integers(0, 256, (300, 4, 6, 3), dtype=np.uint8)
    fitted = _fit(images)
    np.testing.assert_allclose(fitted.mean, images.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(fitted.std, images.std((0, 1, 2)), rtol=1e-12)
    applied = jax.jit(fitted.apply)(images)
    assert applied.dtype == np.float32
    np.testing.assert_allclose(fitted.invert(applied), images, atol=1e-3)


@pytest.mark.parametrize("value", [0.0, 7.0, 1e6, -1e-20])
def test_a_constant_feature_does_not_divide_by_zero(value):
    inputs = np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)
    inputs[:, 1] = value
    fitted = _fit(inputs)
    assert fitted.std[1] == 1.0
    applied = np.asarray(fitted.apply(inputs))
    assert np.isfinite(applied).all()
    np.testing.assert_allclose(applied[:, 1], 0.0, atol=0.1)


def test_streams_and_memory_agree_to_the_bit(monkeypatch):
    monkeypatch.setattr(preprocess, "SAMPLE", 700)
    images = np.random.default_rng(2).integers(0, 256, (3_000, 2, 2, 1), dtype=np.uint8)
    resident, streamed, other = _fit(images), _fit(images, 0), _fit(images, 0, seed=1)
    assert resident == streamed
    assert resident != other  # Another sample was drawn.
    np.testing.assert_allclose(resident.mean, images.mean((0, 1, 2)), rtol=0.05)


def test_inputs_without_a_feature_axis():
    values = np.arange(10, dtype=np.float32)
    fitted = _fit(values)
    expected = (values - 4.5) / values.std()
    np.testing.assert_allclose(fitted.apply(values), expected, rtol=1e-6)


@given(
    st.lists(
        st.tuples(st.floats(-1e9, 1e9), st.floats(1e-9, 1e9)), min_size=1, max_size=4
    ),
    st.sampled_from([None, 16.0, 255.0]),
)
@settings(max_examples=40, deadline=None)
def test_json_keeps_every_bit(pairs, high):
    mean, std = zip(*pairs, strict=True)
    fitted = Preprocess(mean, std, high)
    assert preprocess.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


def test_json_that_is_incomplete_is_refused():
    with pytest.raises(ValueError, match="lacks mean"):
        preprocess.from_json({"std": [1.0]})
    with pytest.raises(ValueError, match="1 means and 2 deviations"):
        preprocess.from_json({"mean": [0.0], "std": [1.0, 2.0]})


def test_identity_only_casts():
    pixels = np.arange(8, dtype=np.uint8).reshape(1, 2, 2, 2)
    np.testing.assert_array_equal(preprocess.identity(2).apply(pixels), pixels)


def test_large_examples_are_sampled_less():
    assert preprocess._sample_size(60_000, 28 * 28) == 50_000
    assert preprocess._sample_size(10**6, 224 * 224 * 3) == 1_328
    assert preprocess._sample_size(300, 10**9) == 300


def test_pixels_are_brought_to_the_unit_scale_and_back():
    scale = preprocess.unit_scale(3, 16.0)
    stored = np.arange(51, dtype=np.uint8).reshape(17, 1, 3) % 17
    unit = scale.apply(stored)
    np.testing.assert_allclose(unit, stored / 16.0, rtol=1e-6)
    np.testing.assert_allclose(scale.invert(unit), stored, rtol=1e-6)
    assert preprocess.from_json(json.loads(json.dumps(scale.to_json()))) == scale
