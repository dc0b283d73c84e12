"""The step of two players: each learns of its own, and all options hold for both."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import metrics, optimizers, parallel, train
from jaxdl.metrics import Mean
from tests import quick
from tests.train.problems import assert_close, batch, bits

# A game whose updates can be written down: the generator moves g towards the batch's
# mean plus its noise, the discriminator moves d towards g.


def generator(params, model_state, hyper, data, key, training):
    mask = data["mask"]
    noise = jax.random.normal(key) * hyper.get("noise", 0.0)
    aim = jnp.where(mask[:, None] > 0, data["inputs"], 0.0).sum(1) + noise
    each = 0.5 * jnp.square(params["generator"]["g"] - aim)
    pair = jnp.sum(each * mask), jnp.sum(mask)
    return pair, (model_state, {"generator_loss": Mean(*pair)})


def discriminator(params, model_state, hyper, data, key, training):
    gap = params["discriminator"]["d"] - params["generator"]["g"]
    each = 0.5 * jnp.square(gap) * jnp.ones(len(data["mask"]))
    pair = jnp.sum(each * data["mask"]), jnp.sum(data["mask"])
    state = {"updates": model_state["updates"] + 1}
    return pair, (state, {"discriminator_loss": Mean(*pair)})


SGD = optimizers.make("sgd")
STEP = partial(train.make_adversarial_step, generator, discriminator)


def state(optimizer=SGD, **options):
    params = {"generator": {"g": jnp.ones(())}, "discriminator": {"d": jnp.zeros(())}}
    hyper = {"learning_rate": 0.1, **options.pop("hyper", {})}
    return train.create_adversarial_state(
        params,
        optimizer,
        {"updates": jnp.zeros(())},
        hyper=hyper,
        **options,
    )


def test_a_step_is_the_updates_written_down():
    new, told = quick.jit(STEP(SGD, critic_updates=3))(state(), batch())
    d = 0.0
    for _ in range(3):
        d -= 0.1 * (d - 1.0)
    assert float(new.params["discriminator"]["d"]) == pytest.approx(d)
    # The generator learns of the first of three microbatches: examples 0, 3, 6...
    aims = batch()["inputs"].sum(1)[::3]
    g = 1.0 - 0.1 * (1.0 - aims.mean())
    assert float(new.params["generator"]["g"]) == pytest.approx(g, rel=1e-5)
    assert (int(new.step), float(new.model_state["updates"])) == (1, 3.0)
    values = metrics.read(metrics.accumulate(None, told, stacked=False))
    made = np.mean(0.5 * (1.0 - aims) ** 2)
    losses = [0.5 * 0.9 ** (2 * update) for update in range(3)]
    assert values["generator_loss"] == pytest.approx(made, rel=1e-5)
    assert values["discriminator_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert values["loss"] == pytest.approx(made + np.mean(losses), rel=1e-5)
    assert values["learning_rate"] == pytest.approx(0.1)


def test_each_player_has_moments_of_its_own():
    adam = optimizers.make("adam")
    new, _ = quick.jit(STEP(adam, critic_updates=2))(state(adam), batch())
    counts = {
        name: {int(leaf) for leaf in jax.tree.leaves(part) if leaf.dtype == jnp.int32}
        for name, part in new.opt_state.items()
    }
    assert counts == {"generator": {1}, "discriminator": {2}}


def test_options_hold_for_each_player():
    """Clipping bounds each player's own gradient; the schedule and the penalty, too."""
    step = STEP(
        SGD,
        clip_norm=0.01,
        accumulate_steps=2,
        schedules={"learning_rate": lambda number: jnp.asarray(0.5)},
        penalty=lambda params, hyper: 10 * sum(jax.tree.leaves(params)),
    )
    new, told = quick.jit(step)(state(), batch())
    moved = [
        abs(float(new.params[player][name] - state().params[player][name]))
        for player, name in (("generator", "g"), ("discriminator", "d"))
    ]
    assert moved == pytest.approx([0.5 * 0.1 * 0.01] * 2, rel=1e-3)
    assert float(told["penalty"].total) == pytest.approx(10.0, rel=1e-3)


def test_padding_moves_nothing_and_unequal_parts_are_told_alike():
    empty = {**batch(), "mask": np.zeros(12, np.float32)}
    compiled = quick.jit(STEP(SGD, critic_updates=2))
    moved, _ = compiled(state(), empty)
    assert bits(moved.params) == bits(state().params)
    padded = batch()
    padded["mask"][[0, 2, 4, 6]] = 0.0
    _, told = compiled(state(), padded)
    assert float(told["discriminator_loss"].count) == 8
    assert float(told["generator_loss"].count) == 2


