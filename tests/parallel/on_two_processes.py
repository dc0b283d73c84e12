"""Two processes with two virtual devices each compute what one device does.

Run by ``test_hosts.py`` through the launcher; every test runs in both processes.
"""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import data, optimizers, parallel, train
from jaxdl.data.source import Source, in_memory
from jaxdl.parallel import hosts
from jaxdl.runs import joining
from jaxdl.runs.follower import Follower
from jaxdl.runs.machine import Machine
from tests.train import problems

STEPS, SIZE = 6, 41
CLOSE = {"rtol": 1e-5, "atol": 1e-6}

# Where the parent process keeps the checkpoints of this test.
FOLDER = "JAXDL_TEST_FOLDER"


def optimizer():
    return optimizers.make("momentum", weight_decay=0.01)


def first_state(seed=0):
    hyper = {"weight_decay": 0.01}
    return problems.state(optimizer(), seed, hyper=hyper, ema_decay=0.9)


def step():
    return problems.step(optimizer(), clip_norm=1.0, on_nonfinite="stop")


def source(asked=None):
    """So many examples; a list is told of those that are read."""
    several = [problems.batch(i) for i in range(4)]
    inputs = np.concatenate([one["inputs"] for one in several])[:SIZE]
    targets = np.concatenate([one["targets"] for one in several])[:SIZE]
    held = in_memory(inputs, targets)
    if asked is None:
        return held

    def fetch(indices):
        asked.extend(indices.tolist())
        return held.fetch(indices)

    return Source(held.size, fetch)


def reading(way):
    """How batches are read and put for a way."""
    return {"put": way.put, "replicate": way.whole, "rows": way.rows}


def losses_of(way, single, feed, state):
    """Losses of the steps in turn, and the last state."""
    losses = []
    for number in range(STEPS):
        state, metrics = single(state, feed(number))
        metrics = jax.device_get(metrics["loss"])
        losses.append(metrics.total / metrics.count)
    return np.array(losses), way.fetch(state)


def assert_close(got, expected):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, **CLOSE)


@pytest.fixture(scope="module")
def alone():
    """(losses, state) of one device of this process."""
    way = parallel.placement("none", jax.local_devices()[:1])
    feed = data.feed(source(), problems.BATCH, 0)
    return losses_of(way, way.step(step()), feed, first_state())


@pytest.fixture(scope="module")
def over_data():
    """All devices split the batch; with the compiled step."""
    way = parallel.placement("data")
    return way, way.step(step())


@pytest.fixture(scope="module")
def over_mesh():
    """The same where parameters are split too."""
    axes = [("Dense_0/bias", ("hidden",))]
    way = parallel.placement("fsdp", mesh="data:2,model:2", axes=axes)
    return way, way.step(step())


@pytest.mark.parametrize("name", ["over_data", "over_mesh"])
def test_each_reads_its_half_and_all_learn_what_one_device_does(alone, name, request):
    way, single = request.getfixturevalue(name)
    assert len(way.devices) == 4
    assert way.processes == 2
    asked = []
    with data.feed(source(asked), problems.BATCH, 0, **reading(way)) as feed:
        state = way.state(first_state())
        losses, last = losses_of(way, single, feed, state)
        np.testing.assert_allclose(losses, alone[0], **CLOSE)
        assert_close((last.params, last.ema), (alone[1].params, alone[1].ema))
        # A half of every batch, and between them the batch in its order.
        half = problems.BATCH // 2
        mine = asked[: STEPS * half]
        told = hosts.gather(mine)
        for number in range(STEPS):
            part = slice(number * half, (number + 1) * half)
            assert told[0][part] + told[1][part] == feed.indices(number).tolist()


def test_a_block_of_steps_on_resident_data_equals_the_steps_in_turn(alone):
    way = parallel.placement("data")
    feed = data.feed(source(), problems.BATCH, 0, on_device=True, **reading(way))
    _, metrics = way.block(step())(way.state(first_state()), feed(0, STEPS))
    loss = jax.device_get(metrics["loss"])
    np.testing.assert_allclose(loss.total / loss.count, alone[0], **CLOSE)


def test_every_example_is_measured_once_and_outputs_keep_their_order():
    state, here = first_state(), parallel.placement("none", jax.local_devices()[:1])
    evaluation = train.make_evaluation(problems.OBJECTIVE)

    def outputs(state, batch):
        return batch["inputs"] @ state.params["Dense_0"]["kernel"]

    way, found = parallel.placement("fsdp"), []
    for one, batch in ((here, 16), (way, 16)):
        passes = data.evaluation_feed(source(), batch, **reading(one))
        placed = one.state(state)
        measure = one.evaluation(evaluation)
        values = train.evaluate(measure, placed, passes)
        count = sum(float(measure(placed, b)["loss"].count) for b in passes)
        assert count == SIZE
        rows = train.predict(one.evaluation(outputs), placed, passes, one.fetch)
        assert rows.shape == (SIZE, 8)
        found.append((values, rows))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    np.testing.assert_allclose(found[0][1], found[1][1], **CLOSE)


