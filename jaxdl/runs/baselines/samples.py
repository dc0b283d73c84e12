"""Baselines of generators of images, in the features that samples are measured by."""

from typing import Any

import numpy as np

from jaxdl.runs.feature_classifier import FeatureClassifier, distance
from jaxdl.sample_metrics import covered
from jaxdl.train.task import Figures

# More would take longer and change little.
IMAGES = 10_000


def samples(
    data: Any, classifier: FeatureClassifier, untrained: Any
) -> dict[str, Figures]:
    """``frechet_distance`` and ``class_coverage`` against the test part of as many

    - ``untrained``: samples of the generator before its first step;
    - ``independent_pixels``: images whose pixels are each taken from a training image
      of its own;
    - ``training_images``: what no generator of new images goes much below.

    Args:
      data: a ``Dataset`` of images.
      classifier: trained on it.
      untrained: count to so many stored samples.
    """
    count = min(data.test.size, IMAGES)
    real = data.test.fetch(np.arange(count))["inputs"]
    features, _ = classifier.seen(real)
    train = data.train.fetch(np.arange(min(data.train.size, count)))["inputs"]
    others = {
        "untrained": untrained(count),
        "independent_pixels": _independent(train, count),
        "training_images": train,
    }
    figures = {}
    for name, images in others.items():
        seen, logits = classifier.seen(images)
        counts = np.bincount(np.argmax(logits, axis=-1), minlength=logits.shape[-1])
        figures[name] = {
            "frechet_distance": distance(features, seen),
            "class_coverage": float(np.mean(covered(counts))),
        }
    return figures


def _independent(images: np.ndarray, count: int) -> np.ndarray:
    """Each pixel (of all channels) from an image drawn for it alone."""
    height, width = images.shape[1:3]
    drawn = np.random.default_rng(0).integers(len(images), size=(count, height, width))
    return images[drawn, np.arange(height)[:, None], np.arange(width)]
