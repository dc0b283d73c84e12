"""The loop: nothing is lost, the best is kept, figures do not depend on the way."""

import json
import shutil
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import optimizers, parallel, train
from jaxdl.metrics import value as value_of
from jaxdl.train import loop
from tests.train.problems import OBJECTIVE, batch, bits, state, step

OPTIMIZER = optimizers.make("adam")
STEPS = 24
SINGLE = jax.jit(step(OPTIMIZER))
BLOCK = jax.jit(parallel.scan(step(OPTIMIZER)))
EVALUATION = jax.jit(train.make_evaluation(OBJECTIVE))


def evaluate(now):
    return train.evaluate(EVALUATION, now, [batch(1000), batch(1001)])


def fit(first=None, checkpoints=None, steps=STEPS, log=None, **options):
    rows = [] if log is None else log
    watch = train.Watch(
        metrics=lambda at, split, values: rows.append((at, split, dict(values))),
        restored=lambda at, *_: rows.__setitem__(
            slice(None), [row for row in rows if row[0] <= at]
        ),
    )
    defaults = {
        "way": lambda _: SINGLE,
        "evaluate": evaluate,
        "evaluate_every": 6,
        "watch": watch,
    }
    return train.fit(
        state(OPTIMIZER) if first is None else first,
        step(OPTIMIZER),
        batch,
        steps=steps,
        checkpoints=checkpoints,
        **{**defaults, **options},
    )


def after(count):
    """Interrupt after so many dispatches."""
    calls = iter(range(1, 10_000))
    return lambda: next(calls) >= count


def test_trains_and_returns_where_it_ended():
    result = fit()
    assert (result.status, result.step) == ("completed", STEPS)
    assert evaluate(result.state)["loss"] < evaluate(state(OPTIMIZER))["loss"]


def test_the_state_given_is_not_consumed():
    first = state(OPTIMIZER)
    before = bits(first)
    fit(first, way=lambda step: jax.jit(step, donate_argnums=0))
    assert bits(first) == before


@pytest.mark.parametrize("stops", [[1], [5], [6], [3, 4, 11], [13, 1, 1]])
def test_interrupted_and_resumed_equals_uninterrupted_to_the_bit(tmp_path, stops):
    expected_log: list = []
    with train.Checkpoints(tmp_path / "one") as checkpoints:
        expected = fit(checkpoints=checkpoints, log=expected_log)
    log: list = []
    for stop in stops:
        with train.Checkpoints(tmp_path / "two") as checkpoints:
            result = fit(checkpoints=checkpoints, log=log, interrupted=after(stop))
        assert result.status == "interrupted"
    with train.Checkpoints(tmp_path / "two") as checkpoints:
        result = fit(checkpoints=checkpoints, log=log)
    assert bits(result.state) == bits(expected.state)
    assert bits(result.progress) == bits(expected.progress)
    assert bits(result.best) == bits(expected.best)
    assert json.dumps(log) == json.dumps(expected_log)


@pytest.mark.parametrize("size", [2, 4, 5, 8])
def test_blocks_give_the_figures_of_single_steps(size):
    """Blocks end at checks; what does not fill one goes step by step."""
    expected: list = []
    log: list = []
    one = fit(log=expected)
    several = fit(log=log, block_way=lambda _: BLOCK, steps_per_call=size)
    assert bits(several.state) == bits(one.state)
    assert log == expected


def test_the_device_measures_while_steps_are_read():
    """A function that waits for the metrics is called behind what came before them."""
    told: list = []

    def begin(now):
        told.append("begin")

        def values():
            told.append("values")
            return evaluate(now)

        return values

    log: list = []
    watch = train.Watch(
        block=lambda at, _: told.append(f"block {at}"),
        metrics=lambda at, split, values: (
            told.append(split),
            log.append((at, split, dict(values))),
        ),
    )
    later = fit(steps=12, evaluate=begin, watch=watch)
    one_check = ["train", "values", "validation"]
    assert told == ["begin", "block 6", *one_check, "begin", "block 12", *one_check]
    expected: list = []
    assert bits(later.state) == bits(fit(steps=12, log=expected).state)
    assert log == expected


@pytest.mark.parametrize("shown", [False, True])
def test_saves_are_due_by_the_time_that_trained(tmp_path, monkeypatch, shown):
    """An hour between checks; where all of it went on showing the state, no save but
    the last is due."""
    clock = [0.0]
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def pass_an_hour(*_):
        clock[0] += 3600.0

    def check(now):
        if not shown:
            pass_an_hour()
        return worsening(24)(now)

    watch = train.Watch(checked=pass_an_hour if shown else lambda *_: None)
    with train.Checkpoints(tmp_path) as checkpoints:
        fit(checkpoints=checkpoints, evaluate=check, watch=watch)
        checkpoints.wait()
        assert checkpoints.steps() == ([24] if shown else [18, 24])


