"""The dtype of the computation by name."""

import jax.numpy as jnp
from flax.typing import Dtype

# float64 is for gradient checks, under jax.enable_x64; without it, it is float32.
DTYPES: dict[str, Dtype] = {
    "float32": jnp.float32,
    "bfloat16": jnp.bfloat16,
    "float64": jnp.float64,
}


def compute_dtype(name: str) -> Dtype:
    """The dtype in which layers compute; parameters are float32 in any case.

    Raises:
      ValueError: none of ``DTYPES``.
    """
    if name not in DTYPES:
        known = ", ".join(DTYPES)
        raise ValueError(f"unknown dtype {name!r}: give one of {known}")
    return DTYPES[name]
