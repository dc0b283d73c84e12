"""Layer norm: Flax's own, whether its kernel is built or not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl import kernels
from jaxdl.layers import LayerNorm

KEY = jax.random.key(0)


def variables_for(x):
    scale = jnp.linspace(0.5, 2.0, x.shape[-1])
    return {"params": {"scale": scale, "bias": scale - 1}}


# A batch of rows, one token at a time, and sequences long enough for the kernel.
@pytest.mark.parametrize("shape", [(6, 5), (3, 1, 20), (3, 16, 20), (2, 4, 5, 20)])
def test_equals_flax_in_value_gradients_and_parameters(shape):
    x = 3 + 2 * jax.random.normal(KEY, shape)
    variables = variables_for(x)
    jax.tree.map(
        np.testing.assert_array_equal,
        LayerNorm().init(KEY, x),
        nn.LayerNorm().init(KEY, x),
    )

    def run(layer):
        def loss(variables, x):
            y = layer.apply(variables, x)
            return jnp.sum(jnp.sin(y)), y

        gradients = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
        return gradients(variables, x)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5),
        run(LayerNorm()),
        run(nn.LayerNorm()),
    )


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_the_output_is_of_the_type_asked_for(dtype):
    x = jax.random.normal(KEY, (3, 16, 20))
    for given in (x, x.astype(jnp.bfloat16)):
        ours = LayerNorm(dtype=dtype).apply(variables_for(x), given)
        theirs = nn.LayerNorm(dtype=dtype).apply(variables_for(x), given)
        assert ours.dtype == theirs.dtype == dtype
        np.testing.assert_allclose(
            ours.astype("float32"), theirs.astype("float32"), atol=2e-2
        )


@pytest.mark.usefixtures("compiled")
def test_the_kernel_computes_sequences_alone():
    def calls(shape):
        x = jnp.ones(shape)
        return "jaxdl_layer_norm" in str(
            jax.make_jaxpr(LayerNorm().apply)(variables_for(x), x)
        )

    assert kernels.supports(jnp.float32)
    assert calls((3, 16, 20))
    assert not calls((3, 1, 20))
    assert not calls((48, 20))
