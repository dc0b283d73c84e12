"""Features of a table: made comparable, completed, chosen.

Arrays [examples, features] in, arrays out; what is fitted is a NamedTuple of arrays, so
that it is a pytree and its ``apply`` runs under jit, on a device, over folds by vmap.
Each equals its scikit-learn twin.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num, Shaped

Table = Float[Array, "examples features"]
STATISTICS = ("mean", "median", "most_frequent")
SCORES = ("f_classif", "f_regression", "correlation", "mutual_information")


class Standardiser(NamedTuple):
    """(x - mean) / deviation, feature by feature.

    Attributes:
      mean, deviation: [features]; the deviation of a constant feature is 1.
    """

    mean: Float[Array, " features"]
    deviation: Float[Array, " features"]

    def apply(self, x: Table) -> Table:
        """Standardised."""
        return (x - self.mean) / self.deviation

    def invert(self, x: Table) -> Table:
        """In the features' own units again."""
        return x * self.deviation + self.mean


def standardise(x: Table) -> Standardiser:
    """Fits mean and (biased) deviation; scikit-learn's ``StandardScaler``."""
    x = jnp.asarray(x)
    deviation = jnp.std(x, axis=0)
    # Rounding leaves a constant column a deviation of about 1e-7 of its mean.
    least = 10 * jnp.finfo(x.dtype).eps * jnp.abs(jnp.mean(x, axis=0))
    return Standardiser(
        jnp.mean(x, axis=0), jnp.where(deviation > least, deviation, 1.0)
    )


class Imputer(NamedTuple):
    """What stands in for a missing value.

    Attributes:
      values: [features].
    """

    values: Float[Array, " features"]

    def apply(self, x: Table) -> Table:
        """NaN replaced, feature by feature."""
        return jnp.where(jnp.isnan(x), self.values, x)

    def missing(self, x: Table) -> Bool[Array, "examples features"]:
        """Where something was missing, which is often worth a feature of its own."""
        return jnp.isnan(x)


def impute(x: Table, statistic: str = "median") -> Imputer:
    """Fits what replaces NaN; scikit-learn's ``SimpleImputer``. 0 for a feature that is
    missing everywhere.

    Args:
      x: [examples, features], NaN where a value is missing.
      statistic: "mean", "median", or "most_frequent" (the least of several).

    Raises:
      ValueError: another statistic.
    """
    if statistic not in STATISTICS:
        raise ValueError(
            f"unknown statistic {statistic!r}: give one of {', '.join(STATISTICS)}"
        )
    if statistic == "most_frequent":
        return Imputer(jnp.asarray([_most_frequent(c) for c in np.asarray(x).T]))
    x = jnp.asarray(x)
    values = (jnp.nanmean if statistic == "mean" else jnp.nanmedian)(x, axis=0)
    return Imputer(jnp.nan_to_num(values))


def _most_frequent(column: Num[np.ndarray, " examples"]) -> float:
    values, counts = np.unique(column[~np.isnan(column)], return_counts=True)
    return float(values[np.argmax(counts)]) if values.size else 0.0


class Categories(NamedTuple):
    """One-hot encoding of columns of categories; on the host, where text lives.

    Attributes:
      values: of each column, its categories in order.
    """

    values: tuple[Shaped[np.ndarray, " categories"], ...]

    def apply(
        self, x: Shaped[np.ndarray, "examples columns"]
    ) -> Float[np.ndarray, "examples features"]:
        """A 1.0 for the category of each column; none for one that is unknown."""
        columns = np.asarray(x, object).T
        parts = [
            (column[:, None].astype(known.dtype) == known).astype(np.float32)
            for column, known in zip(columns, self.values, strict=True)
        ]
        return np.concatenate(parts, axis=1)

    def invert(
        self, x: Float[np.ndarray, "examples features"]
    ) -> Shaped[np.ndarray, "examples columns"]:
        """The categories again."""
        sizes = np.cumsum([len(known) for known in self.values])[:-1]
        parts = np.split(np.asarray(x), sizes, axis=1)
        columns = [
            known[np.argmax(part, axis=1)]
            for part, known in zip(parts, self.values, strict=True)
        ]
        return np.stack([column.astype(object) for column in columns], axis=1)


