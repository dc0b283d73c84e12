"""A small learning problem that every test of this folder trains on."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxdl import models, objectives, optimizers, train
from jaxdl.batch import Context
from jaxdl.layers import Dropout

FEATURES, CLASSES, BATCH = 5, 3, 12


class Net(nn.Module):
    """A hidden layer with dropout."""

    @nn.compact
    def __call__(self, x, context: Context = Context()):
        x = Dropout()(nn.relu(nn.Dense(8)(x)), context)
        return nn.Dense(CLASSES)(x)


OBJECTIVE = objectives.classification(models.forward(Net()), classes=CLASSES)


def batch(step=0, count=None):
    """The batch of a step; stacked where a count is given."""
    if count is not None:
        several = [batch(step + i) for i in range(count)]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *several)
    draw = np.random.default_rng([7, step])
    targets = draw.integers(0, CLASSES, BATCH)
    inputs = draw.normal(size=(BATCH, FEATURES)) + 2 * np.eye(FEATURES)[targets]
    return {
        "inputs": inputs.astype(np.float32),
        "targets": targets.astype(np.int32),
        "mask": np.ones(BATCH, np.float32),
    }


_init = jax.jit(lambda key: models.init(Net(), key, jnp.zeros((1, FEATURES))))


def state(optimizer=None, seed=0, **options):
    """A state of the net."""
    params, model_state = _init(jax.random.key(seed))
    hyper = {"learning_rate": 0.1, "dropout": 0.3, **options.pop("hyper", {})}
    return train.create_state(
        params,
        optimizer or optimizers.make("sgd"),
        model_state,
        hyper=hyper,
        seed=seed,
        **options,
    )


def step(optimizer=None, **options):
    """A training step of the net."""
    return train.make_step(OBJECTIVE, optimizer or optimizers.make("sgd"), **options)


def bits(tree):
    """Every array as bytes, in order."""
    return [
        np.asarray(
            jax.random.key_data(x)
            if jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
            else x
        ).tobytes()
        for x in jax.tree.leaves(tree)
    ]


def assert_close(got, expected, rtol=1e-5, atol=1e-7):
    """Leaf by leaf."""
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
