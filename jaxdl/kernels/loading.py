"""Loading the kernels, once a process, where they were built."""

import ctypes
import os
from functools import cache

import jax
import jax.numpy as jnp
from absl import logging

from jaxdl.kernels.building import built

TARGETS = (
    *("jaxdl_forward", "jaxdl_forward_with_bias"),
    *("jaxdl_input_gradient", "jaxdl_kernel_gradient"),
    "jaxdl_kernel_gradient_with_bias",
    *("jaxdl_attention", "jaxdl_attention_gradient"),
    *("jaxdl_lstm", "jaxdl_lstm_gradient"),
    *("jaxdl_moments", "jaxdl_slopes"),
    *("jaxdl_layer_norm", "jaxdl_layer_norm_gradient"),
    *("jaxdl_pool", "jaxdl_pool_gradient"),
    *("jaxdl_product", "jaxdl_product_by_input", "jaxdl_product_by_kernel"),
    *("jaxdl_squares", "jaxdl_adam"),
    "jaxdl_rows",
)
# Set to "off" to leave built kernels out.
SWITCH = "JAXDL_KERNELS"


def switched_off() -> bool:
    """Whether the user leaves built kernels out."""
    return os.environ.get(SWITCH) == "off"


@cache
def load() -> bool:
    """Whether the kernels are there: makes them known to XLA the first time."""
    path = None if switched_off() else built()
    if path is None:
        return False
    try:
        library = ctypes.cdll.LoadLibrary(str(path))
        for name in TARGETS:
            capsule = jax.ffi.pycapsule(getattr(library, name))
            jax.ffi.register_ffi_target(name, capsule, platform="cpu")
    except (OSError, AttributeError) as error:
        logging.warning(
            "The compiled kernels cannot be used, pure lowerings are: %s. Build them "
            "anew with python -m jaxdl.kernels.",
            error,
        )
        return False
    return True


def supports(dtype: jnp.dtype) -> bool:
    """Whether kernels are there for numbers of this type, where JAX computes."""
    return (
        dtype in (jnp.float32, jnp.float64)
        and jax.default_backend() == "cpu"
        and load()
    )
