"""Layers whose lowering or randomness matters; each equals its Flax twin.

Whatever isn't here (dense, embedding, layer norm...) is Flax's own.
"""

from jaxdl.layers.convolution import Conv, SeparableConv, to_nchw, to_nhwc
from jaxdl.layers.dropout import Dropout
from jaxdl.layers.normalization import BatchNorm, batch_moments
from jaxdl.layers.pooling import avg_pool, global_avg_pool, max_pool
from jaxdl.layers.windows import conv_output_size, receptive_field

__all__ = [
    "BatchNorm",
    "Conv",
    "Dropout",
    "SeparableConv",
    "avg_pool",
    "batch_moments",
    "conv_output_size",
    "global_avg_pool",
    "max_pool",
    "receptive_field",
    "to_nchw",
    "to_nhwc",
]
