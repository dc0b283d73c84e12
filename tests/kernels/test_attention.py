"""The compiled attention equals its formula, in value and all derivatives."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jax.test_util import check_grads

from jaxdl import kernels
from jaxdl.kernels.attention import formula
from jaxdl.layers.attention import KeysValues, attend
from tests.kernels.agreement import close

pytestmark = pytest.mark.usefixtures("compiled")

# Sequences, queries, keys, heads, heads of keys, features. Between them: more and fewer
# queries, keys and features than a block or a tile holds; shared keys; more keys than
# queries and fewer.
CASES = [
    (2, 5, 5, 4, 2, 6),
    (1, 130, 130, 2, 2, 32),
    (2, 70, 33, 2, 2, 20),
    (1, 3, 100, 2, 1, 64),
]


def draw(case, dtype="float64"):
    batch, queries, keys, heads, groups, features = case
    random = np.random.default_rng(0)
    shapes = [(queries, heads), (keys, groups), (keys, groups)]
    return [
        jnp.asarray(random.normal(size=(batch, *shape, features)), dtype)
        for shape in shapes
    ]


def outcome(run, causal):
    """Value and gradients, of something that is not linear."""

    def loss(*operands):
        found = run(*operands, causal)
        return jnp.sum(jnp.sin(found)), found

    return jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_the_formula_in_value_and_gradients(case, causal):
    with jax.enable_x64(True):
        operands = draw(case)
        ours, theirs = (
            jax.jit(outcome(run, causal))(*operands)
            for run in (kernels.attend, formula)
        )
        close(ours, theirs, 1e-12)


def test_in_float32_too_large_scores_included():
    queries, keys, values = draw(CASES[1], "float32")
    for size in (1, 30):
        operands = queries * size, keys, values
        ours, theirs = (
            jax.jit(outcome(run, True))(*operands) for run in (kernels.attend, formula)
        )
        close(ours, theirs, 3e-5 * size)


def test_derivatives_of_second_order():
    with jax.enable_x64(True):
        operands = draw((1, 3, 3, 2, 2, 2))
        run = jax.jit(lambda *o: jnp.sin(kernels.attend(*o, True)))
        check_grads(run, operands, order=2, modes=["rev"])


def test_what_is_not_a_number_is_not_hidden():
    queries, keys, values = draw(CASES[0], "float32")
    keys = keys.at[0, 0, 0, 0].set(jnp.nan)
    assert jnp.isnan(kernels.attend(queries, keys, values, True)[0, :, 0]).all()


def test_members_are_one_call():
    with jax.enable_x64(True):
        queries, keys, values = draw(CASES[0])
        members = jnp.stack([queries, 2 * queries, queries - 1])
        ours, theirs = (
            jax.jit(jax.vmap(outcome(run, True), (0, None, None)))(
                members, keys, values
            )
            for run in (kernels.attend, formula)
        )
        close(ours, theirs, 1e-12)


def test_sequences_over_devices_stay_there():
    """Of one device here; over eight, every family's steps (tests/parallel)."""
    mesh = jax.make_mesh((1,), ("devices",), axis_types=(AxisType.Auto,))
    over = NamedSharding(mesh, PartitionSpec("devices"))
    operands = [jax.device_put(x, over) for x in draw(CASES[0], "float32")]
    found = jax.jit(partial(kernels.attend, causal=True))(*operands)
    np.testing.assert_allclose(found, formula(*operands, True), atol=1e-5)


def test_the_layer_takes_it_where_nothing_is_masked():
    queries, keys, values = draw(CASES[0], "float32")
    memory, mask = KeysValues(keys, values), jnp.ones((1, 1, 1, 5), bool)

    def traced(*mask):
        return str(jax.make_jaxpr(lambda q: attend(q, memory, *mask))(queries))

    assert "jaxdl_attention" in traced()
    assert "jaxdl_attention" not in traced(mask)


def test_operands_of_two_types_are_refused():
    queries, keys, values = draw(CASES[0], "float32")
    with pytest.raises(TypeError, match="operands of one type are needed"):
        kernels.attend(queries, keys.astype("bfloat16"), values, True)
