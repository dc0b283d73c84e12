"""Normalisation: fitted on training examples, applied everywhere, kept in JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from jaxdl.data.source import Source

# The statistics are fitted on a sample of at most this many training examples,
# fewer when examples are large (photographs): a channel's mean is known to well
# below 1% long before that.
SAMPLE = 50_000
SAMPLE_VALUES = 2 * 10**8
_CHUNK = 1_024


@dataclass(frozen=True)
class Preprocess:
    """Standardisation: (inputs - mean) / std along the last axis.

    Attributes:
      mean: one a channel (images) or feature (vectors, sequences); a single one
        where an example is one number.
      std: likewise, never 0: a constant channel or feature has 1 here.
      high: the largest value a stored pixel can take (255, or 16 for digits), by
        which pictures are shown and files of another depth are rescaled; None
        for inputs that are not images.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    high: float | None = None

    def apply(self, inputs: Num[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Stored inputs [..., channels] as standardised float32."""
        mean, std = np.array([self.mean, self.std], np.float32)
        return (jnp.asarray(inputs, jnp.float32) - mean) / std

    def invert(self, inputs: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The stored scale again, in float32: `invert(apply(x)) == x`."""
        mean, std = np.array([self.mean, self.std], np.float32)
        return jnp.asarray(inputs, jnp.float32) * std + mean

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and lists, which `from_json` turns back exactly."""
        return {"mean": list(self.mean), "std": list(self.std), "high": self.high}


def from_json(values: Mapping[str, Any]) -> Preprocess:
    """What `Preprocess.to_json` wrote.

    Raises:
      ValueError: a part is missing, or means and deviations differ in number.
    """
    missing = {"mean", "std"} - set(values)
    if missing:
        raise ValueError(f"preprocessing lacks {', '.join(sorted(missing))}")
    mean, std = tuple(values["mean"]), tuple(values["std"])
    if len(mean) != len(std):
        raise ValueError(
            f"preprocessing has {len(mean)} means and {len(std)} deviations"
        )
    return Preprocess(mean, std, values.get("high"))


def identity(channels: int, high: float | None = None) -> Preprocess:
    """No normalisation: only the cast to float32."""
    return Preprocess((0.0,) * channels, (1.0,) * channels, high)


def unit_scale(channels: int, high: float) -> Preprocess:
    """Pixels stored as 0 to high, brought to [0, 1]."""
    return Preprocess((0.0,) * channels, (high,) * channels, high)


def fit(train: Source, split_seed: int, high: float | None = None) -> Preprocess:
    """Mean and standard deviation of each channel or feature of training inputs.

    Taken in float64 over a sample that depends on the split seed alone, by the
    same rule whether the source is in memory or streams, so that both are
    normalised alike. Examples are merged chunk by chunk (Chan et al. 1979).
    """
    first = train.fetch(np.zeros(1, np.int64))["inputs"]
    count = _sample_size(train.size, first[0].size)
    generator = np.random.default_rng([split_seed, SAMPLE])
    chosen = np.sort(generator.choice(train.size, count, replace=False))
    channels = first.shape[-1] if first.ndim > 1 else 1
    total, mean, squares = 0, np.zeros(channels), np.zeros(channels)
    for start in range(0, count, _CHUNK):
        part = train.fetch(chosen[start : start + _CHUNK])["inputs"]
        rows = part.reshape(-1, channels).astype(np.float64)
        part_mean = rows.mean(0)
        part_squares = np.square(rows - part_mean).sum(0)
        shift, merged = part_mean - mean, total + len(rows)
        squares += part_squares + shift**2 * total * len(rows) / merged
        mean += shift * len(rows) / merged
        total = merged
    std = np.sqrt(squares / total)
    # Rounding leaves a constant feature with a deviation of about 1e-16 of its size.
    std = np.where(std > 1e-7 * np.maximum(np.abs(mean), 1e-30), std, 1.0)
    return Preprocess(tuple(mean.tolist()), tuple(std.tolist()), high)


def _sample_size(size: int, values: int) -> int:
    """How many of `size` examples, of `values` numbers each, to look at."""
    return min(size, SAMPLE, max(1_000, SAMPLE_VALUES // max(values, 1)))
