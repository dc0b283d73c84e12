"""A step by the compiled Adam equals Optax's, whatever else the step is told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import optimizers
from jaxdl.train import updating
from tests.train import problems

pytestmark = pytest.mark.usefixtures("compiled")

STEPS = 5


def trained(by_kernel, monkeypatch, optimizer, poison=None, options=(), **state):
    """State and metrics of each step; that of a poisoned batch is not finite."""
    if not by_kernel:
        monkeypatch.setattr(updating, "in_one_pass", lambda *_: False)
    step = jax.jit(problems.step(optimizer, **dict(options)))
    now, told = problems.state(optimizer, **state), []
    for number in range(STEPS):
        batch = problems.batch(number)
        if number == poison:
            batch["inputs"] = batch["inputs"] * np.nan
        now, metrics = step(now, batch)
        told.append(metrics)
    monkeypatch.undo()
    return now, told


def alike(monkeypatch, optimizer, **options):
    def close(ours, theirs):
        if not jnp.issubdtype(ours.dtype, jax.dtypes.prng_key):
            np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-6)

    ours, theirs = (
        trained(by_kernel, monkeypatch, optimizer, **options)
        for by_kernel in (True, False)
    )
    jax.tree.map(close, ours, theirs)
    return ours


def strength_of_a_kernel(params, hyper):
    return hyper["strength"] * jnp.sum(jnp.square(params["Dense_0"]["kernel"]))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clip_norm": 0.05, "on_nonfinite": "stop"},
        {"accumulate_steps": 3, "penalty": strength_of_a_kernel},
        {"schedules": {"learning_rate": lambda step: 1.0 / (1.0 + step)}},
    ],
    ids=["plain", "clipped and watched", "in parts with a penalty", "scheduled"],
)
def test_a_step_equals_that_by_optax(options, monkeypatch):
    optimizer = optimizers.make("adamw", b1=0.8, eps=1e-5)
    hyper = {"weight_decay": 0.3, "strength": 0.1, "ema_decay": 0.9}
    alike(monkeypatch, optimizer, options=options.items(), hyper=hyper, ema_decay=0.9)


@pytest.mark.parametrize("rule", ["stop", "skip", "ignore"])
def test_a_step_that_is_not_finite_is_one_by_the_same_rule(rule, monkeypatch):
    optimizer = optimizers.make("adam")
    options = {"on_nonfinite": rule}.items()
    now, _ = alike(monkeypatch, optimizer, options=options, poison=2)
    finite = all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(now.params))
    assert finite == (rule != "ignore")
    assert int(now.opt_state.count) == {"stop": 2, "skip": 4, "ignore": 5}[rule]


def test_the_kernel_is_used_where_it_can_be():
    def text(optimizer, **options):
        state = problems.state(optimizer)
        step = problems.step(optimizer, **options)
        return str(jax.make_jaxpr(step)(state, problems.batch()))

    assert "jaxdl_adam" in text(optimizers.make("adam"))
    assert "jaxdl_adam" not in text(optimizers.make("adam"), freeze="Dense_0")
    assert "jaxdl_adam" not in text(optimizers.make("adam", nesterov=True))
    assert "jaxdl_adam" not in text(optimizers.make("lamb"))


def test_weights_that_decay_may_be_named_by_a_prefix_of_the_tree(monkeypatch):
    def mask(params):
        return {"Dense_0": True, "Dense_1": False}

    optimizer = optimizers.make("adam", mask=mask)
    alike(monkeypatch, optimizer, hyper={"weight_decay": 0.3})
