"""A step that is compiled again says so, with what changed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import train
from jaxdl.train import recompiling
from tests.train.problems import batch, state, step


@pytest.fixture
def noticed():
    """A jitted step that is watched, and what it said."""
    said = []
    with recompiling.counting() as compiled:
        jitted = jax.jit(lambda s, b: (s + b["x"].sum(), {}))
        yield recompiling.noticing(jitted, compiled, said.append), said


def test_a_changed_shape_or_type_is_named(noticed):
    run, said = noticed
    for _ in range(2):
        total, _ = run(jnp.zeros(()), {"x": np.ones(3, np.float32)})
    assert float(total) == 3
    assert said == []
    run(jnp.zeros(()), {"x": np.ones(2, np.float32)})
    run(jnp.zeros((), jnp.int32), {"x": np.ones(2, np.int32)})
    assert said == [
        "the step was compiled again: batch/x is float32[2], not float32[3].",
        "the step was compiled again: batch/x is int32[2], not float32[2]; "
        "state is int32[], not float32[].",
    ]


def test_what_was_compiled_before_is_silent(noticed):
    run, said = noticed
    for size in (3, 2, 3, 2):
        run(jnp.zeros(()), {"x": np.ones(size, np.float32)})
    assert len(said) == 1


def test_fit_warns_of_it_and_trains_on():
    said = []

    def feed(at, count=None):
        whole = batch(at)
        return {k: v[:9] for k, v in whole.items()} if at == 3 else whole

    done = train.fit(
        state(), step(), feed, steps=5, watch=train.Watch(warned=said.append)
    )
    assert done.step == 5
    (line,) = said
    assert "batch/inputs is float32[9,5], not float32[12,5]" in line
