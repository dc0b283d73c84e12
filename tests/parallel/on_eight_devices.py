"""The contract: one step function, equal in every way of running it.

Run by ``test_ways.py`` in a process of its own with eight virtual devices.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import data, models, objectives, optimizers, parallel, train
from jaxdl.models.apply import forward
from tests.parallel.small_nets import (
    BATCH,
    CLASSES,
    CLOSE,
    STEPS,
    Net,
    assert_close,
    at,
    batches,
    learner,
    one_by_one,
    plain,
    raw,
    state,
    transformer,
)


@pytest.fixture(scope="module")
def reference():
    return plain()


def test_training_moves_everything(reference):
    optimizer, _ = learner()
    final, losses = reference
    assert np.all(np.isfinite(losses))
    assert losses[-1] < losses[0]
    moved = [
        np.any(a != b)
        for a, b in zip(raw(final.params), raw(state(optimizer).params), strict=True)
    ]
    assert np.mean(moved) > 0.8
    assert np.any(final.model_state["batch_stats"]["BatchNorm_0"]["mean"] != 0)


def test_scan_equals_the_steps_in_turn(reference):
    """Not to the bit: inside a CPU loop XLA convolves by another routine."""
    optimizer, step = learner()
    block = parallel.jit(parallel.scan(step))
    final, metrics = block(state(optimizer), batches())
    losses = metrics["loss"].total / metrics["loss"].count
    np.testing.assert_allclose(losses, reference[1], **CLOSE)
    assert_close(final.params, reference[0].params)


@pytest.mark.parametrize("count", [1, 4, 8])
@pytest.mark.parametrize(
    ("name", "block"),
    [
        *(("pmap", False), ("data", False), ("fsdp", False)),
        *(("pmap", True), ("data", True)),
    ],
)
def test_devices_equal_one(reference, name, count, block):
    optimizer, step = learner()
    way = parallel.placement(name, jax.devices()[:count])
    first = way.state(state(optimizer))
    if block:
        final, metrics = way.block(step)(first, way.put(batches(), 1))
        losses = metrics["loss"].total / metrics["loss"].count
    else:
        compiled = way.step(step)
        final, losses = one_by_one(lambda s, b: compiled(s, way.put(b, 0)), first)
    np.testing.assert_allclose(losses, reference[1], **CLOSE)
    assert_close(final.params, reference[0].params)
    assert_close(final.ema, reference[0].ema)
    assert_close(final.model_state, reference[0].model_state)


@pytest.mark.parametrize("name", ["none", "pmap", "data", "fsdp"])
def test_options_compose_in_every_way(name):
    """Accumulation, freezing, penalty, clipping and schedule, all at once."""
    options = {
        "accumulate_steps": 2,
        "freeze": "Dense_0",
        "penalty": lambda params, hyper: objectives.losses.l2(params, 1e-2),
        "schedules": {"learning_rate": optimizers.schedule("cosine", STEPS)},
        "on_nonfinite": "skip",
    }
    expected, expected_losses = plain(options)
    optimizer, step = learner(**options)
    first = state(optimizer)
    way = parallel.placement(name, jax.devices()[: 1 if name == "none" else 4])
    compiled = way.step(step)
    final, losses = one_by_one(
        lambda s, b: compiled(s, way.put(b, 0)), way.state(first)
    )
    np.testing.assert_allclose(losses, expected_losses, **CLOSE)
    assert_close(final.params, expected.params)
    frozen = state(optimizer).params["Dense_0"]["kernel"]
    np.testing.assert_array_equal(final.params["Dense_0"]["kernel"], frozen)


def test_evaluation_counts_every_example_once_on_any_number_of_devices():
    optimizer, _ = learner()
    objective = objectives.classification(forward(Net()), classes=CLASSES)
    batch = at(batches(), 0)
    expected = None
    for count in (1, 4, 8):
        way = parallel.placement("data", jax.devices()[:count])
        evaluation = way.evaluation(train.make_evaluation(objective))
        values = train.evaluate(
            evaluation, way.whole(state(optimizer)), [way.put(batch, 0)] * 3
        )
        expected = expected or values
        assert values["loss"] == pytest.approx(expected["loss"], rel=1e-6)
        assert values["accuracy"] == expected["accuracy"]
    result = evaluation(way.whole(state(optimizer)), way.put(batch, 0))
    assert float(result["loss"].count) == BATCH - 5


def test_each_of_1797_examples_is_counted_once():
    """As many as the digits: the last batch is padded, and no device's share fits."""
    draw = np.random.default_rng(2)
    images = draw.normal(size=(1797, 6, 6, 1)).astype(np.float32)
    source = data.source.in_memory(images, draw.integers(0, CLASSES, 1797))
    optimizer, _ = learner()
    objective = objectives.classification(forward(Net()), classes=CLASSES)
    found = []
    for count in (1, 8):
        way = parallel.placement("data", jax.devices()[:count])
        evaluation = way.evaluation(train.make_evaluation(objective))
        passes = data.evaluation_feed(source, 256, put=way.put)
        now = way.whole(state(optimizer))
        assert sum(float(evaluation(now, b)["loss"].count) for b in passes) == 1797
        found.append(train.evaluate(evaluation, now, passes))
    assert found[1]["loss"] == pytest.approx(found[0]["loss"], rel=1e-6)
    assert found[1]["accuracy"] == found[0]["accuracy"]


