"""What a variational autoencoder is judged by: figures, and pictures of its latents."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdl import train
from jaxdl.batch import Batch, context
from jaxdl.data import evaluation_feed, subset
from jaxdl.data.source import Source
from jaxdl.models.apply import in_batches
from jaxdl.objectives.variational import (
    Autoencoder,
    importance_weighted_bound,
    negative_bound,
)
from jaxdl.runs import analysis, plots
from jaxdl.train.evaluation import EVALUATION_SEED, evaluation_params
from jaxdl.train.task import Figures, Findings, Picture

# Of pictures: images to a row, rows, steps between two images, a side of the grid.
COLUMNS, ROWS, STEPS, SIDE = 16, 8, 10, 20
# Of figures: training examples, neighbours.
EXAMPLES = 10_000
# A latent whose mean varies less says nothing of the image (Burda et al. 2016, 5.2).
ACTIVE_VARIANCE = 0.01
_BATCH, DRAWS = 128, 64

# Latents [rows, latents] to images.
Draw = Callable[[np.ndarray], np.ndarray]


def seen(network: Autoencoder, batch: Batch) -> Batch:
    """The batch as evaluation encodes it."""
    return network.seen(batch, jax.random.key(EVALUATION_SEED), False)


def outputs(
    network: Autoencoder, samples: int, params: Any, model_state: Any, batch: Batch
) -> dict[str, Array]:
    """What evaluation says of each example, by the draws of its position.

    Returns:
      ``latents`` [batch, latents], the mean of q(z | x); ``reconstruction`` and ``kl``
      [batch] in nats; ``importance_weighted_bound`` [batch] if of any samples.
    """
    key = jax.random.key(EVALUATION_SEED)
    batch = seen(network, batch)
    inputs, told = batch["inputs"], context(batch, {}, False)
    bound, _ = negative_bound(network, params, model_state, inputs, told, key)
    posterior, _ = network.encode(params, model_state, inputs, told, None)
    found = {"latents": posterior.mean, **bound._asdict()}
    if samples:
        found["importance_weighted_bound"] = importance_weighted_bound(
            network, params, model_state, inputs, told, key, samples
        )
    return found


@partial(jax.jit, static_argnums=0)
def _averaged(
    network: Autoencoder, params: Any, model_state: Any, stored: Array
) -> dict[str, Array]:
    count = stored.shape[0]
    batch = {
        "inputs": jnp.repeat(stored, DRAWS, axis=0),
        "position": jnp.tile(jnp.arange(DRAWS), count),
    }
    found = outputs(network, 0, params, model_state, batch)
    return jax.tree.map(
        lambda x: x.reshape(count, DRAWS, *x.shape[1:]).mean(axis=1), found
    )


def averaged(
    network: Autoencoder, params: Any, model_state: Any, stored: np.ndarray
) -> dict[str, np.ndarray]:
    """``outputs`` of each stored input, the mean over 64 draws that are the same for
    all of them: no example's figures depend on the others or on its place."""
    function = partial(_averaged, network, params, model_state)
    return in_batches(function, stored, _BATCH // 8)


@partial(jax.jit, static_argnums=0)
def images_seen(network: Autoencoder, batch: Batch) -> Array:
    """The images of a batch as evaluation encodes them."""
    return seen(network, batch)["inputs"]


@partial(jax.jit, static_argnums=0)
def encoded(network: Autoencoder, state: Any, batch: Batch) -> dict[str, Array]:
    """``images`` as they are encoded, and ``latents``, the mean of q(z | x)."""
    batch = seen(network, batch)
    told = context(batch, {}, False)
    params = evaluation_params(state)
    posterior, _ = network.encode(
        params, state.model_state, batch["inputs"], told, None
    )
    return {"images": batch["inputs"], "latents": posterior.mean}


@partial(jax.jit, static_argnums=0)
def _decoded(network: Autoencoder, state: Any, z: Array) -> Array:
    told = context({"inputs": z}, {}, False)
    params = evaluation_params(state)
    return network.decode(params, state.model_state, z, told, None)[0].mean


def decoded(
    network: Autoencoder, state: Any, z: Float[np.ndarray, "rows latents"]
) -> np.ndarray:
    """The mean images [rows, height, width, channels] that latents stand for."""
    return in_batches(partial(_decoded, network, state), z.astype(np.float32), _BATCH)


def findings(
    network: Autoencoder,
    data: Any,
    state: Any,
    found: Mapping[str, np.ndarray],
    source: Source,
) -> Findings:
    """Figures and pictures of the test part.

    Args:
      network, data, state: what was trained, on what, with what outcome.
      found: ``outputs`` of every test example, and their ``targets``.
      source: the test part.

    Returns:
      ``active_latents``; ``importance_weighted_bound`` if of any samples, the mean in
      nats; where there are classes ``knn_accuracy``: how often the five nearest of
      10,000 training examples, by their latents, tell the class of a test example.
    """
    latents = found["latents"]
    active = np.var(latents.astype(np.float64), axis=0) > ACTIVE_VARIANCE
    metrics: Figures = {"active_latents": float(np.sum(active))}
    if "importance_weighted_bound" in found:
        bound = found["importance_weighted_bound"].astype(np.float64)
        metrics["importance_weighted_bound"] = float(np.mean(bound))
    targets = found["targets"]
    if data.classes:
        rows, labels = first(partial(encoded, network, state), data.train, EXAMPLES)
        metrics["knn_accuracy"] = analysis.knn_accuracy(
            rows["latents"], labels, latents, targets
        )
    draw, flat = partial(decoded, network, state), Plane.of(latents)
    place = partial(plots.latent_map, flat.coordinates(latents), targets, data.classes)
    return Findings(
        metrics,
        {
            **show(network, data, source, state, latents.shape[1]),
            "latent_grid.png": partial(_grid, draw, flat),
            "interpolation.png": partial(_interpolation, draw, latents, targets),
            "latent_map.png": partial(place, names=flat.names),
        },
    )


def first(
    function: Callable[[Batch], Any], source: Source, count: int
) -> tuple[Any, np.ndarray]:
    """``function`` of the first examples of a source, and their targets."""
    few = subset(source, np.arange(min(source.size, count)))
    rows = train.predict(
        lambda _, batch: function(batch), None, evaluation_feed(few, _BATCH)
    )
    return rows, few.fetch(np.arange(few.size))["targets"]


def show(
    network: Autoencoder, data: Any, source: Source, state: Any, latents: int
) -> dict[str, Picture]:
    """Samples of the prior, always by the same noise, and the first images of a source
    beside their reconstructions."""
    draw = partial(decoded, network, state)
    return {
        "samples.png": partial(_samples, draw, latents),
        "reconstructions.png": partial(_reconstructions, network, data, source, state),
    }


def _samples(draw: Draw, latents: int, path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal((_BATCH, latents))
    plots.montage(draw(noise), path, columns=COLUMNS)


def _reconstructions(
    network: Autoencoder, data: Any, source: Source, state: Any, path: Path
) -> None:
    """Rows of images as stored, as encoded where that differs, as reconstructed."""
    rows, _ = first(partial(encoded, network, state), source, 2 * COLUMNS)
    count = len(rows["latents"])
    stored = data.preprocess.apply(source.fetch(np.arange(count))["inputs"])
    kinds = [
        np.asarray(stored),
        rows["images"],
        decoded(network, state, rows["latents"]),
    ]
    if np.allclose(kinds[0], kinds[1]):
        del kinds[1]
    # Whole rows of them, where there is one.
    blocks = [
        kind[start : start + COLUMNS]
        for start in range(0, count - count % COLUMNS or count, COLUMNS)
        for kind in kinds
    ]
    plots.montage(np.concatenate(blocks), path, columns=min(COLUMNS, count))


class Plane(NamedTuple):
    """A plane through the space of latents.

    Attributes:
      center: [latents].
      axes: [2, latents], orthonormal.
      deviations: [2], how far it is used along each.
      names: of the axes.
    """

    center: np.ndarray
    axes: np.ndarray
    deviations: np.ndarray
    names: tuple[str, str]

    @classmethod
    def of(cls, latents: Float[np.ndarray, "examples latents"]) -> "Plane":
        """That of the first two principal components; of two latents, all there is,
        by the prior."""
        if latents.shape[1] == 2:
            names = ("first latent", "second latent")
            return cls(np.zeros(2), np.eye(2), np.ones(2), names)
        center = latents.mean(axis=0)
        _, sizes, axes = np.linalg.svd(latents - center, full_matrices=False)
        names = ("first principal component of the latents", "second")
        return cls(center, axes[:2], sizes[:2] / np.sqrt(len(latents)), names)

    def coordinates(self, latents: np.ndarray) -> np.ndarray:
        """[examples, 2]."""
        return (latents - self.center) @ self.axes.T


def _grid(draw: Draw, plane: Plane, path: Path) -> None:
    """Images of a plane's points, by the quantiles of a normal distribution."""
    shares = (np.arange(SIDE) + 0.5) / SIDE
    at = np.array([NormalDist().inv_cdf(share) for share in shares])
    points = np.stack(np.meshgrid(at, at[::-1]), axis=-1).reshape(-1, 2)
    latents = plane.center + points * plane.deviations @ plane.axes
    plots.montage(draw(latents), path, columns=SIDE)


def _interpolation(
    draw: Draw, latents: np.ndarray, targets: np.ndarray, path: Path
) -> None:
    """Images on the line from one test example to one of another class, row by row."""
    rows = []
    for start in range(0, min(2 * ROWS, len(latents)), 2):
        others = np.flatnonzero([np.any(t != targets[start]) for t in targets])
        later = others[others > start]
        end = later[0] if later.size else start
        shares = np.linspace(0, 1, STEPS)[:, None]
        rows.append((1 - shares) * latents[start] + shares * latents[end])
    plots.montage(draw(np.concatenate(rows)), path, columns=STEPS)
