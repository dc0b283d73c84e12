"""The two objectives of a generative adversarial network, one a player.

Goodfellow et al., "Generative adversarial nets", 2014. The discriminator scores
images, high for real ones; the generator makes images of noise that score high.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxdl.batch import Batch, Context, context, example_keys, mask_of
from jaxdl.layers.softplus import softplus
from jaxdl.metrics import Mean
from jaxdl.objectives import losses
from jaxdl.objectives.supervised import (
    Forward,
    Hyper,
    ModelState,
    Objective,
    Params,
    Prepare,
    Result,
    without_padding,
)

Scores = Float[Array, " batch"]
Images = Float[Array, "batch height width channels"]
# draw(keys [batch]) -> latents [batch, latents]
Draw = Callable[[Key[Array, " batch"]], Float[Array, "batch latents"]]

# Which draw a key is for; folded into it, so that uses never share one.
PREPARE, LATENTS, SCORES, PENALTY, LABELS = range(5)


class Game(NamedTuple):
    """What the players minimise, an image at a time.

    Attributes:
      real: (scores of real images, noise of their labels in [0, 1)).
      generated: likewise of generated ones.
      generator: (scores of generated images).
      labelled: whether there are labels that noise could be on.
    """

    real: Callable[[Scores, Scores], Scores]
    generated: Callable[[Scores, Scores], Scores]
    generator: Callable[[Scores], Scores]
    labelled: bool


GAMES: dict[str, Game] = {
    # Goodfellow et al. 2014, sec. 3; sigmoid cross-entropy with the labels 1 and 0.
    "non_saturating": Game(
        real=lambda scores, noise: softplus(-scores) + noise * scores,
        generated=lambda scores, noise: softplus(scores) - noise * scores,
        generator=lambda scores: softplus(-scores),
        labelled=True,
    ),
    # Mao et al. 2017, eq. 9.
    "least_squares": Game(
        real=lambda scores, noise: 0.5 * jnp.square(scores - (1 - noise)),
        generated=lambda scores, noise: 0.5 * jnp.square(scores - noise),
        generator=lambda scores: 0.5 * jnp.square(scores - 1),
        labelled=True,
    ),
    # Lim and Ye 2017; Miyato et al. 2018, eq. 16 and 17.
    "hinge": Game(
        real=lambda scores, _: jax.nn.relu(1 - scores),
        generated=lambda scores, _: jax.nn.relu(1 + scores),
        generator=lambda scores: -scores,
        labelled=False,
    ),
    # Arjovsky et al. 2017; with a penalty weight above 0, Gulrajani et al. 2017.
    "wasserstein": Game(
        real=lambda scores, _: -scores,
        generated=lambda scores, _: scores,
        generator=lambda scores: -scores,
        labelled=False,
    ),
}


class Players(NamedTuple):
    """An objective each. Both take the parameters of both, under these names."""

    generator: Objective
    discriminator: Objective


class Networks(NamedTuple):
    """What plays: pure functions.

    Attributes:
      generate: ``forward(model, "generate")``: latents to images.
      discriminate: ``forward(model, "discriminate")``: images to scores [batch].
      draw: keys of examples to latents.
    """

    generate: Forward
    discriminate: Forward
    draw: Draw


def generated(
    networks: Networks,
    params: Params,
    model_state: ModelState,
    about: Context,
    key: Key[Array, ""],
) -> tuple[Images, ModelState]:
    """An image an example, of latents drawn by its position."""
    latents = networks.draw(_keys(key, LATENTS, about))
    return networks.generate(params, model_state, latents, about, None)


def adversarial(
    networks: Networks,
    *,
    loss: str = "non_saturating",
    prepare: Prepare | None = None,
) -> Players:
    """The objectives of both players.

    Numbers of ``hyper``, each left out where there is none: ``label_noise``, the most
    that is drawn uniformly to move labels towards each other (real 1 - u, generated
    u); ``gradient_penalty``, the weight of (|slope| - 1)^2 at a random place between
    each real and a generated image (Gulrajani et al. 2017, eq. 3), both in training;
    ``dropout``. Each player's model state is changed by its own objective alone.

    Metrics: ``generator_loss`` or ``discriminator_loss``.

    Args:
      networks: of both players.
      loss: a name of ``GAMES``.
      prepare: prepare(batch, key, training) -> batch, inside the step.

    Raises:
      ValueError: an unknown loss.
    """
    if loss not in GAMES:
        raise ValueError(f"unknown loss {loss!r}: give one of {', '.join(GAMES)}")
    game = GAMES[loss]
    return Players(
        generator=partial(_generator, networks, game),
        discriminator=partial(_discriminator, networks, game, prepare),
    )


def _generator(
    networks: Networks,
    game: Game,
    params: Params,
    model_state: ModelState,
    hyper: Hyper,
    batch: Batch,
    key: Any,
    training: bool,
) -> Result:
    """The generator's objective: that what it makes scores high."""
    about = context(batch, hyper, training)
    images, after = generated(networks, params, model_state, about, key)
    key = jax.random.fold_in(key, SCORES)
    scores, _ = networks.discriminate(params, model_state, images, about, key)
    pair = losses.total(game.generator(scores), mask_of(batch))
    state = _changed_by("generator", model_state, after)
    return pair, (state, {"generator_loss": Mean(*pair)})


