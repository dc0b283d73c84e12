"""Metrics of generated samples: sums over examples, as all metrics are."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

# A class is covered if it holds at least 1% of the samples; where there are more than
# ten, a tenth of an even share.
COVERED, COVERED_OF_EVEN = 0.01, 0.1


class FrechetDistance(NamedTuple):
    """Frechet distance of two clouds of features, in parts.

    Each cloud is taken for a normal distribution. Of Inception's features this is
    the FID of Heusel et al. 2017, eq. 6; here the features are whatever was given,
    and the figures compare with none but those of the same features and as many
    samples.

    Attributes:
      real_count, real_sum, real_products: examples, the sum of their features
        [features] and of their outer products [features, features].
      count, sum, products: likewise of the generated.
    """

    real_count: Any
    real_sum: Any
    real_products: Any
    count: Any
    sum: Any
    products: Any

    def read(self) -> Any:
        """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)); NaN of fewer than 2 examples."""
        mean, covariance = _moments(self.real_count, self.real_sum, self.real_products)
        other, others = _moments(self.count, self.sum, self.products)
        apart = np.sum(np.square(mean - other), axis=-1)
        spread = np.trace(covariance + others, axis1=-2, axis2=-1)
        # tr (C1 C2)^(1/2) is the sum of the singular values of C1^(1/2) C2^(1/2).
        shared = _root(covariance) @ _root(others)
        finite = np.isfinite(shared).all(axis=(-2, -1))
        shared = np.where(finite[..., None, None], shared, 0.0)
        overlap = np.linalg.svd(shared, compute_uv=False).sum(axis=-1)
        # Rounding may take the distance of equal clouds below 0.
        distance = np.maximum(apart + spread - 2 * overlap, 0.0)
        return np.where(finite, distance, np.nan)


class ClassCoverage(NamedTuple):
    """The share of classes that samples cover (``covered``).

    Attributes:
      counts: [classes], samples that a classifier takes for each.
    """

    counts: Any

    def read(self) -> Any:
        """In [0, 1]; NaN of no samples."""
        some = np.sum(self.counts, axis=-1) > 0
        return np.where(some, np.mean(covered(self.counts), axis=-1), np.nan)


# By their names in JSON, for ``jaxdl.metrics.KINDS``.
KINDS: dict[str, Any] = {
    "frechet_distance": FrechetDistance,
    "class_coverage": ClassCoverage,
}


def covered(counts: Any) -> np.ndarray:
    """Which classes hold enough of the samples: at least 1%, or a tenth of an even
    share where that is less.

    Args:
      counts: [..., classes], how many samples each holds.
    """
    counts = np.asarray(counts, np.float64)
    least = min(COVERED, COVERED_OF_EVEN / counts.shape[-1])
    return (counts >= least * counts.sum(axis=-1, keepdims=True)) & (counts > 0)


def _moments(count: Any, total: Any, products: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean and unbiased covariance, in float64; NaN of fewer than 2 examples."""
    count, total, products = (
        np.asarray(part, np.float64) for part in (count, total, products)
    )
    enough = np.where(count > 1, count, np.nan)
    with np.errstate(invalid="ignore"):
        mean = total / enough[..., None]
        outer = mean[..., :, None] * mean[..., None, :]
        covariance = products / enough[..., None, None] - outer
        return mean, covariance * (enough / (enough - 1))[..., None, None]


def _root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric square root; NaN of what is not finite."""
    finite = np.isfinite(matrix).all(axis=(-2, -1))[..., None, None]
    values, vectors = np.linalg.eigh(np.where(finite, matrix, 0.0))
    scaled = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
    return np.where(finite, scaled @ np.swapaxes(vectors, -1, -2), np.nan)


def frechet_distance(
    real: Float[Array, "batch features"],
    generated: Float[Array, "batch features"],
    mask: Float[Array, " batch"],
) -> FrechetDistance:
    """Of a batch of each; masked rows of both count nothing, even NaN."""
    parts = []
    for features in (real, generated):
        kept = jnp.where(mask[:, None] != 0, features, jnp.zeros_like(features))
        weighted = kept * mask[:, None]
        # Highest: on a GPU the default would round the features to 10 bits.
        products = jnp.matmul(weighted.T, kept, precision="highest")
        parts += [jnp.sum(mask), jnp.sum(weighted, axis=0), products]
    return FrechetDistance(*parts)


def class_coverage(
    classes: Int[Array, " batch"], count: int, mask: Float[Array, " batch"]
) -> ClassCoverage:
    """Of the classes that samples are taken for, out of ``count`` classes."""
    counts = jnp.zeros(count, jnp.int32)
    return ClassCoverage(counts.at[classes].add((mask != 0).astype(jnp.int32)))
