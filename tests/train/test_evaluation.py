"""Evaluation counts every example once, and gives outputs in example order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import data, parallel, train
from jaxdl.batch import Context
from jaxdl.metrics import Mean
from jaxdl.models import forward
from jaxdl.train.packing import packed_evaluation
from tests.train.problems import CLASSES, FEATURES, OBJECTIVE, Net, state


def source(size):
    draw = np.random.default_rng(size)
    inputs = draw.normal(size=(size, FEATURES)).astype(np.float32)
    targets = draw.integers(0, CLASSES, size).astype(np.int32)
    return data.from_arrays(inputs, targets, classes=("a", "b", "c")).train


@pytest.mark.parametrize("batch_size", [1, 7, 16, 1000])
def test_figures_do_not_depend_on_the_batch_size(batch_size):
    part = source(50)
    whole = train.measure(OBJECTIVE, data.evaluation_feed(part, part.size))(state())
    cut = train.measure(OBJECTIVE, data.evaluation_feed(part, batch_size))(state())
    assert cut["loss"] == pytest.approx(whole["loss"], rel=1e-6)
    assert cut["accuracy"] == whole["accuracy"]


def test_the_accuracy_is_that_of_numpy():
    part = source(50)
    stored = part.fetch(np.arange(part.size))
    logits, _ = forward(Net())(state().params, {}, stored["inputs"], Context(), None)
    expected = np.mean(np.argmax(logits, axis=-1) == stored["targets"])
    figures = train.measure(OBJECTIVE, data.evaluation_feed(part, 8))(state())
    assert figures["accuracy"] == pytest.approx(expected)


def test_outputs_come_in_example_order_without_padding():
    part = source(50)
    apply = jax.jit(lambda _, batch: {"x": batch["inputs"], "sum": batch["targets"]})
    outputs = train.predict(apply, None, data.evaluation_feed(part, 7))
    stored = part.fetch(np.arange(part.size))
    np.testing.assert_array_equal(outputs["x"], stored["inputs"])
    np.testing.assert_array_equal(outputs["sum"], stored["targets"])


def test_figures_that_were_packed_are_the_same_to_the_bit():
    evaluation, batches = train.make_evaluation(OBJECTIVE), source(50)
    plain, fewer = (
        train.evaluate(jax.jit(run), state(), data.evaluation_feed(batches, 7))
        for run in (evaluation, packed_evaluation(evaluation))
    )
    assert fewer == plain


@pytest.mark.parametrize(("size", "stack"), [(50, 8), (50, 3), (50, 20), (5, 2)])
def test_figures_of_stacked_batches_are_the_same_to_the_bit(size, stack):
    """Whole stacks, a last one with batches of padding alone, and one of nothing else
    but its first batch."""
    evaluation, part = train.make_evaluation(OBJECTIVE), source(size)
    plain = train.evaluate(jax.jit(evaluation), state(), data.evaluation_feed(part, 7))
    run = jax.jit(packed_evaluation(parallel.ways.scan_evaluation(evaluation)))
    passes = data.evaluation_feed(part, 7, stack=stack)
    assert len(passes) == -(-part.size // (7 * stack))
    values = train.dispatch_evaluation(run, state(), passes, stacked=True)
    assert values() == plain


def test_padding_at_the_end_of_a_stack_is_not_computed():
    def evaluation(state, batch):
        jax.debug.callback(lambda mask: seen.append(float(mask.sum())), batch["mask"])
        return {"loss": Mean(jnp.sum(batch["targets"]), jnp.sum(batch["mask"]))}

    seen: list[float] = []
    part = data.subset(source(50), np.arange(15))
    (stacked,) = data.evaluation_feed(part, 7, stack=5)
    rows = jax.jit(parallel.ways.scan_evaluation(evaluation))(None, stacked)
    jax.effects_barrier()
    assert seen == [7.0, 7.0, 1.0]
    np.testing.assert_array_equal(rows["loss"].count, [7, 7, 1, 0, 0])


def test_the_moving_average_is_what_is_measured():
    part, first = source(50), state(ema_decay=0.9)
    zeros = jax.tree.map(np.zeros_like, first.params)
    averaged = first.replace(ema=zeros)
    measure = train.measure(OBJECTIVE, data.evaluation_feed(part, 16))
    assert measure(averaged)["loss"] == pytest.approx(np.log(CLASSES), rel=1e-6)
    assert measure(first)["loss"] != pytest.approx(np.log(CLASSES), rel=1e-3)


def test_nothing_to_evaluate_says_so():
    with pytest.raises(ValueError, match="the split is empty"):
        train.evaluate(train.make_evaluation(OBJECTIVE), state(), [])