def _discriminator(
    networks: Networks,
    game: Game,
    prepare: Prepare | None,
    params: Params,
    model_state: ModelState,
    hyper: Hyper,
    batch: Batch,
    key: Any,
    training: bool,
) -> Result:
    """The discriminator's objective: that real images score high, others low."""
    batch = without_padding(batch)
    if prepare is not None:
        prepared = prepare(batch, jax.random.fold_in(key, PREPARE), training)
        batch = without_padding(prepared)
    real, about = batch["inputs"], context(batch, hyper, training)
    images, _ = generated(networks, params, model_state, about, key)
    noise = jnp.zeros((len(real), 2))
    if training and game.labelled and "label_noise" in hyper:
        noise = hyper["label_noise"] * _uniform(key, LABELS, about, 2)
    scores, after = networks.discriminate(
        params,
        model_state,
        _in_pairs(real, images),
        _of_pairs(about),
        jax.random.fold_in(key, SCORES),
    )
    scores = scores.reshape(-1, 2)
    each = game.real(scores[:, 0], noise[:, 0])
    each = each + game.generated(scores[:, 1], noise[:, 1])
    if training and "gradient_penalty" in hyper:
        place = _uniform(key, PENALTY, about, 1)[:, 0]
        slope = partial(_slope, networks.discriminate, params, after, about)
        penalty = jnp.square(slope(_between(real, images, place)) - 1)
        each = each + hyper["gradient_penalty"] * penalty
    pair = losses.total(each, mask_of(batch))
    state = _changed_by("discriminator", model_state, after)
    return pair, (state, {"discriminator_loss": Mean(*pair)})


def _changed_by(player: str, before: ModelState, after: ModelState) -> ModelState:
    """The model state with what belongs to the player as it is after."""
    return {
        name: {
            key: after[name][key] if key == player else value
            for key, value in collection.items()
        }
        for name, collection in before.items()
    }


def _keys(key: Key[Array, ""], use: int, about: Context) -> Key[Array, " batch"]:
    """A key an example, of one use."""
    assert about.position is not None
    return example_keys(jax.random.fold_in(key, use), about.position)


def _uniform(
    key: Key[Array, ""], use: int, about: Context, count: int
) -> Float[Array, "batch count"]:
    """So many numbers in [0, 1) an example."""
    draw = jax.vmap(lambda key: jax.random.uniform(key, (count,)))
    return draw(_keys(key, use, about))


def _in_pairs(real: Images, images: Images) -> Images:
    """Each real image and then the generated one of its place, for a single pass.

    Not all real ones first: of a sharded batch every device keeps its own.
    """
    return jnp.stack([real, images], axis=1).reshape(-1, *real.shape[1:])


def _of_pairs(about: Context) -> Context:
    """The context of ``_in_pairs``: both of a pair have a noise of their own."""
    assert about.position is not None
    return about.replace(
        mask=None if about.mask is None else jnp.repeat(about.mask, 2),
        position=jnp.stack([2 * about.position, 2 * about.position + 1], 1).ravel(),
    )


def _between(real: Images, images: Images, place: Scores) -> Images:
    """Images on the lines from generated (at 0) to real ones (at 1)."""
    place = place.reshape(-1, *(1,) * (real.ndim - 1))
    return place * real + (1 - place) * images


def _slope(
    discriminate: Forward,
    params: Params,
    model_state: ModelState,
    about: Context,
    images: Images,
) -> Scores:
    """The norm of each score's gradient by its image.

    Without dropout, with which it would be the slope of another network each time.
    """
    quiet = about.replace(training=False)

    def score(images: Images) -> Scores:
        return jnp.sum(discriminate(params, model_state, images, quiet, None)[0])

    squares = jnp.square(jax.grad(score)(images))
    total = jnp.sum(squares, axis=tuple(range(1, images.ndim)))
    # The root of 0 has no slope.
    return jnp.sqrt(jnp.maximum(total, 1e-12))