def one_hot(x: Shaped[Any, "examples columns"]) -> Categories:
    """Fits the categories of every column; scikit-learn's ``OneHotEncoder`` with
    ``handle_unknown="ignore"``."""
    columns = np.asarray(x, object).T
    return Categories(tuple(np.unique(np.asarray(c.tolist())) for c in columns))


class Selection(NamedTuple):
    """The features that say most of the target, each by itself.

    Attributes:
      chosen: [k], their indices, in order.
      scores: [features], of all.
    """

    chosen: Int[np.ndarray, " chosen"]
    scores: Float[np.ndarray, " features"]

    def apply(self, x: Shaped[Any, "examples features"]) -> Any:
        """The chosen features alone."""
        return x[:, self.chosen]


def select_k_best(
    x: Table,
    targets: Num[Array, " examples"],
    k: int,
    score: str = "f_classif",
    seed: int = 0,
) -> Selection:
    """The k features of the highest scores (the later of equal ones, as
    scikit-learn's ``SelectKBest`` has it; NaN counts least).

    A feature that says something only together with another scores nothing: XOR.

    Args:
      x: [examples, features].
      targets: classes for "f_classif", numbers for "f_regression" and "correlation";
        for "mutual_information" integers are classes and floats are numbers.
      k: how many.
      score: one of ``SCORES``; "correlation" is Pearson's, its absolute value.
      seed: of mutual information's estimate, by nearest neighbours.

    Raises:
      ValueError: another score, or a k that is not 1 to the number of features.
    """
    if score not in SCORES:
        raise ValueError(f"unknown score {score!r}: give one of {', '.join(SCORES)}")
    features = np.shape(x)[1]
    if not 1 <= k <= features:
        raise ValueError(f"k is {k}: there are {features} features, give 1 to that")
    if score == "mutual_information":
        scores = _mutual_information(np.asarray(x), np.asarray(targets), seed)
    elif score == "f_classif":
        scores = np.asarray(f_classif(jnp.asarray(x), np.asarray(targets)))
    elif score == "f_regression":
        scores = np.asarray(f_regression(jnp.asarray(x), jnp.asarray(targets)))
    else:
        scores = np.abs(correlation(jnp.asarray(x), jnp.asarray(targets)))
    ranked = np.where(np.isnan(scores), -np.inf, scores)
    best = np.argsort(ranked, kind="stable")[features - k :]
    return Selection(np.sort(best), scores)


def correlation(
    x: Table, targets: Num[Array, " examples"]
) -> Float[Array, " features"]:
    """Pearson's correlation of each feature with the target; NaN of a constant one."""
    x = x - jnp.mean(x, axis=0)
    y = targets - jnp.mean(targets)
    return (y @ x) / jnp.sqrt(jnp.sum(x**2, axis=0) * jnp.sum(y**2))


def f_regression(
    x: Table, targets: Num[Array, " examples"]
) -> Float[Array, " features"]:
    """F of a line through each feature: r^2 / (1 - r^2) (n - 2)."""
    square = correlation(x, targets) ** 2
    return square / (1 - square) * (len(targets) - 2)


def f_classif(x: Table, classes: Num[np.ndarray, " examples"]) -> Array:
    """F of each feature's analysis of variance: the variance of the classes' means
    over that within the classes."""
    values, member = np.unique(np.asarray(classes), return_inverse=True)
    belongs = jnp.asarray(member[:, None] == np.arange(len(values)), x.dtype)
    counts = jnp.sum(belongs, axis=0)
    means = (belongs.T @ x) / counts[:, None]
    between = counts @ (means - jnp.mean(x, axis=0)) ** 2
    within = jnp.sum((x - belongs @ means) ** 2, axis=0)
    groups = len(values)
    return (between / (groups - 1)) / (within / (len(x) - groups))


def _mutual_information(x: np.ndarray, targets: np.ndarray, seed: int) -> np.ndarray:
    """In nats, estimated by scikit-learn (Kraskov et al. 2004; Ross 2014)."""
    from sklearn import feature_selection

    numbers = targets.dtype.kind == "f"
    names = {True: "mutual_info_regression", False: "mutual_info_classif"}
    return getattr(feature_selection, names[numbers])(x, targets, random_state=seed)
