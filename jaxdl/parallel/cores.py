"""The cores of a CPU as devices of their own.

XLA computes most small operations on one core. Members of a population, each on a
device of its own, or the parts of a batch of images, use all of them.
"""

import os
from collections.abc import Callable
from typing import Any

import jax

from jaxdl.parallel.blocks import largest_convolution, largest_recurrence

# More were never measured.
MOST = 8

# Numbers that the largest convolution gives: a batch of digits' CNN 262,144, which two
# cores split in vain; one of simple_cnn on MNIST 2,211,840, which they halve.
WORTH_SPLITTING = 1_000_000

# A recurrent layer multiplies little at a time, by matrices that all times share. Two
# cores split its batch with gain from 6 million multiplications in all and up to
# matrices of 256 units; not where they hold 512 (ms a step on one device and on two,
# width x batch x times of an LSTM: 32 x 32 x 50 2.8 and 1.8, 128 x 64 x 100 72 and 48,
# 256 x 64 x 100 174 and 157, 512 x 64 x 50 273 and 299).
WORTH_SPLITTING_IN_TIME = 6_000_000
TOO_LARGE_IN_TIME = 1_000_000

_made: list[int] = []


def use_cores() -> None:
    """Make a device of every core that this process may use, up to ``MOST``.

    Only before JAX has looked for devices, and not where the user has said how many
    there are (``XLA_FLAGS``, ``JAX_NUM_CPU_DEVICES``) or where processes train
    together. Accelerators are not touched.
    """
    told = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    chosen = jax.config.values.get("jax_num_cpu_devices", -1)
    count = min(len(os.sched_getaffinity(0)) if _knows_affinity() else 1, MOST)
    if told or chosen != -1 or jax.distributed.is_initialized() or count < 2:
        return
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:  # devices have been asked for: they stay as they are
        return
    _made.append(count)


def are_devices() -> bool:
    """Whether the devices at hand are cores, made by ``use_cores``: then more than one
    device is no wish of the user's that a batch be split."""
    return bool(_made) and jax.default_backend() == "cpu"


def automatic(step: Callable[..., Any], state: Any, batch: Any, size: int) -> str:
    """What ``--parallel=auto`` means for a step over the cores of a CPU.

    "data", a batch split over the cores, where the step convolves images of some size
    or has a recurrent layer: small images gain nothing, and of large products XLA makes
    good use of all cores itself. Measured on two cores, ms a step on one device and on
    two: simple_cnn on MNIST 137 and 78, digits' CNN 22 and 22, MLP 784-256-256-10 2.5
    and 4.6, Transformer of 4 layers 220 and 218.

    Args:
      step, state, batch: as a device would compute them alone; shapes do.
      size: examples of a batch.
    """
    if not are_devices() or size % jax.device_count():
        return "none"
    if largest_convolution(step, state, batch) >= WORTH_SPLITTING:
        return "data"
    weights, operations = largest_recurrence(step, state, batch)
    enough = operations >= WORTH_SPLITTING_IN_TIME
    return "data" if enough and weights < TOO_LARGE_IN_TIME else "none"


def _knows_affinity() -> bool:
    return hasattr(os, "sched_getaffinity")
