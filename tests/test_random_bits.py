"""Random bits without loops: Threefry's published ones, and those of JAX."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import random_bits

# Salmon et al.'s known answers (Random123, kat_vectors, threefry2x32 of 20 rounds).
ANSWERS = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
    (
        (0x13198A2E, 0x03707344),
        (0x243F6A88, 0x85A308D3),
        (0xC4923A9C, 0x483DF7A0),
    ),
]

# Numbers of several kinds, by keys of their own and by one.
DRAWN = """
import jax, numpy as np
def draw(key):
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, np.arange(7))
    rows = jax.vmap(lambda k: jax.random.normal(k, (5,)))(keys)
    return rows, jax.random.bits(key, (3, 11)), jax.random.permutation(key, 19)
found = jax.jit(draw)(jax.random.key(3))
lowered = jax.jit(draw).lower(jax.random.key(3)).as_text()
"""


@pytest.mark.parametrize(("key", "count", "bits"), ANSWERS)
def test_the_published_answers(key, count, bits):
    words = [jnp.uint32(word) for word in (*key, *count)]
    for run in (random_bits.threefry, jax.jit(random_bits.threefry)):
        assert tuple(int(word) for word in run(*words)) == bits


def test_equal_to_jaxs_own_but_without_loops():
    """In processes of their own: what JAX lowers to is set for all of one."""
    code = f"{DRAWN}\nprint('while' in lowered, [x.tolist() for x in found])"
    unrolled = f"from jaxdl import random_bits; random_bits.unroll()\n{code}"
    stock, ours = (
        subprocess.run(
            [sys.executable, "-c", each], capture_output=True, text=True, check=True
        ).stdout
        for each in (code, unrolled)
    )
    assert stock.split()[0] == "True"
    assert ours.split()[0] == "False"
    assert stock.split()[1:] == ours.split()[1:]


def test_each_member_draws_as_alone():
    keys = jax.random.split(jax.random.key(0), 3)
    data = jax.random.key_data(keys)
    counts = jnp.arange(4, dtype=jnp.uint32)
    together = jax.vmap(random_bits.threefry, (0, 0, None, None))(
        data[:, 0], data[:, 1], counts[0], counts[1]
    )
    for i, (first, second) in enumerate(data):
        alone = random_bits.threefry(first, second, counts[0], counts[1])
        np.testing.assert_array_equal([part[i] for part in together], alone)
