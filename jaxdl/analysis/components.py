"""Principal components and clusters: what is in the inputs, without labels."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

Table = Float[Array, "examples features"]


class PCA(NamedTuple):
    """Principal components (Pearson 1901): directions of most variance.

    Attributes:
      mean: [features].
      components: [components, features], orthonormal, of falling variance. The largest
        entry of each is positive, which makes their sign unique.
      variance: [components], along each of them, unbiased.
      ratio: [components], their share of the variance of all features.
    """

    mean: Float[Array, " features"]
    components: Float[Array, "components features"]
    variance: Float[Array, " components"]
    ratio: Float[Array, " components"]

    def transform(self, x: Table) -> Float[Array, "examples components"]:
        """Coordinates along the components; uncorrelated on what was fitted."""
        return (x - self.mean) @ self.components.T

    def inverse(self, z: Float[Array, "examples components"]) -> Table:
        """The nearest point with these coordinates: what compression keeps of x."""
        return z @ self.components + self.mean


def pca(x: Table, components: int | float | None = None) -> PCA:
    """Fits principal components; may be jitted where ``components`` is no share.

    Of more examples than features the covariance is decomposed, a matrix of features
    squared; of fewer, the examples are, by singular values.

    Args:
      x: [examples, features], two examples or more.
      components: how many; or, as a float in (0, 1), the share of the variance to be
        explained; None for all.

    Raises:
      ValueError: a number out of range.
    """
    x = jnp.asarray(x)
    examples, features = x.shape
    most = min(examples, features)
    share = isinstance(components, float)
    if components is not None and not (
        0 < components < 1 if share else 1 <= components <= most
    ):
        raise ValueError(
            f"{components} components of {examples} examples and {features} features: "
            f"give 1 to {most}, or a share of the variance between 0.0 and 1.0"
        )
    mean = jnp.mean(x, axis=0)
    centred = x - mean
    if examples >= features:
        squares, columns = jnp.linalg.eigh(centred.T @ centred)
        squares, rows = jnp.maximum(squares[::-1], 0), columns.T[::-1]
    else:
        _, values, rows = jnp.linalg.svd(centred, full_matrices=False)
        squares = values**2
    largest = jnp.argmax(jnp.abs(rows), axis=1)
    rows = rows * jnp.sign(jnp.take_along_axis(rows, largest[:, None], axis=1))
    whole = PCA(mean, rows, squares / (examples - 1), squares / jnp.sum(squares))
    if components is None:
        return whole
    count = components_for(whole.ratio, components) if share else int(components)
    return PCA(mean, *(part[:count] for part in whole[1:]))


def components_for(ratio: Float[Any, " components"], share: float) -> int:
    """How many components explain at least this share of the variance."""
    explained = np.cumsum(np.asarray(ratio, np.float64))
    return int(np.searchsorted(explained, share) + 1)


class Clusters(NamedTuple):
    """What k-means found.

    Attributes:
      centres: [clusters, features].
      labels: [examples], the cluster of each.
      inertia: the sum of squared distances to the centres.
      iterations: until nothing changed, or the most allowed.
    """

    centres: Float[Array, "clusters features"]
    labels: Int[Array, " examples"]
    inertia: Float[Array, ""]
    iterations: Int[Array, ""]

    def assign(self, x: Table) -> Int[Array, " examples"]:
        """The cluster whose centre is nearest."""
        return jnp.argmin(_squares(x, self.centres), axis=1)


def k_means(
    x: Table,
    clusters: int,
    key: Key[Array, ""],
    restarts: int = 10,
    most_iterations: int = 300,
) -> Clusters:
    """The best of several runs of Lloyd's algorithm from k-means++ starts.

    Arthur and Vassilvitskii 2007. All restarts run as one vmapped program; may be
    jitted itself.

    Args:
      x: [examples, features]; standardise features of different units.
      clusters: how many.
      key: of the starts.
      restarts: how many runs.
      most_iterations: of each.

    Raises:
      ValueError: more clusters than examples, or none.
    """
    x = jnp.asarray(x)
    if not 1 <= clusters <= len(x):
        raise ValueError(f"{clusters} clusters of {len(x)} examples: give 1 to that")

    def run(key: Key[Array, ""]) -> Clusters:
        return lloyd(x, _spread_out(x, clusters, key), most_iterations)

    found = jax.vmap(run)(jax.random.split(key, restarts))
    best = jnp.argmin(found.inertia)
    return jax.tree.map(lambda leaf: leaf[best], found)


def lloyd(
    x: Table,
    centres: Float[Array, "clusters features"],
    most_iterations: int = 300,
) -> Clusters:
    """k-means from given centres: assign, average, until no label changes.

    A cluster that loses all its examples keeps its centre.
    """

    def assigned(centres: Array) -> Array:
        return jnp.argmin(_squares(x, centres), axis=1)

    def improved(carry: Any) -> Any:
        centres, labels, _, count = carry
        member = jax.nn.one_hot(labels, len(centres), dtype=x.dtype)
        sizes = jnp.sum(member, axis=0)[:, None]
        means = (member.T @ x) / jnp.maximum(sizes, 1)
        centres = jnp.where(sizes > 0, means, centres)
        new = assigned(centres)
        return centres, new, jnp.any(new != labels), count + 1

    start = centres, assigned(centres), jnp.array(True), jnp.array(0)
    centres, labels, _, count = jax.lax.while_loop(
        lambda carry: carry[2] & (carry[3] < most_iterations), improved, start
    )
    inertia = jnp.sum(jnp.square(x - centres[labels]))
    return Clusters(centres, labels, inertia, count)


def _squares(x: Table, centres: Array) -> Float[Array, "examples clusters"]:
    """Squared distances up to what they share: the examples' own squares."""
    return jnp.sum(centres**2, axis=1) - 2 * x @ centres.T


def _spread_out(x: Table, clusters: int, key: Key[Array, ""]) -> Array:
    """k-means++: each next centre is an example drawn in proportion to the square of
    its distance to the nearest so far."""
    first, rest = jax.random.split(key)
    start = x[jax.random.randint(first, (), 0, len(x))]
    centres = jnp.zeros((clusters, x.shape[1]), x.dtype).at[0].set(start)
    nearest = jnp.sum(jnp.square(x - start), axis=1)

    def add(number: Any, carry: Any) -> Any:
        centres, nearest = carry
        draw = jax.random.fold_in(rest, number)
        chosen = x[jax.random.categorical(draw, jnp.log(nearest))]
        nearest = jnp.minimum(nearest, jnp.sum(jnp.square(x - chosen), axis=1))
        return centres.at[number].set(chosen), nearest

    return jax.lax.fori_loop(1, clusters, add, (centres, nearest))[0]
