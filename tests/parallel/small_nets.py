"""Small networks, their batches and what compares their states, for many devices."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxdl import models, objectives, optimizers, parallel, train
from jaxdl.batch import Context
from jaxdl.layers import BatchNorm, Dropout
from jaxdl.models.apply import forward

STEPS, BATCH, CLASSES = 6, 32, 5
# Sums over devices run in another order: float32 reduction error, no more.
CLOSE = {"rtol": 1e-5, "atol": 1e-7}


class Net(nn.Module):
    """Convolution, synchronised batch norm and dropout: all that can differ."""

    @nn.compact
    def __call__(self, x, context: Context = Context()):
        # No bias before batch norm: its gradient is rounding noise alone.
        x = nn.Conv(4, (3, 3), use_bias=False)(x)
        x = BatchNorm()(x, context)
        x = nn.relu(x).reshape(x.shape[0], -1)
        x = Dropout()(x, context)
        x = nn.Dense(16, use_bias=False)(x)
        x = nn.relu(BatchNorm()(x, context))
        x = Dropout()(x, context)
        return nn.Dense(CLASSES)(x)


_init = jax.jit(lambda key, example: models.init(Net(), key, example))


def batches():
    """STEPS batches; each ends in padding of NaN, unlike from device to device."""
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(STEPS, BATCH, 6, 6, 1)).astype(np.float32)
    targets = draw.integers(0, CLASSES, (STEPS, BATCH)).astype(np.int32)
    mask = np.ones((STEPS, BATCH), np.float32)
    mask[:, -5:] = 0.0
    mask[2, 3:] = 0.0  # whole devices with nothing but padding
    inputs[mask == 0] = np.nan
    return {"inputs": inputs, "targets": targets, "mask": mask}


def learner(**options):
    # Not Adam: it divides by the size of the gradient, and so scales the rounding
    # of gradients near zero up to whole updates.
    optimizer = optimizers.make("momentum", weight_decay=0.01)
    objective = objectives.classification(forward(Net()), classes=CLASSES)
    options = {"clip_norm": 1.0, "penalty": None, **options}
    return optimizer, train.make_step(objective, optimizer, **options)


def state(optimizer, seed=0, dropout=0.3, rate=5e-2):
    example = jnp.zeros((1, 6, 6, 1))
    params, model_state = _init(jax.random.key(seed), example)
    hyper = {"learning_rate": rate, "weight_decay": 0.01, "dropout": dropout}
    return train.create_state(
        params, optimizer, model_state, hyper=hyper, seed=seed, ema_decay=0.9
    )


def at(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


def one_by_one(step, first):
    """States and losses of the step called in turn."""
    losses, now = [], first
    for i in range(STEPS):
        now, metrics = step(now, at(batches(), i))
        losses.append(metrics["loss"].total / metrics["loss"].count)
    return now, np.array(losses)


def plain(options=None, **numbers):
    optimizer, step = learner(**(options or {}))
    return one_by_one(parallel.jit(step, donate=False), state(optimizer, **numbers))


def raw(tree):
    """Arrays of a state, keys as their bits."""
    return [
        np.asarray(
            jax.random.key_data(x)
            if jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
            else x
        )
        for x in jax.tree.leaves(tree)
    ]


def assert_close(got, expected):
    """1e-5 relative; 1e-6 absolute for what has hardly left zero."""
    for a, b in zip(raw(got), raw(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


TRANSFORMER = {"classes": CLASSES, "vocabulary": 24, "width": 16, "layers": 1}


def transformer(**changes):
    """(step, state, batch) of a small Transformer on tokens, by momentum."""
    net = models.create("transformer", **{**TRANSFORMER, **changes})
    optimizer = optimizers.make("momentum")
    step = train.make_step(
        objectives.classification(forward(net), classes=CLASSES), optimizer
    )
    draw = np.random.default_rng(1)
    batch = {
        "inputs": draw.integers(0, 24, (16, 6)).astype(np.int32),
        "targets": draw.integers(0, CLASSES, 16).astype(np.int32),
        "mask": np.ones(16, np.float32),
    }
    init = jax.jit(lambda key, example: models.init(net, key, example))
    params, model_state = init(jax.random.key(0), batch["inputs"][:1])
    hyper = {"learning_rate": 0.1, "dropout": 0.2}
    first = train.create_state(params, optimizer, model_state, hyper=hyper)
    return step, first, batch
