"""Which library multiplies is chosen for steps of large dense layers alone."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from jaxdl import kernels, parallel
from jaxdl.parallel import products
from jaxdl.parallel.blocks import largest_product


def dense(state, batch):
    return state, jnp.sum(batch @ jnp.ones((784, 256)))


def by_kernel(state, batch):
    return state, jnp.sum(kernels.product(batch, jnp.ones((784, 256))))


def moved_by_kernel(state, batch):
    """As a step of Adam's, which multiplies no more matrices."""
    old = kernels.Moments([batch], [batch], [batch])
    numbers = kernels.Numbers(*[jnp.float32(1)] * 6)
    moved = kernels.adam(kernels.Adam(), (True,), [batch], old, numbers)
    sums = kernels.sums_of_squares([batch], jnp.float32(1))
    return by_kernel(state, moved.params[0] + sums)


def small(state, batch):
    return state, jnp.sum(batch[:, :64] @ jnp.ones((64, 64)))


def convolving(state, batch):
    images = batch.reshape(-1, 28, 28, 1)
    net = nn.Conv(2, (3, 3))
    return state, jnp.sum(net.apply(net.init(jax.random.key(0), images), images))


def batched(state, batch):
    return state, jnp.einsum("bij,bjk->bik", *[batch.reshape(-1, 28, 28)] * 2)


def both(state, batch):
    return dense(convolving(state, batch)[0], batch)


def looping(state, batch):
    return jax.lax.scan(lambda c, _: dense(c, batch), state, None, length=3)


STATE, BATCH = jnp.zeros(()), jax.ShapeDtypeStruct((32, 784), jnp.float32)


@pytest.mark.parametrize(
    ("step", "size"),
    [
        (dense, 32 * 784 * 256),
        (jax.jit(dense), 32 * 784 * 256),
        (by_kernel, 32 * 784 * 256),
        (moved_by_kernel, 32 * 784 * 256),
        (small, 32 * 64 * 64),
        (convolving, 0),
        (batched, 0),
        (looping, 0),
        (both, 0),
    ],
)
def test_the_largest_product_is_that_of_steps_of_dense_layers(step, size):
    assert largest_product(step, STATE, BATCH) == size


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="of a CPU's compiler")
def test_xla_chooses_where_it_was_not_measured(monkeypatch):
    monkeypatch.setattr(products, "cpu_instructions", lambda: "fma avx2")
    told = parallel.compiler_options(dense, STATE, BATCH)
    assert told == {"xla_cpu_experimental_ynn_fusion_type": ""}
    for step in (small, convolving, batched, looping):
        assert parallel.compiler_options(step, STATE, BATCH) is None
    monkeypatch.setattr(products, "cpu_instructions", lambda: "fma avx2 avx512f")
    for there in (False, True):
        monkeypatch.setattr(products.kernels, "load", lambda there=there: there)
        assert (parallel.compiler_options(dense, STATE, BATCH) is None) is not there


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="of a CPU's compiler")
def test_an_option_that_xla_does_not_know_is_left_out(monkeypatch):
    monkeypatch.setattr(products, "cpu_instructions", lambda: "fma avx2")
    monkeypatch.setattr(products, "_WITHOUT", {"xla_cpu_of_another_time": ""})
    monkeypatch.setattr(products, "_is_known", products._is_known.__wrapped__)
    assert parallel.compiler_options(dense, STATE, BATCH) is None


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="of a CPU's compiler")
def test_steps_and_blocks_are_compiled_alike(monkeypatch):
    """Else a run that is resumed within a block would not equal one that is not."""
    monkeypatch.setattr(products, "cpu_instructions", lambda: "fma avx2")
    state = jnp.ones((784, 256)) / 784

    def step(state, batch):
        loss, slope = jax.value_and_grad(lambda w: jnp.mean(jnp.tanh(batch @ w)))(state)
        return state - 0.1 * slope, {"loss": loss}

    way = parallel.tuned(parallel.placement("none"), step, state, BATCH)
    assert way.compiler_options is not None
    batches = jax.random.normal(jax.random.key(0), (4, 32, 784))
    once, told = way.block(step)(jnp.copy(state), batches)
    single = way.step(step)
    for batch, loss in zip(batches, told["loss"], strict=True):
        state, metrics = single(state, batch)
        assert metrics["loss"] == loss
    assert jnp.array_equal(once, state)


def test_a_placement_over_devices_is_left_as_it_is():
    way = parallel.placement("data")
    assert parallel.tuned(way, dense, STATE, BATCH) is way
