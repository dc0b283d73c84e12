"""Progress decides when to stop and what was best; pure, and so vmappable."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl.train.judge import SINGLE
from jaxdl.train.progress import Rule, observe, start, with_rate
from jaxdl.train.state import create_state


def state(rate=0.1):
    import optax

    return create_state(
        {"w": jnp.zeros(2)}, optax.sgd(0.1), hyper={"learning_rate": rate}
    )


def after(rule, values):
    progress = start(rule, state())
    for step, value in enumerate(values, 1):
        progress = observe(rule, progress, value, step)
    return progress


def reference(values, patience, min_delta, sign):
    """The same in plain Python: best step, checks, stopped."""
    best, best_step, checks, stopped = np.inf, -1, 0, False
    for step, value in enumerate(values, 1):
        better = np.isfinite(value) and best - sign * np.float32(value) > min_delta
        if better and not stopped:
            best, best_step, checks = sign * np.float32(value), step, 0
        else:
            checks += 1
        stopped = stopped or (0 < patience <= checks)
    return best_step, stopped


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(
        st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, float("nan"), float("inf")]),
        max_size=12,
    ),
    patience=st.integers(0, 4),
    min_delta=st.sampled_from([0.0, 0.25, 0.3]),
    mode=st.sampled_from(["min", "max"]),
)
def test_equals_a_plain_loop(values, patience, min_delta, mode):
    rule = Rule("loss", patience, min_delta, mode=mode)
    progress = after(rule, values)
    best_step, stopped = reference(
        values, patience, min_delta, 1 if mode == "min" else -1
    )
    assert int(progress.best_step) == best_step
    assert bool(progress.stopped) == stopped


def test_the_metric_knows_its_direction():
    assert Rule("accuracy").mode == "max"
    assert int(after(Rule("accuracy"), [0.5, 0.9, 0.7]).best_step) == 2
    assert int(after(Rule("loss"), [0.5, 0.9, 0.7]).best_step) == 1


def test_a_first_nan_neither_stops_nor_becomes_best():
    progress = after(Rule("loss", patience=2), [float("nan"), 2.0, 1.0])
    assert int(progress.best_step) == 3
    assert not bool(progress.stopped)


def test_what_follows_the_stop_changes_nothing():
    rule = Rule("loss", patience=1)
    progress = after(rule, [1.0, 2.0, 0.1])
    assert bool(progress.stopped)
    assert int(progress.best_step) == 1


def test_plateau_cuts_the_rate_once_per_wait():
    rule = Rule("loss", plateau_patience=2, plateau_factor=0.5)
    progress = after(rule, [1.0, 1.0, 1.0, 1.0, 1.0])
    assert float(progress.factor) == 0.25
    rate = with_rate(state(0.1), progress).hyper["learning_rate"]
    assert float(rate) == pytest.approx(0.025)


def test_vmap_observes_every_member_apart():
    rule = Rule("loss", patience=1)
    members = jax.vmap(lambda rate: start(rule, state(rate)))(jnp.array([0.1, 0.2]))
    seen = jax.vmap(lambda p, v: observe(rule, p, v, 1))(members, jnp.array([1.0, 1.0]))
    seen = jax.vmap(lambda p, v: observe(rule, p, v, 2))(seen, jnp.array([0.5, 2.0]))
    assert seen.stopped.tolist() == [False, True]
    assert seen.best_step.tolist() == [2, 1]
    np.testing.assert_allclose(seen.rate, [0.1, 0.2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"monitor": "test_accuracy"}, "test"),
        ({"monitor": "beauty"}, "beauty"),
        ({"patience": -1}, "patience is -1"),
        ({"min_delta": -0.1}, "min_delta"),
        ({"plateau_factor": 1.5}, "plateau_factor"),
        ({"mode": "up"}, "'min' or 'max'"),
    ],
)
def test_refuses_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        Rule(**arguments)
    assert "\n" not in str(error.value)


@given(
    st.lists(st.floats(width=32), max_size=12),
    st.integers(0, 3),
    st.integers(0, 2),
    st.sampled_from(["min", "max"]),
)
@settings(deadline=None, max_examples=60)
def test_the_host_s_judge_gives_the_bits_of_jax(values, patience, plateau, mode):
    rule = Rule(patience=patience, plateau_patience=plateau, mode=mode, min_delta=1e-3)
    now = state()
    progress = expected = start(rule, now)
    for step, value in enumerate(values, 1):
        seen = {rule.monitor: value}
        progress, now = SINGLE.observe(rule, progress, now, seen, step)
        expected = observe(rule, expected, value, step)
        for ours, theirs in zip(
            *map(jax.tree.leaves, (progress, expected)), strict=True
        ):
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
        rate = now.hyper["learning_rate"]
        np.testing.assert_array_equal(rate, expected.rate * expected.factor)
        assert isinstance(rate, jax.Array)
