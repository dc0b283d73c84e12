"""Optimizers follow their textbook formulas; decay, schedules, hyper, names."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jaxdl import optimizers
from jaxdl.objectives.losses import l2
from jaxdl.optimizers import OPTIMIZERS, SCHEDULES, make, schedule, with_hyper


def descend(optimizer, function, start, steps, hyper=None):
    """The path of parameters, the start included."""

    def step(carry, _):
        params, state = carry
        state = with_hyper(state, hyper or {})
        updates, state = optimizer.update(jax.grad(function)(params), state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    _, path = jax.lax.scan(step, (start, optimizer.init(start)), length=steps)
    return jax.tree.map(lambda a, b: np.concatenate([a[None], b]), start, path)


def bowl(x):
    """The narrow valley of "Deep Learning from Scratch", section 6.1.3."""
    return x[0] ** 2 / 20 + x[1] ** 2


def slope(x):
    return np.array([x[0] / 10, 2 * x[1]])


START = np.array([-7.0, 2.0])


def test_gradient_descent_reaches_diverges_and_stalls():
    start = jnp.array([-3.0, 4.0])

    def end(rate):
        return descend(
            make("sgd", learning_rate=rate), lambda x: jnp.sum(x**2), start, 100
        )[-1]

    np.testing.assert_allclose(end(0.1), [-3 * 0.8**100, 4 * 0.8**100], rtol=1e-4)
    assert np.abs(end(0.1)).max() < 1e-9
    assert not np.abs(end(10.0)).max() < 1e12
    np.testing.assert_allclose(end(1e-10), start, rtol=1e-6)


def by_sgd(x, rate, steps):
    for _ in range(steps):
        x = x - rate * slope(x)
        yield x


def by_momentum(x, rate, steps):
    v = np.zeros(2)
    for _ in range(steps):
        v = 0.9 * v - rate * slope(x)
        x = x + v
        yield x


def by_nesterov(x, rate, steps):
    """Looks ahead: v = a v - eta g(W + a v), written at the point W + a v."""
    v, ahead = np.zeros(2), x
    for _ in range(steps):
        v = 0.9 * v - rate * slope(ahead)
        x = x + v
        ahead = x + 0.9 * v
        yield ahead


def by_adagrad(x, rate, steps):
    h = np.zeros(2)
    for _ in range(steps):
        g = slope(x)
        h = h + g * g
        x = x - rate * g / (np.sqrt(h) + 1e-7)
        yield x


def by_rmsprop(x, rate, steps):
    h = np.zeros(2)
    for _ in range(steps):
        g = slope(x)
        h = 0.9 * h + 0.1 * g * g
        x = x - rate * g / (np.sqrt(h) + 1e-7)
        yield x


def by_adam(x, rate, steps):
    m, v = np.zeros(2), np.zeros(2)
    for t in range(1, steps + 1):
        g = slope(x)
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        x = x - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        yield x


def by_lion(x, rate, steps):
    m = np.zeros(2)
    for _ in range(steps):
        g = slope(x)
        x = x - rate * np.sign(0.9 * m + 0.1 * g)
        m = 0.99 * m + 0.01 * g
        yield x


@pytest.mark.parametrize(
    ("name", "by_hand", "rate"),
    [
        ("sgd", by_sgd, 0.95),
        ("momentum", by_momentum, 0.1),
        ("nesterov", by_nesterov, 0.1),
        ("adagrad", by_adagrad, 1.5),
        ("rmsprop", by_rmsprop, 0.1),
        ("adam", by_adam, 0.3),
        ("adamw", by_adam, 0.3),
        ("lion", by_lion, 0.05),
    ],
)
def test_paths_follow_the_textbook_formulas(name, by_hand, rate):
    with jax.enable_x64(True):
        path = descend(make(name, learning_rate=rate), bowl, jnp.asarray(START), 30)
    # The injected rate is a float32, as it is in a run.
    expected = [START, *by_hand(START, float(np.float32(rate)), 30)]
    np.testing.assert_allclose(path, expected, rtol=1e-5, atol=1e-6)


def make_problem():
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(rng.normal(size=(32, 4)), jnp.float32)
    targets = jnp.tanh(inputs @ jnp.asarray(rng.normal(size=(4, 3)), jnp.float32))
    params = {
        "Dense_0": {
            "kernel": jnp.asarray(rng.normal(size=(4, 3)) * 0.3, jnp.float32),
            "bias": jnp.zeros(3),
        },
        "norm": {"scale": jnp.ones(3)},
    }

    def loss(params):
        layer = params["Dense_0"]
        outputs = jnp.tanh(inputs @ layer["kernel"] + layer["bias"])
        return jnp.mean((outputs * params["norm"]["scale"] - targets) ** 2)

    return loss, params


# Where the rate is relative to parameters or gradients, it is another number.
RATES = {"sgd": 0.5, "adagrad": 0.1, "adadelta": 10.0, "lars": 0.3, "adafactor": 0.1}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_learns_under_jit_and_vmap_over_rates(name):
    loss, params = make_problem()
    optimizer = make(name, weight_decay=1e-4)
    rate = RATES.get(name, 0.02)

    def train(rate):
        def step(carry, _):
            params, state = carry
            state = with_hyper(state, {"learning_rate": rate})
            grads = jax.grad(loss)(params)
            updates, state = optimizer.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), None

        start = (params, optimizer.init(params))
        (end, _), _ = jax.lax.scan(step, start, length=40)
        return loss(end)

    losses = jax.jit(jax.vmap(train))(jnp.array([0.0, rate / 10, rate]))
    before = float(loss(params))
    assert float(losses[0]) == pytest.approx(before, rel=1e-6)
    assert float(losses[1]) < before
    assert float(losses[2]) < 0.9 * before


def test_decay_is_the_l2_penalty_under_sgd_and_not_under_adam():
    loss, params = make_problem()

    def penalised(params):
        return loss(params) + l2(params, 0.1)

    def ends(name):
        rate = {"learning_rate": 0.1}
        penalty = descend(make(name), penalised, params, 10, rate)
        decay = descend(make(name, weight_decay=0.1), loss, params, 10, rate)
        return penalty, decay

    penalty, decay = ends("sgd")
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        penalty,
        decay,
    )
    penalty, decay = ends("adam")
    kernels = [path["Dense_0"]["kernel"][-1] for path in (penalty, decay)]
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-2


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "lion", "muon"])
def test_decay_takes_rate_times_decay_of_the_weights_alone(name):
    loss, params = make_problem()
    rate = {"learning_rate": 0.1}
    plain = descend(make(name), loss, params, 1, rate)
    decayed = descend(make(name, weight_decay=0.3), loss, params, 1, rate)
    kernel = np.asarray(params["Dense_0"]["kernel"])
    np.testing.assert_allclose(
        plain["Dense_0"]["kernel"][1] - decayed["Dense_0"]["kernel"][1],
        0.1 * 0.3 * kernel,
        atol=1e-6,
    )
    spared = [(p["Dense_0"]["bias"], p["norm"]["scale"]) for p in (plain, decayed)]
    jax.tree.map(np.testing.assert_array_equal, *spared)


def test_adamw_nadamw_and_lars_equal_optax():
    loss, params = make_problem()
    mask = optimizers.decay_mask
    pairs = {
        "adamw": optax.adamw(0.01, weight_decay=0.1, mask=mask),
        "lars": optax.lars(0.01, 0.1, weight_decay_mask=mask, trust_ratio_mask=mask),
        "nadam": optax.nadamw(0.01, weight_decay=0.1, mask=mask),
    }
    for name, reference in pairs.items():
        ours = descend(
            make(name, learning_rate=0.01, weight_decay=0.1), loss, params, 5
        )
        theirs = descend(reference, loss, params, 5)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
            ours,
            theirs,
        )


def test_muon_steps_have_the_size_of_adams_and_equal_singular_values():
    rng = np.random.default_rng(0)
    params = {"conv": {"kernel": jnp.asarray(rng.normal(size=(3, 3, 2, 6)))}}
    optimizer = make("muon", learning_rate=1.0)
    grads = jax.tree.map(lambda x: x**3, params)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    step = np.asarray(updates["conv"]["kernel"]).reshape(-1, 6)
    values = np.linalg.svd(step, compute_uv=False)
    assert values.max() / values.min() < 2  # of the gradient: above 5
    size = np.sqrt(np.mean(step**2))
    assert 0.1 < size < 0.3


def test_with_hyper_writes_at_any_depth_and_keeps_the_rest():
    _, params = make_problem()
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.masked(make("adam"), optimizers.decay_mask),
        optax.partition(
            {"a": make("sgd", weight_decay=0.1), "b": make("lamb")},
            lambda p: jax.tree.map(lambda x: "a" if x.ndim > 1 else "b", p),
        ),
    )
    state = optimizer.init(params)
    written = with_hyper(state, {"learning_rate": 0.5, "dropout": 0.9})

    def numbers(state):
        kind = optax.InjectStatefulHyperparamsState
        nodes = jax.tree.leaves(state, is_leaf=lambda n: isinstance(n, kind))
        return [n.hyperparams for n in nodes if isinstance(n, kind)]

    assert [float(n["learning_rate"]) for n in numbers(written)] == [0.5] * 3
    kept = [float(n["weight_decay"]) for n in numbers(written)]
    np.testing.assert_allclose(kept, [0.0, 0.1, 0.0])
    assert all(set(n) == {"learning_rate", "weight_decay"} for n in numbers(written))
    same = jax.tree.map(
        lambda a, b: (a.dtype, a.shape) == (b.dtype, b.shape), state, written
    )
    assert all(jax.tree.leaves(same))
    assert jax.tree.structure(state) == jax.tree.structure(written)
    nested = optax.inject_hyperparams(
        lambda learning_rate: optax.chain(make("sgd"), optax.scale(learning_rate))
    )(0.1)
    outer = with_hyper(nested.init(params), {"learning_rate": 0.25})
    assert float(outer.hyperparams["learning_rate"]) == 0.25
    assert float(outer.inner_state[0].hyperparams["learning_rate"]) == 0.25
    plain = optax.sgd(0.1).init(params)
    assert with_hyper(plain, {"learning_rate": 1.0}) == plain


def test_numbers_change_without_recompiling():
    loss, params = make_problem()
    optimizer = make("adamw")
    compiled = 0

    @jax.jit
    def step(params, state, hyper):
        nonlocal compiled
        compiled += 1
        state = with_hyper(state, hyper)
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for rate in (0.1, 0.01, 0.0):
        hyper = {"learning_rate": jnp.float32(rate), "weight_decay": jnp.float32(rate)}
        before = params
        params, state = step(params, state, hyper)
    assert compiled == 1
    jax.tree.map(np.testing.assert_array_equal, params, before)


def test_rates_stay_float32_where_parameters_are_half():
    params = {"kernel": jnp.ones((2, 2), jnp.bfloat16)}
    state = make("adam", learning_rate=0.001).init(params)
    rate = state.hyperparams["learning_rate"]
    assert rate.dtype == jnp.float32
    assert float(rate) == pytest.approx(0.001, rel=1e-6)


# Schedules.


def factors(name, total, **options):
    # Of one length, whatever the total: each shape of array is compiled anew.
    steps = jnp.arange(105)
    return np.asarray(jax.vmap(schedule(name, total, **options))(steps))[: total + 5]


def test_schedules_have_their_shapes():
    np.testing.assert_array_equal(factors("constant", 10), 1.0)
    np.testing.assert_array_equal(factors("plateau", 10), 1.0)
    np.testing.assert_allclose(
        factors("step", 8)[:9], [1] * 4 + [0.1] * 2 + [0.01] * 3, rtol=1e-6
    )
    np.testing.assert_allclose(
        factors("step", 4, factor=0.5, after=(0.25,))[:5], [1, 0.5, 0.5, 0.5, 0.5]
    )
    fall = factors("exponential", 10, end=0.1)
    np.testing.assert_allclose(fall[1:11] / fall[:10], 0.1 ** (1 / 10), rtol=1e-5)
    np.testing.assert_allclose(
        factors("linear", 4, end=0.2)[:6], [1, 0.8, 0.6, 0.4, 0.2, 0.2], rtol=1e-6
    )
    reference = jax.vmap(optax.cosine_decay_schedule(1.0, 20, alpha=0.1))
    np.testing.assert_allclose(
        factors("cosine", 20, end=0.1), reference(jnp.arange(25)), atol=1e-6
    )


def test_warm_up_rises_in_a_line_to_the_peak_and_the_schedule_follows():
    rising = factors("warmup_cosine", 14, warmup_steps=4)
    np.testing.assert_allclose(rising[:5], [0.25, 0.5, 0.75, 1.0, 1.0])
    np.testing.assert_allclose(rising[4:14], factors("cosine", 10)[:10], atol=1e-6)
    by_default = factors("warmup_cosine", 100)
    np.testing.assert_allclose(by_default[:5], [0.2, 0.4, 0.6, 0.8, 1.0], rtol=1e-6)
    assert factors("cosine", 100)[0] == 1.0


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 60), st.integers(0, 60))
@example("constant", 41, 41)  # 41 / 41 by way of a rounded 1 / 41 is below 1
def test_factors_are_within_zero_and_one_and_fall_after_warm_up(name, total, warmup):
    warmup = min(warmup, total)
    values = factors(name, total, warmup_steps=warmup)
    assert values.dtype == np.float32
    assert ((values >= 0) & (values <= 1)).all()
    assert (np.diff(values[max(warmup - 1, 0) :]) <= 1e-6).all()
    assert values[max(warmup - 1, 0)] == 1.0


# What users get wrong.


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make("adamm"), "unknown optimizer 'adamm'.*mean 'adam'.*sgd, mom"),
        (lambda: make("adam", beta=1), "'adam' has no option 'beta'.*b1, b2, eps"),
        (lambda: make("sgd", momentum=0.9), "'sgd' has no option 'momentum'"),
        (lambda: make("adam", learning_rate=-1.0), "learning_rate.*above 0, got -1"),
        (lambda: make("adam", weight_decay=-1.0), "weight_decay.*at least 0, got -1"),
        (lambda: schedule("cosin", 10), "unknown schedule 'cosin'.*'cosine'"),
        (lambda: schedule("constant", 10, end=0.1), "has no option 'end'"),
        (lambda: schedule("cosine", 10, end=2.0), "0 to 1, got 2"),
        (lambda: schedule("cosine", 0), "over 0 steps"),
        (lambda: schedule("cosine", 10, warmup_steps=11), "11 of warm-up"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rate", [-0.1, 0.0, float("nan"), float("inf")])
def test_rates_that_cannot_train_are_refused(rate):
    with pytest.raises(ValueError, match="learning_rate is a finite number above 0"):
        optimizers.check_rate(rate)


def test_rates_that_can_are_returned():
    assert optimizers.check_rate(0.5) == 0.5
    assert optimizers.check_rate(0, "l2", zero=True) == 0.0
