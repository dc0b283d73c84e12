"""A dense layer is Flax's, whoever computes its product."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from jaxdl.layers import Dense, dense
from tests.kernels.agreement import close


def outcome(layer, x):
    variables = layer.init(jax.random.key(1), x)

    def loss(variables, x):
        return jnp.sum(jnp.sin(layer.apply(variables, x)).astype("float32"))

    slopes = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(variables, x)
    return variables, slopes


def calls(layer, x):
    """Whether the kernel is called."""
    return "jaxdl_product" in str(jax.make_jaxpr(layer.init)(jax.random.key(0), x))


@pytest.fixture
def avx512(compiled, monkeypatch):
    monkeypatch.setattr(dense, "cpu_instructions", lambda: "avx2 avx512f")


@pytest.mark.usefixtures("avx512")
@pytest.mark.parametrize("shape", [(64, 128), (4, 16, 128), (2, 4, 8, 128)], ids=str)
def test_equals_flax_in_parameters_value_and_gradients(shape):
    x = jax.random.normal(jax.random.key(0), shape)
    assert calls(Dense(64), x)
    close(outcome(Dense(64), x), outcome(nn.Dense(64), x), 1e-4)


@pytest.mark.usefixtures("avx512")
def test_what_the_kernel_cannot_do_is_left_to_the_compiler():
    x = jnp.ones((64, 128))
    assert not calls(Dense(8), jnp.ones((4, 16)))  # too small to be worth it
    for options in ({"dtype": "bfloat16"}, {"precision": "highest"}):
        assert not calls(Dense(64, **options), x)
        close(
            outcome(Dense(64, **options), x), outcome(nn.Dense(64, **options), x), 1e-6
        )


def test_without_avx512_the_compiler_computes_it(compiled, monkeypatch):
    monkeypatch.setattr(dense, "cpu_instructions", lambda: "avx avx2")
    assert not calls(Dense(64), jnp.ones((64, 128)))
