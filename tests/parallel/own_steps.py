"""Steps of a researcher's own run by every way, without a change to jaxdl.

Run by ``test_ways.py`` in a process of its own with eight virtual devices.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxdl import models, objectives, optimizers, parallel, train
from jaxdl.batch import sum_over_devices
from jaxdl.train import population

STEPS, BATCH = 5, 16


def batches():
    draw = np.random.default_rng(3)
    x = draw.normal(size=(STEPS, BATCH, 4)).astype(np.float32)
    return {"inputs": x, "targets": (x.sum(-1) > 0).astype(np.int32)}


def two_optimizers():
    """A plain function of plain parameters, and an optimizer for each half."""
    slow, fast = optax.sgd(0.01), optax.sgd(0.1, momentum=0.9)

    def create(seed):
        keys = jax.random.split(jax.random.key(seed))
        body = jax.random.normal(keys[0], (4, 8)) / 2
        head = jax.random.normal(keys[1], (8, 2)) / 3
        params = {"body": body, "head": head}
        moments = {"body": slow.init(body), "head": fast.init(head)}
        return {"params": params, "moments": moments}

    def loss_sum(params, batch):
        logits = jnp.tanh(batch["inputs"] @ params["body"]) @ params["head"]
        losses = optax.softmax_cross_entropy_with_integer_labels(
            logits, batch["targets"]
        )
        return jnp.sum(losses), losses.size

    def step(state, batch):
        (total, count), grads = jax.value_and_grad(loss_sum, has_aux=True)(
            state["params"], batch
        )
        total, count, grads = sum_over_devices((total, jnp.float32(count), grads))
        grads = jax.tree.map(lambda g: g / count, grads)
        params, moments = {}, {}
        for part, optimizer in {"body": slow, "head": fast}.items():
            update, moments[part] = optimizer.update(
                grads[part], state["moments"][part]
            )
            params[part] = optax.apply_updates(state["params"][part], update)
        return {"params": params, "moments": moments}, {"loss": total / count}

    return create, step


def plain_function():
    """A model that is a function, in jaxdl's own step."""
    optimizer = optimizers.make("momentum", learning_rate=0.1)

    def model(params, x):
        return jnp.tanh(x @ params["w"]) @ params["v"]

    objective = objectives.classification(models.forward(model), classes=2)

    def create(seed):
        keys = jax.random.split(jax.random.key(seed))
        params = {
            "w": jax.random.normal(keys[0], (4, 8)) / 2,
            "v": jax.random.normal(keys[1], (8, 2)) / 3,
        }
        return train.create_state(params, optimizer, seed=seed)

    return create, train.make_step(objective, optimizer)


def nnx_module():
    """A Flax NNX module, taken apart by ``nnx.split``."""
    optimizer = optimizers.make("momentum", learning_rate=0.1)

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.inner = nnx.Linear(4, 8, rngs=rngs)
            self.outer = nnx.Linear(8, 2, rngs=rngs)

        def __call__(self, x):
            return self.outer(nnx.relu(self.inner(x)))

    graph = nnx.graphdef(nnx.eval_shape(lambda: Net(nnx.Rngs(0))))

    def model(params, x):
        return nnx.merge(graph, params)(x)

    objective = objectives.classification(models.forward(model), classes=2)

    def create(seed):
        params = nnx.state(Net(nnx.Rngs(params=jax.random.key(seed))), nnx.Param)
        return train.create_state(params, optimizer, seed=seed)

    return create, train.make_step(objective, optimizer)


def at(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


def loss_of(metrics):
    loss = metrics["loss"]
    return np.asarray(loss.total / loss.count if hasattr(loss, "total") else loss)


def in_turn(way, create, step):
    now, compiled, losses = way.state(create(0)), way.step(step), []
    for i in range(STEPS):
        now, metrics = compiled(now, way.put(at(batches(), i), 0))
        losses.append(loss_of(metrics))
    return np.array(losses)


@pytest.mark.parametrize("make", [two_optimizers, plain_function, nnx_module])
def test_a_step_of_ones_own_runs_by_every_way(make):
    create, step = make()
    expected = in_turn(parallel.placement("none"), create, step)
    assert expected[-1] != expected[0]
    for name in ("pmap", "data", "fsdp"):
        got = in_turn(parallel.placement(name), create, step)
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    _, scanned = parallel.jit(parallel.scan(step))(create(0), batches())
    np.testing.assert_array_equal(loss_of(scanned), expected)
    members = population.stack([create(0), create(1)]).states
    vmapped, losses = parallel.jit(parallel.vmap(step)), []
    for i in range(STEPS):
        members, metrics = vmapped(members, at(batches(), i))
        losses.append(loss_of(metrics)[0])
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