def test_a_batch_that_does_not_divide_says_what_to_give():
    optimizer, step = learner()
    odd = jax.tree.map(lambda x: x[:30], at(batches(), 0))
    for way in (parallel.pmap(step), parallel.sharded(step)):
        with pytest.raises(ValueError, match="30 does not divide by 8.*24 or 32"):
            way(state(optimizer), odd)


def test_a_mesh_splits_the_model_too():
    """Tensor parallel: heads, hidden features and vocabulary over two devices."""
    step, first, batch = transformer()
    expected, alone = first, parallel.jit(step, donate=False)
    for _ in range(4):
        expected, expected_metrics = alone(expected, batch)
    for name in ("data", "fsdp"):
        way = parallel.placement(name, mesh="data:4,model:2", axes=models.LOGICAL_AXES)
        now = way.state(jax.tree.map(jnp.copy, first))  # a step takes its memory
        compiled = way.step(step)
        for _ in range(4):
            now, metrics = compiled(now, way.put(batch, 0))
        np.testing.assert_allclose(
            metrics["loss"].total, expected_metrics["loss"].total, **CLOSE
        )
        assert_close(now.params, expected.params)
        split = {row.path: row.split for row in parallel.laid_out(now)}
        query = split["params/encoder/blocks_0/attention/query/kernel"]
        assert query == ("-, model" if name == "data" else "data, model")
        moments = [k for k in split if k.endswith("query/kernel")]
        assert len(moments) > 1
        assert {split[k] for k in moments} == {query}


def test_with_fsdp_each_device_holds_its_share():
    """Of arrays that divide: an eighth of parameters and optimizer state."""
    step, first, batch = transformer()
    way = parallel.placement("fsdp")
    now, _ = way.step(step)(way.state(first), way.put(batch, 0))
    rows = parallel.laid_out(now)
    held = sum(row.held for row in rows)
    assert held < sum(row.bytes for row in rows) / 8 * 1.15
    on_first = sum(
        shard.data.nbytes
        for leaf in jax.tree.leaves((now.params, now.opt_state))
        for shard in leaf.addressable_shards
        if shard.device == jax.devices()[0]
    )
    assert on_first <= held


@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        ("data:3,model:2", "takes 6 devices, but there are 8"),
        ("data:4,heads:2", "'heads:2' is not understood"),
        ("data", "'data' is not understood"),
        ("model:0,data:8", "takes 0 devices"),
    ],
)
def test_a_mesh_that_cannot_be_says_so_in_a_line(mesh, message):
    with pytest.raises(ValueError, match=message):
        parallel.placement("data", mesh=mesh)