def test_a_state_comes_whole_to_each_process():
    state = first_state(seed=5)
    way = parallel.placement("fsdp")
    laid = way.state(state)
    assert not laid.params["Dense_0"]["kernel"].is_fully_replicated
    here = way.here(laid)
    for got, expected in zip(
        jax.tree.leaves(here), jax.tree.leaves(state), strict=True
    ):
        assert got.dtype == expected.dtype
        assert got.is_fully_addressable
        if jax.dtypes.issubdtype(got.dtype, jax.dtypes.prng_key):
            got, expected = jax.random.key_data(got), jax.random.key_data(expected)
        np.testing.assert_array_equal(got, expected)


def test_processes_tell_each_other_and_end_together():
    me = jax.process_index()
    assert hosts.count() == 2
    assert hosts.gather({"me": me, "text": "é"}) == [
        {"me": 0, "text": "é"},
        {"me": 1, "text": "é"},
    ]
    assert hosts.anyone(me == 1)
    assert not hosts.anyone(False)
    assert hosts.by_first(lambda: f"by {me}") == "by 0"

    def fail(who):
        if me in who:
            raise OSError("no such file")
        return me

    assert hosts.together(lambda: fail(())) == me
    for who in ((0,), (1,), (0, 1)):
        # Said once, by the first whom it befell.
        expected = OSError if me == who[0] else hosts.Elsewhere
        with pytest.raises(expected, match="no such file"):
            hosts.together(lambda who=who: fail(who))
    with pytest.raises(ValueError, match="may say 64 bytes, not 102"):
        hosts.gather("x" * 100, hosts.LITTLE)


def test_other_flags_are_named():
    me = jax.process_index()
    same = {"seed": 0, "process_id": me, "workdir": "here"}
    joining.require_alike(same)
    other = {**same, "learning_rate": 0.1 + me}
    message = "learning_rate is 0.1 in process 0 and 1.1 in process 1"
    with pytest.raises(ValueError, match=message) as raised:
        joining.require_alike(other)
    assert isinstance(raised.value, hosts.Elsewhere) == (me == 1)


@pytest.mark.parametrize("name", ["none", "pmap"])
def test_ways_of_one_process_say_so(name):
    with pytest.raises(ValueError, match="is for one process, and here are 2"):
        parallel.placement(name)


def test_all_stop_at_the_step_at_which_one_is_asked_to(over_data):
    way, single = over_data
    feed = data.feed(source(), problems.BATCH, 0, **reading(way))
    agree, asked = hosts.Highest(seconds=0.0), []

    def interrupted():
        asked.append(15 * (jax.process_index() == 1 and len(asked) >= 3))
        return agree(asked[-1]) == 15

    done = train.fit(
        way.state(first_state()),
        step(),
        feed,
        steps=20,
        way=lambda _: single,
        interrupted=interrupted,
        agree=hosts.anyone,
    )
    assert done.status == "interrupted"
    assert hosts.gather(done.step) == [4, 4]


def test_a_loss_that_is_not_finite_ends_all_at_the_same_check(over_data):
    way, single = over_data

    def feed(number):
        batch = problems.batch(number)
        if number == 2:
            batch["inputs"] = batch["inputs"] * np.nan
        mine = way.rows(problems.BATCH)
        return way.put({name: rows[mine] for name, rows in batch.items()}, 0)

    done = train.fit(
        way.state(first_state()),
        step(),
        feed,
        steps=20,
        way=lambda _: single,
        evaluate=lambda state: {"loss": 1.0},
        evaluate_every=5,
        agree=hosts.anyone,
    )
    assert done.status == "failed"
    assert hosts.gather(done.step) == [5, 5]


def test_checkpoints_go_from_one_process_to_two_and_back():
    """The parent has saved ``one`` and will read ``two``."""
    folder = Path(os.environ[FOLDER])
    way = parallel.placement("fsdp")
    machine = SimpleNamespace(way=way)
    template, progress = way.state(first_state()), {"checks": jnp.zeros(())}
    with Machine.checkpoints(machine, folder / "one") as checkpoints:
        found = checkpoints.restore(template, progress)
        assert found.step == 3
        kernel = found.state.params["Dense_0"]["kernel"]
        assert not kernel.is_fully_replicated
        expected = first_state(seed=3)
        assert_close(way.fetch(found.state.params), expected.params)
    with Machine.checkpoints(machine, folder / "two") as checkpoints:
        checkpoints.save(7, found.state, found.progress, {"sums": [1.5]}, best_step=7)
        checkpoints.wait()
        assert checkpoints.steps() == [7]


def test_a_follower_brings_states_together_where_the_first_shows_them():
    seen = []
    machine = SimpleNamespace(
        task=SimpleNamespace(show=lambda state: {"a.txt": state}),
        plan=SimpleNamespace(steps=40, evaluate_every=2),
        way=SimpleNamespace(here=seen.append),
    )
    watch = Follower(machine).watch
    watch.restored(0, None, "begin")
    for number in range(2, 41, 2):
        watch.checked(number, None, number)
    assert seen == ["begin", *range(4, 41, 4)]
    Follower(
        SimpleNamespace(**{**vars(machine), "task": SimpleNamespace(show=None)})
    ).watch.checked(4, None, 4)
    assert len(seen) == 11


def main():
    parallel.join()
    options = ["-x", "-q", "-o", "addopts=", "-p", "no:cacheprovider"]
    code = int(pytest.main([__file__, *options]))
    if code:
        hosts.leave(code)
    print(json.dumps({"process": jax.process_index(), "passed": True}))
    return code


if __name__ == "__main__":
    sys.exit(main())
