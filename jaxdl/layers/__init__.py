"""Layers whose lowering or randomness matters; each equals its Flax twin.

Whatever isn't here (embedding, group norm...) is Flax's own.
"""

from jaxdl.layers.attention import Attention
from jaxdl.layers.convolution import Conv, SeparableConv, to_nchw, to_nhwc
from jaxdl.layers.dense import Dense
from jaxdl.layers.dropout import Dropout
from jaxdl.layers.layer_norm import LayerNorm
from jaxdl.layers.normalization import BatchNorm, batch_moments
from jaxdl.layers.pooling import (
    avg_pool,
    global_avg_pool,
    masked_max,
    masked_max_pool,
    masked_mean,
    max_pool,
)
from jaxdl.layers.recurrent import Bidirectional, Recurrent
from jaxdl.layers.softplus import softplus
from jaxdl.layers.transposed_convolution import ConvTranspose
from jaxdl.layers.windows import conv_output_size, receptive_field

__all__ = [
    "Attention",
    "BatchNorm",
    "Bidirectional",
    "Conv",
    "ConvTranspose",
    "Dense",
    "Dropout",
    "LayerNorm",
    "Recurrent",
    "SeparableConv",
    "avg_pool",
    "batch_moments",
    "conv_output_size",
    "global_avg_pool",
    "masked_max",
    "masked_max_pool",
    "masked_mean",
    "max_pool",
    "receptive_field",
    "softplus",
    "to_nchw",
    "to_nhwc",
]
