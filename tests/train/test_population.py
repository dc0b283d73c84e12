"""Members of a population end as runs of their own would."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import optimizers, parallel, train
from jaxdl.parallel.members import vmapped
from jaxdl.train import population
from tests.train.problems import OBJECTIVE, assert_close, batch, bits, state, step

STEPS, EVERY = 24, 4
SEEDS, RATES = (0, 1, 2), (0.05, 0.1, 0.4)
OPTIMIZER = optimizers.make("momentum")
EVALUATION = train.make_evaluation(OBJECTIVE)
RULE = train.Rule(monitor="loss", patience=2, plateau_patience=1)


def member_batch(member):
    """Each member sees batches of its own."""
    return lambda at, count=None: batch(at + 500 * member, count)


def all_batches(at, count=None):
    every = [member_batch(m)(at, count) for m in range(len(SEEDS))]
    return jax.tree.map(lambda *x: np.stack(x, 0 if count is None else 1), *every)


def first_state(member):
    hyper = {"learning_rate": RATES[member]}
    return state(OPTIMIZER, seed=SEEDS[member], hyper=hyper)


def fit(first, step, feed, log, evaluation, **options):
    watch = train.Watch(
        metrics=lambda at, split, values: log.append((at, split, values))
    )
    return train.fit(
        first,
        step,
        feed,
        steps=STEPS,
        evaluate=lambda now: train.evaluate(evaluation, now, [batch(1000)]),
        evaluate_every=EVERY,
        rule=RULE,
        watch=watch,
        **options,
    )


@pytest.fixture(scope="module")
def alone():
    """(fitted, log) of each member trained by itself."""
    evaluation, results = jax.jit(EVALUATION), []
    for m in range(len(SEEDS)):
        log: list = []
        made = step(OPTIMIZER, on_nonfinite="stop")
        results.append(
            (fit(first_state(m), made, member_batch(m), log, evaluation), log)
        )
    return results


def together(over, log, **options):
    every = jax.jit(over(EVALUATION, shared=True))
    return fit(
        population.stack([first_state(m) for m in range(len(SEEDS))]),
        population.population_step(step(OPTIMIZER, on_nonfinite="stop"), over),
        all_batches,
        log,
        lambda now, at: every(now.states, at),
        judge=population.JUDGE,
        **options,
    )


def check_alike(fitted, log, alone, rtol):
    steps = set()
    for m, (expected, rows) in enumerate(alone):
        progress = population.member(fitted.progress.members, m)
        assert int(progress.best_step) == int(expected.progress.best_step)
        assert int(fitted.progress.seen[m]) == expected.step
        assert bool(progress.stopped) == (expected.status == "early_stopped")
        pairs = [
            (population.member(fitted.state.states, m), expected.state),
            (population.member(fitted.progress.best, m), expected.best),
        ]
        for mine, theirs in pairs:
            for a, b in zip(
                jax.tree.leaves(mine.params),
                jax.tree.leaves(theirs.params),
                strict=True,
            ):
                np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6)
            assert int(mine.step) == int(theirs.step)
        for (at, split, values), row in zip(rows, log, strict=False):
            assert (at, split) == row[:2]
            assert row[2]["loss"][m] == pytest.approx(values["loss"], rel=rtol or 1e-12)
        steps.add(expected.step)
    assert len(steps) > 1, "all members stopped alike: nothing was frozen"


@pytest.mark.parametrize("over", [vmapped, population.side_by_side])
def test_members_end_as_they_would_alone_each_with_its_own_best_and_stop(alone, over):
    log: list = []
    check_alike(together(over, log), log, alone, rtol=1e-6)


def test_a_block_of_steps_is_the_same(alone):
    log: list = []
    fitted = together(
        vmapped,
        log,
        block_way=lambda step: parallel.jit(parallel.scan(step)),
        steps_per_call=EVERY,
    )
    check_alike(fitted, log, alone, rtol=1e-6)


def test_interrupted_and_resumed_is_the_same_to_the_bit(tmp_path):
    log: list = []
    expected = together(vmapped, [])
    calls = iter(range(100))
    with train.Checkpoints(tmp_path / "run") as checkpoints:
        stopped = together(
            vmapped, log, checkpoints=checkpoints, interrupted=lambda: next(calls) >= 9
        )
    assert stopped.status == "interrupted"
    with train.Checkpoints(tmp_path / "run") as checkpoints:
        fitted = together(vmapped, log, checkpoints=checkpoints)
    assert bits(fitted.state) == bits(expected.state)
    assert bits(fitted.progress) == bits(expected.progress)


def test_a_member_that_is_not_finite_stops_alone(alone):
    def poisoned(at, count=None):
        rows = all_batches(at, count)
        if at == 2:
            rows["inputs"][1] = np.nan
        return rows

    over = population.side_by_side
    every = jax.jit(over(EVALUATION, shared=True))
    fitted = fit(
        population.stack([first_state(m) for m in range(len(SEEDS))]),
        population.population_step(step(OPTIMIZER, on_nonfinite="stop"), over),
        poisoned,
        [],
        lambda now, at: every(now.states, at),
        judge=population.JUDGE,
    )
    assert np.asarray(fitted.state.failed).tolist() == [False, True, False]
    mine = population.member(fitted.state.states, 1)
    assert train.failed_step(mine) == 2
    assert int(train.before_failure(mine).step) == 2
    assert np.all([np.isfinite(x).all() for x in jax.tree.leaves(mine.params)])
    expected = alone[0][0]
    assert int(fitted.progress.seen[0]) == expected.step


def test_stacking_and_taking_apart():
    states = [first_state(m) for m in range(3)]
    stacked = population.stack(states)
    assert stacked.running.tolist() == [True] * 3
    assert bits(population.member(stacked.states, 2)) == bits(states[2])
    assert jnp.allclose(stacked.states.hyper["learning_rate"], jnp.array(RATES))


def test_members_of_one_seed_draw_once_and_end_as_alone():
    """Rates differ, seeds and batches do not: each drops out what it would alone."""
    rates = (0.0, 0.2, 0.6)
    made = step(OPTIMIZER)
    first = [state(OPTIMIZER, seed=3, hyper={"dropout": rate}) for rate in rates]
    alike = population.population_step(made, lambda one: population.alike(vmapped, one))
    stacked, alone, single = population.stack(first), [], jax.jit(made)
    together = jax.jit(alike)
    for at in range(4):
        stacked, _ = together(stacked, batch(at))
    for one in first:
        for at in range(4):
            one, _ = single(one, batch(at))
        alone.append(one)
    for index, one in enumerate(alone):
        mine = population.member(stacked.states, index)
        assert_close(mine.params, one.params)
        assert int(mine.step) == 4
        assert bits(mine.key) == bits(one.key)
    jaxpr = str(jax.make_jaxpr(alike)(stacked, batch(0)))
    plain = population.population_step(made, lambda one: vmapped(one, shared=True))
    drawn = str(jax.make_jaxpr(plain)(stacked, batch(0)))
    size = f"u32[{len(rates)},12,8]"  # bits for every unit of every member
    assert size in drawn
    assert size not in jaxpr