def worsening(turn):
    """Validation that is best at step ``turn``."""

    def measure(now):
        return {"loss": abs(int(now.step) - turn) + 1.0, "accuracy": 0.5}

    return measure


@pytest.mark.parametrize("on_disk", [True, False])
def test_the_best_state_is_returned_not_the_last(tmp_path, on_disk):
    reference = fit(steps=12, evaluate=None)
    folder = tmp_path / "states"
    with train.Checkpoints(folder) as checkpoints:
        result = fit(
            checkpoints=checkpoints if on_disk else None, evaluate=worsening(12)
        )
    assert int(result.progress.best_step) == 12
    assert bits(result.best.params) == bits(reference.state.params)
    assert bits(result.state.params) != bits(result.best.params)
    if on_disk:
        with train.Checkpoints(folder) as checkpoints:
            step_number, best = checkpoints.read_best()
        assert step_number == 12
        assert bits(best["params"]) == bits(reference.state.params)


def looking(checkpoints, measured):
    """What measures, and notes the steps on disk at each check."""
    seen = []

    def measure(now):
        checkpoints.wait()
        seen.append(checkpoints.steps())
        return measured(now)

    return measure, seen


@pytest.mark.parametrize(
    ("seconds", "large", "on_the_way"),
    [
        (1e9, False, [[], [], [], []]),
        (-1.0, False, [[], [6], [6, 12], [12, 18]]),
        (1e9, True, [[], [6], [6, 12], [6, 12]]),
    ],
)
def test_an_improvement_waits_for_the_next_save(
    tmp_path, monkeypatch, seconds, large, on_the_way
):
    """Unless the last save is a while ago, or it is too large to wait in memory."""
    monkeypatch.setattr(loop, "save_interval", lambda _: seconds)
    if large:
        monkeypatch.setattr(loop, "KEPT_BYTES", 0)
    with train.Checkpoints(tmp_path) as checkpoints:
        measure, seen = looking(checkpoints, worsening(12))
        result = fit(checkpoints=checkpoints, evaluate=measure)
        checkpoints.wait()
        assert checkpoints.steps() == sorted({12, 24, *on_the_way[-1][1:]})
    assert seen == on_the_way
    assert result.best_step == 12
    assert bits(result.best.params) == bits(fit(steps=12).state.params)


@pytest.mark.parametrize(
    ("soon", "on_the_way"),
    [(0.0, [[], [], [], [6, 18], [6, 18, 24]]), (1e9, [[], [], [], [6], [6, 24]])],
)
def test_the_best_and_a_later_state_are_saved_at_checks_of_their_own(
    tmp_path, monkeypatch, soon, on_the_way
):
    """If those come soon: neither then waits for the other."""
    due = iter([1e9, 1e9, -1.0, -1.0, 1e9])  # seconds between saves, by checks
    monkeypatch.setattr(loop, "save_interval", lambda _: next(due))
    monkeypatch.setattr(loop, "SOON_SECONDS", soon)
    with train.Checkpoints(tmp_path) as checkpoints:
        measure, seen = looking(checkpoints, worsening(6))
        result = fit(checkpoints=checkpoints, evaluate=measure, steps=30)
    assert seen == on_the_way
    assert result.best_step == 6


@pytest.mark.parametrize(
    ("takes", "between"), [(0.0, 10.0), (0.1, 10.0), (0.45, 45.0), (8.0, 60.0)]
)
def test_saves_that_take_long_are_further_apart(takes, between):
    assert loop.save_interval(takes) == pytest.approx(between)


@pytest.mark.parametrize("where", [8, 15])
def test_a_step_that_is_not_finite_leaves_the_best_as_it_was(tmp_path, where):
    def spoilt(at, count=None):
        data = batch(at)
        if at == where:
            data["inputs"][1] = np.nan
        return data

    guarded = step(OPTIMIZER, on_nonfinite="stop")
    with train.Checkpoints(tmp_path) as checkpoints:
        result = train.fit(
            state(OPTIMIZER),
            guarded,
            spoilt,
            steps=STEPS,
            evaluate=worsening(6),
            evaluate_every=6,
            checkpoints=checkpoints,
        )
        number, best = checkpoints.read_best()
    assert (result.status, train.failed_step(result.state)) == ("failed", where)
    assert number == result.best_step == 6
    assert bits(best["params"]) == bits(result.best.params)
    assert bits(result.best.params) == bits(fit(steps=6).state.params)


