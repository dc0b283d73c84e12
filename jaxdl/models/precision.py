"""The dtype of the computation by name."""

import jax.numpy as jnp
from flax.typing import Dtype

DTYPES: dict[str, Dtype] = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def compute_dtype(name: str) -> Dtype:
    """The dtype in which layers compute; parameters are float32 in any case.

    Raises:
      ValueError: neither "float32" nor "bfloat16".
    """
    if name not in DTYPES:
        known = " or ".join(DTYPES)
        raise ValueError(f"unknown dtype {name!r}: give {known}")
    return DTYPES[name]
