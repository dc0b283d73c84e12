"""Baselines of autoencoders: pixels that know nothing of each other, and PCA."""

import numpy as np
from jaxtyping import Float, Num

from jaxdl.runs import analysis
from jaxdl.train.task import Figures

# The covariance of more pixels would take too much memory.
MOST_PIXELS = 4_096

Images = Float[np.ndarray, "examples *image"]


def autoencoding(
    train: tuple[Images, Num[np.ndarray, " examples"]],
    test: tuple[Images, Num[np.ndarray, " tests"]],
    latents: int,
    *,
    binary: bool,
    classes: bool,
) -> dict[str, Figures]:
    """What to be better than at reconstructing images from so many latents.

    ``independent_pixels`` has ``negative_elbo``. ``pca``, with as many components as
    there are latents, has ``knn_accuracy`` where there are classes, and where pixels
    are not binary ``negative_elbo`` (probabilistic PCA, Tipping and Bishop 1999: the
    best that an autoencoder without hidden layers could do). Without latents to draw
    the bound is the negative log-likelihood itself, in nats an image.

    Args:
      train, test: images in [0, 1] and their targets.
      latents: at least 1.
      binary: whether pixels are 0 or 1.
      classes: whether targets are classes.
    """
    from sklearn.decomposition import PCA

    a, b = (images.reshape(len(images), -1) for images, _ in (train, test))
    cost = _bernoulli_cost if binary else _gaussian_cost
    figures = {"independent_pixels": {"negative_elbo": cost(a, b)}}
    pca: Figures = {}
    if a.shape[1] <= MOST_PIXELS:
        model = PCA(min(latents, *a.shape), random_state=0).fit(a)
        if not binary:
            pca["negative_elbo"] = -float(model.score(b))
        if classes:
            pca["knn_accuracy"] = analysis.knn_accuracy(
                model.transform(a), train[1], model.transform(b), test[1]
            )
    return {**figures, "pca": pca} if pca else figures


def _bernoulli_cost(
    train: Float[np.ndarray, "examples pixels"],
    test: Float[np.ndarray, "tests pixels"],
) -> float:
    """Each pixel is 1 with the share it had in training, half an example of either
    kind added: no pixel is certain."""
    sums = np.sum(train, axis=0, dtype=np.float64)
    share = (sums + 0.5) / (len(train) + 1)
    ones = np.mean(test, axis=0, dtype=np.float64)
    return float(-np.sum(ones * np.log(share) + (1 - ones) * np.log(1 - share)))


def _gaussian_cost(
    train: Float[np.ndarray, "examples pixels"],
    test: Float[np.ndarray, "tests pixels"],
) -> float:
    """Each pixel has the mean it had in training, all have one variance."""
    mean = np.mean(train, axis=0, dtype=np.float64)
    variance = max(float(np.mean(np.square(train - mean))), 1e-12)
    errors = np.mean(np.square(test - mean)) / variance
    return float(train.shape[1] / 2 * (errors + np.log(2 * np.pi * variance)))