def test_patience_stops_and_a_resumed_run_stays_stopped(tmp_path):
    rule = train.Rule("loss", patience=2)
    for _ in range(2):
        with train.Checkpoints(tmp_path) as checkpoints:
            result = fit(checkpoints=checkpoints, evaluate=worsening(6), rule=rule)
        assert (result.status, result.step) == ("early_stopped", 18)
        assert int(result.progress.best_step) == 6


def test_plateau_lowers_the_rate_and_survives_a_resume(tmp_path):
    rule = train.Rule("loss", plateau_patience=1, plateau_factor=0.5)
    with train.Checkpoints(tmp_path) as checkpoints:
        fit(
            checkpoints=checkpoints,
            evaluate=worsening(6),
            rule=rule,
            interrupted=after(14),
        )
    with train.Checkpoints(tmp_path) as checkpoints:
        result = fit(checkpoints=checkpoints, evaluate=worsening(6), rule=rule)
    assert float(result.state.hyper["learning_rate"]) == pytest.approx(0.1 / 8)


def test_a_step_that_is_not_finite_ends_the_run_and_harms_no_checkpoint(tmp_path):
    def poisoned(at, count=None):
        good = batch(at, count)
        if at == 15:
            good["inputs"][0] = np.nan
        return good

    stopping = step(OPTIMIZER, on_nonfinite="stop")
    with train.Checkpoints(tmp_path) as checkpoints:
        result = train.fit(
            state(OPTIMIZER),
            stopping,
            poisoned,
            steps=STEPS,
            evaluate=evaluate,
            evaluate_every=6,
            checkpoints=checkpoints,
        )
    assert result.status == "failed"
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(result.state.params))
    with train.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps()[-1] == 12


def test_monitoring_what_is_not_measured_says_what_is():
    with pytest.raises(ValueError, match="'f1'.*accuracy, loss"):
        fit(rule=train.Rule("f1"))


def test_a_state_of_the_readers_own_with_two_optimizers():
    """Any pytree and any pure step: nothing of jaxdl's is needed."""
    import optax

    fast, slow = optax.sgd(0.1), optax.adam(0.01)

    def own_step(state, batch):
        def loss(params):
            return jnp.mean((batch["inputs"] @ params["a"] - params["b"]) ** 2)

        value, slope = jax.value_and_grad(loss)(state["params"])
        a, first = fast.update(slope["a"], state["fast"])
        b, second = slow.update(slope["b"], state["slow"])
        params = optax.apply_updates(state["params"], {"a": a, "b": b})
        state = {"params": params, "fast": first, "slow": second}
        return state, {"loss": value_of(value)}

    params = {"a": jnp.ones(5), "b": jnp.ones(())}
    own = {
        "params": params,
        "fast": fast.init(params["a"]),
        "slow": slow.init(params["b"]),
    }
    result = train.fit(own, own_step, batch, steps=10)
    assert result.status == "completed"
    assert not np.allclose(result.state["params"]["a"], 1.0)


def test_no_checkpoint_is_newer_than_what_is_logged(tmp_path):
    """Where what was told is not kept yet, saving waits."""
    kept = []
    watch = train.Watch(settled=lambda: bool(kept))
    arguments = {"steps": 4, "save_every": 2, "watch": watch}
    with train.Checkpoints(tmp_path) as checkpoints:
        train.fit(state(), step(), batch, checkpoints=checkpoints, **arguments)
        assert checkpoints.steps() == []
        kept.append(True)
        train.fit(state(), step(), batch, checkpoints=checkpoints, **arguments)
        checkpoints.wait()
        assert checkpoints.steps() == [2, 4]


def test_where_the_best_checkpoint_is_lost_the_last_state_takes_its_place(tmp_path):
    values = iter([1.0, 2.0, 3.0, 4.0])
    said = []
    folder = tmp_path / "states"

    def check(_):
        value = next(values)
        if value == 4.0:
            checkpoints.wait()
            shutil.rmtree(folder / "2" / "state")
        return {"loss": value}

    with train.Checkpoints(folder, warn=said.append) as checkpoints:
        done = train.fit(
            state(),
            step(),
            batch,
            steps=8,
            evaluate=check,
            evaluate_every=2,
            save_every=2,
            checkpoints=checkpoints,
        )
    assert int(done.progress.best_step) == 2
    assert done.best_step == 8
    assert bits(done.best) == bits(done.state)
    assert "checkpoint 2 is damaged" in said[0]
    assert "the best checkpoint, 2, is lost: 8 takes its place" in said[1]
