"""``experiments.benchmark``: the loop beside its bare step. No time is asserted."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments import gan
from experiments.benchmarks import cases, loop, loops
from jaxdl import models


@pytest.fixture
def few_images(monkeypatch):
    draw = loops.draw_images
    monkeypatch.setattr(
        loops, "draw_images", lambda path, count, shape: draw(path, 400, shape)
    )


def _small(name, **flags):
    run = loops.LOOPS[name]
    return dataclasses.replace(run, flags={**run.flags, **flags})


def _sizes(tree, vocabulary):
    """Shapes of the leaves, without the vocabulary's size."""
    return [
        tuple(0 if size == vocabulary else size for size in leaf.shape)
        for leaf in jax.tree.leaves(tree)
    ]


def test_every_training_step_has_its_loop():
    assert list(loops.LOOPS) != []
    assert set(loops.LOOPS) == set(cases.CASES) == set(cases.WORK["loop"])


@pytest.mark.parametrize("name", [n for n in loops.LOOPS if n != "dcgan"])
def test_a_loop_trains_the_network_of_its_case(name, few_images, tmp_path):
    case, run = cases.CASES[name], loops.LOOPS[name]
    settings = loops.settings(name, tmp_path)
    task, plan = run.experiment.build(settings)
    assert plan.batch_size == case.size
    assert plan.steps == run.flags["max_steps"]
    # A first interval to warm up, and at least three that count.
    assert plan.steps >= 4 * plan.evaluate_every
    assert getattr(settings, "folds", 0) == (case.folds if case.folds > 1 else 0)
    model = models.create(case.model, **case.arguments)
    example = cases.make_batches(case)[0]["inputs"].reshape(-1, *case.shape)[:1]
    params, _ = jax.eval_shape(lambda: models.init(model, jax.random.key(0), example))
    ours = jax.eval_shape(task.create, 0).params
    language = case.kind == "language"
    classes = len(task.data.classes) if language else -1
    theirs = _sizes(params, cases.VOCABULARY if language else -1)
    assert _sizes(ours, classes) == theirs


def test_the_loop_of_the_gan_trains_the_network_of_its_case(few_images, tmp_path):
    case = cases.CASES["dcgan"]
    settings = loops.settings("dcgan", tmp_path)
    assert (settings.model, settings.batch_size) == (case.model, case.size)
    assert gan.check(settings).input_shape == case.shape


@pytest.mark.parametrize("name", ["mlp_32", "tabular"])
def test_both_sides_take_the_same_steps(name, few_images, monkeypatch):
    """Of one state by turns, and of members one side after the other."""
    jax.devices()  # one, as in other tests: later nobody makes devices of the cores
    steps = {"max_steps": 96, "evaluate_every": 16}
    monkeypatch.setitem(loops.LOOPS, name, _small(name, **steps))
    asked = []
    bare_steps = loop.bare_steps

    def counting(*given):
        go_on = bare_steps(*given)

        def counted(end):
            asked.append(end)
            go_on(end)

        return counted

    monkeypatch.setattr(loop, "bare_steps", counting)
    found = loop.take(name)
    assert asked == ([16, 96] if name == "tabular" else list(range(0, 97, 16)))
    both = [found["milliseconds"], found["beside"]["bare step"]["milliseconds"]]
    assert np.all(np.isfinite(both))
    assert min(both) > 0
