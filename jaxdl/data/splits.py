"""How examples are divided: training, validation and test parts, and folds.

A split depends on the split seed alone, never on the seed of the training.
"""

import numpy as np

# Examples -> the fraction held out for each of validation and test. Between the
# knots the fraction is interpolated on logarithmic axes, so that it shrinks
# smoothly while the number held out keeps growing: 60/20/20 up to 20,000
# examples, 98/1/1 at a million, 99.5/.25/.25 from ten millions on.
KNOTS: tuple[tuple[int, float], ...] = (
    (20_000, 0.20),
    (1_000_000, 0.01),
    (10_000_000, 0.0025),
)

# Up to this size classes are shared out evenly; in larger sets chance does it
# well enough, and reading every label of a set that streams would take long.
STRATIFY_UP_TO = 20_000


def held_out_fraction(size: int) -> float:
    """The fraction of `size` examples held out for one part; see `KNOTS`."""
    sizes, fractions = np.array(KNOTS).T
    return float(np.exp(np.interp(np.log(size), np.log(sizes), np.log(fractions))))


def split_sizes(
    size: int, has_test: bool = False, validation_fraction: float | None = None
) -> tuple[int, int, int]:
    """How many examples train, validate and test.

    Args:
      size: examples to divide.
      has_test: the set has a test part of its own, so none is cut (its 0 here).
      validation_fraction: of `size`, in (0, 1); by `KNOTS` if None. The test part
        always follows `KNOTS`.

    Returns:
      (train, validation, test), which add up to `size`.

    Raises:
      ValueError: a fraction outside (0, 1), or a part that would be empty.
    """
    policy = held_out_fraction(max(size, 1))
    fraction = policy if validation_fraction is None else validation_fraction
    if not 0.0 < fraction < 1.0:
        raise ValueError(
            f"--validation_fraction={fraction:g} is not allowed; give a fraction "
            "between 0 and 1, such as 0.2"
        )
    validation = round(size * fraction)
    test = 0 if has_test else round(size * policy)
    train = size - validation - test
    if train < 1 or validation < 1 or (test < 1 and not has_test):
        parts = "training and validation" if has_test else "training, validation, test"
        raise ValueError(
            f"{size} examples can't be divided into {parts} with {fraction:g} of them "
            "for validation; give more examples or another --validation_fraction"
        )
    return train, validation, test


def split(
    size: int,
    sizes: tuple[int, int, int],
    seed: int,
    labels: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the parts; indices of each in ascending order.

    Args:
      size: examples to divide.
      sizes: of training, validation and test, adding up to `size`.
      seed: the split seed.
      labels: [size] class indices, to give every part its share of each class
        to within one example; None to leave it to chance.

    Raises:
      ValueError: sizes that don't add up, or a negative seed.
    """
    if sum(sizes) != size or min(sizes) < 0:
        raise ValueError(f"split sizes {sizes} don't add up to {size} examples")
    order = _generator(seed).permutation(size)
    if labels is not None:
        order = _interleave(order, np.asarray(labels))
    parts = np.split(order, np.cumsum(sizes)[:2])
    return tuple(np.sort(part) for part in parts)  # type: ignore[return-value]


def kfold(
    size: int, k: int, seed: int, labels: np.ndarray | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """K-fold cross-validation: k pairs of (training, held out) indices.

    Every example is held out exactly once; folds differ by one example at most.

    Args:
      size: examples to divide.
      k: how many folds.
      seed: the split seed.
      labels: [size] class indices, to give every fold its share of each class; None
        to leave it to chance.

    Raises:
      ValueError: k below 2 or above `size`.
    """
    if not 2 <= k <= size:
        raise ValueError(f"{k} folds of {size} examples; allowed are 2 to {size} folds")
    order = _generator(seed).permutation(size)
    if labels is not None:
        order = _interleave(order, np.asarray(labels))
    folds = np.array_split(order, k)
    return [
        (np.sort(np.concatenate(folds[:i] + folds[i + 1 :])), np.sort(folds[i]))
        for i in range(k)
    ]


def _interleave(order: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Reorder so that any stretch holds the classes in their proportions.

    Each example takes its place at (rank within its class + 1/2) / class size;
    cutting that order anywhere cuts every class at the same fraction.
    """
    by_class = order[np.argsort(labels[order], kind="stable")]
    counts = np.unique(labels, return_counts=True)[1]
    places = np.concatenate([(np.arange(n) + 0.5) / n for n in counts])
    # Examples of equal place (classes of equal size) keep the drawn order,
    # rather than that of their class numbers.
    drawn = np.empty_like(order)
    drawn[order] = np.arange(len(order))
    return by_class[np.lexsort((drawn[by_class], places))]


def _generator(seed: int) -> np.random.Generator:
    if seed < 0:
        raise ValueError(f"--split_seed={seed} is negative; give 0 or more")
    return np.random.default_rng(seed)
