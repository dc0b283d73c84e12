"""Compiled kernels for CPU, an optional extra: pure lowerings stand in without them.

``python -m jaxdl.kernels`` compiles them with the user's own C++ compiler into the
user's cache folder; from then on they are used wherever they suit.
"""

from jaxdl.kernels.attention import attend
from jaxdl.kernels.building import (
    KINDS,
    BuildError,
    build,
    buildable,
    built,
    location,
)
from jaxdl.kernels.convolution import Window, convolve, convolve_transposed
from jaxdl.kernels.counting import multiplications
from jaxdl.kernels.layer_norm import layer_norm
from jaxdl.kernels.loading import SWITCH, load, supports, switched_off
from jaxdl.kernels.lstm import lstm
from jaxdl.kernels.normalization import moments, scale_and_shift
from jaxdl.kernels.pooling import max_pool
from jaxdl.kernels.product import product
from jaxdl.kernels.rows import take_rows
from jaxdl.kernels.updates import Adam, Moments, Numbers, adam, sums_of_squares

__all__ = [
    "KINDS",
    "SWITCH",
    "Adam",
    "BuildError",
    "Moments",
    "Numbers",
    "Window",
    "adam",
    "attend",
    "build",
    "buildable",
    "built",
    "convolve",
    "convolve_transposed",
    "layer_norm",
    "load",
    "location",
    "lstm",
    "max_pool",
    "moments",
    "multiplications",
    "product",
    "scale_and_shift",
    "sums_of_squares",
    "supports",
    "switched_off",
    "take_rows",
]