@pytest.mark.parametrize(("rule", "name"), [("skip", "skipped"), ("stop", "nonfinite")])
def test_the_trouble_of_one_player_undoes_the_step_of_both(rule, name):
    bad = batch()
    bad["inputs"][3] = np.nan
    compiled = quick.jit(STEP(SGD, on_nonfinite=rule))
    first = state(ema_decay=0.9, classifier={"weights": jnp.ones(2)})
    after, told = compiled(first, bad)
    assert float(told[name].total) > 0
    assert bits(after.params) == bits(first.params)
    assert bits(after.classifier) == bits(first.classifier)
    assert int(after.step) == {"skip": 1, "stop": -1}[rule]
    later, told = compiled(after, batch())
    assert (float(told[name].total) == 0.0) is (rule == "skip")
    assert (bits(later.params) != bits(first.params)) is (rule == "skip")


@pytest.mark.parametrize("rule", ["skip", "stop"])
def test_the_trouble_of_one_update_among_several_undoes_those_before_it(rule):
    def reading(params, model_state, hyper, data, key, training):
        (total, count), rest = discriminator(
            params, model_state, hyper, data, key, training
        )
        return (total + jnp.sum(data["inputs"] - data["inputs"]), count), rest

    step = train.make_adversarial_step(
        generator, reading, SGD, critic_updates=3, on_nonfinite=rule
    )
    bad = batch()
    bad["inputs"][1] = np.nan  # of the second update; the generator sees the first's
    first = state(ema_decay=0.9)
    after, _ = quick.jit(step)(first, bad)
    for now, before in (
        (after.params, first.params),
        (after.model_state, first.model_state),
        (after.ema, first.ema),
    ):
        assert bits(now) == bits(before)
    assert int(after.step) == {"skip": 1, "stop": -1}[rule]


def test_the_moving_average_follows_both_players_and_is_what_is_measured():
    compiled = quick.jit(STEP(SGD, critic_updates=2))
    new, _ = compiled(state(ema_decay=0.9), batch())
    expected = jax.tree.map(
        lambda old, now: 0.1 * old + 0.9 * now, state().params, new.params
    )
    assert_close(new.ema, expected)

    def measure(seen, params, data, key):
        return {"g": metrics.value(params["generator"]["g"])}

    evaluation = train.make_adversarial_evaluation(generator, discriminator, measure)
    told = metrics.read(quick.jit(evaluation)(new, batch()))
    g, d = float(new.ema["generator"]["g"]), float(new.ema["discriminator"]["d"])
    assert told["g"] == pytest.approx(g)
    assert told["discriminator_loss"] == pytest.approx(0.5 * (d - g) ** 2, rel=1e-4)
    total = told["discriminator_loss"] + told["generator_loss"]
    assert told["loss"] == pytest.approx(total, rel=1e-6)


def test_noise_differs_from_update_to_update_and_step_to_step():
    keys = []

    def noting(params, model_state, hyper, data, key, training):
        (total, count), (seen, told) = discriminator(
            params, model_state, hyper, data, key, training
        )
        draw = metrics.value(jax.random.uniform(key))
        return (total, count), (seen, {**told, "draw": draw})

    step = train.make_adversarial_step(generator, noting, SGD, critic_updates=1)
    compiled = quick.jit(step)
    now = state()
    for _ in range(3):
        now, told = compiled(now, batch())
        keys.append(float(told["draw"].total))
    assert len(set(keys)) == 3
    both = train.make_adversarial_step(generator, noting, SGD, critic_updates=2)
    _, told = quick.jit(both)(state(), batch())
    assert float(told["draw"].total) != pytest.approx(2 * keys[0])


def test_members_and_blocks_end_as_single_steps_do():
    """With noise of each member's own seed; more ways in tests/parallel."""
    step = STEP(SGD, critic_updates=2)
    single, members = quick.jit(step), quick.jit(parallel.vmap(step))
    firsts = [state(seed=seed, hyper={"noise": 1.0}) for seed in range(3)]
    many = jax.tree.map(lambda *leaves: jnp.stack(leaves), *firsts)
    ends = []
    for now in firsts:
        for number in range(3):
            now, _ = single(now, batch(number))
        ends.append(now)
    for number in range(3):
        many, _ = members(many, batch(number))
    block, _ = quick.jit(parallel.scan(step))(firsts[0], batch(0, 3))
    assert_close(block.params, ends[0].params)
    for i, end in enumerate(ends):
        assert_close(jax.tree.map(lambda x, i=i: x[i], many.params), end.params)
    assert len({float(end.params["generator"]["g"]) for end in ends}) == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"critic_updates": 0}, "critic_updates is 0: give 1 or more"),
        ({"freeze": "generator"}, "leave freeze out"),
        ({"on_nonfinite": "panic"}, "stop, skip, ignore"),
        ({"clip_norm": -1.0}, "clip_norm is -1.0"),
    ],
)
def test_options_out_of_range_say_so(options, words):
    with pytest.raises(ValueError, match=words):
        STEP(SGD, **options)


def test_a_batch_that_the_updates_do_not_divide_says_so():
    with pytest.raises(ValueError, match="12 examples do not divide into 5.*critic_u"):
        STEP(SGD, critic_updates=5)(state(), batch())
