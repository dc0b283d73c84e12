"""Masks over a parameter tree: what decays, what is trained."""

import jax.numpy as jnp
import pytest

from jaxdl.parameters import decay_mask, trainable_mask

PARAMS = {
    "Dense_1": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)},
    "Dense_10": {"kernel": jnp.ones((3, 3)), "bias": jnp.ones(3)},
    "norm": {"shift": jnp.ones(3), "bias": jnp.ones(3)},
    "attention": {"query": {"kernel": jnp.ones((3, 2, 2)), "bias": jnp.ones((2, 2))}},
}


def test_decay_spares_biases_and_scales_whatever_their_rank():
    assert decay_mask(PARAMS) == {
        "Dense_1": {"kernel": True, "bias": False},
        "Dense_10": {"kernel": True, "bias": False},
        "norm": {"shift": False, "bias": False},
        "attention": {"query": {"kernel": True, "bias": False}},
    }


def test_a_pattern_freezes_whole_names():
    mask = trainable_mask(PARAMS, "Dense_1")
    assert mask["Dense_1"] == {"kernel": False, "bias": False}
    assert mask["Dense_10"] == {"kernel": True, "bias": True}


def test_patterns_are_regular_expressions_and_several_add_up():
    mask = trainable_mask(PARAMS, r".*/bias, norm")
    assert mask == {
        "Dense_1": {"kernel": True, "bias": False},
        "Dense_10": {"kernel": True, "bias": False},
        "norm": {"shift": False, "bias": False},
        "attention": {"query": {"kernel": True, "bias": False}},
    }
    assert trainable_mask(PARAMS, "")["norm"] == {"shift": True, "bias": True}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("Dense_2", "'Dense_2' matches no parameter.*Dense_1, Dense_10, attention"),
        ("norm,typo", "'typo' matches no parameter"),
        (".*", "leaves nothing to train"),
        ("(", "not a regular expression"),
    ],
)
def test_patterns_that_cannot_be_meant_are_refused(pattern, message):
    with pytest.raises(ValueError, match=message):
        trainable_mask(PARAMS, pattern)
