"""What went wrong, and what layers put out."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jaxdl.runs import analysis

PROBABILITIES = arrays.arrays(
    np.float64, st.tuples(st.integers(1, 12), st.just(3)), elements=st.floats(0, 1)
)


@given(p=PROBABILITIES, seed=st.integers(0, 99), count=st.integers(0, 15))
@settings(max_examples=50, deadline=None)
def test_the_worst_are_those_with_the_least_probability_of_the_truth(p, seed, count):
    targets = np.random.default_rng(seed).integers(0, 3, len(p))
    found = analysis.worst(p, targets, count)
    true = [p[i, t] for i, t in enumerate(targets)]
    expected = sorted(range(len(p)), key=lambda i: (true[i], i))[:count]
    assert found.tolist() == expected


def test_nan_is_worst_of_all_and_jax_arrays_will_do():
    p = jnp.array([[0.9, 0.1], [jnp.nan, 0.5], [0.0, 1.0]])
    assert analysis.worst(p, jnp.array([0, 0, 0]), 2).tolist() == [1, 2]


def test_misclassified_are_those_whose_largest_is_another():
    p = np.array([[0.6, 0.4], [0.4, 0.6], [0.3, 0.7]])
    assert analysis.misclassified(p, np.array([0, 0, 1])).tolist() == [1]


class Small(nn.Module):
    @nn.compact
    def __call__(self, x, scale):
        x = nn.Conv(4, (3, 3), name="first")(x) * scale
        x = nn.Sequential([nn.Conv(2, (1, 1)), nn.relu])(x)
        return x.mean(axis=(1, 2))


def test_feature_maps_are_what_each_layer_puts_out():
    x = jax.random.normal(jax.random.key(0), (2, 5, 5, 1))
    variables = Small().init(jax.random.key(1), x, 1.0)
    maps = analysis.feature_maps(Small(), variables, x, scale=2.0)
    assert maps["first"].shape == (2, 5, 5, 4)
    assert maps["Conv_0"].shape == (2, 5, 5, 2)
    kernel = variables["params"]["first"]["kernel"]
    plain = jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(maps["first"], plain, atol=1e-5)
