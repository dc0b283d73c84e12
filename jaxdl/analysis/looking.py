"""What an image network looks at: saliency, Grad-CAM, what excites a unit most, and
how far a unit sees."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jaxtyping import Array, Float, Int

from jaxdl import models
from jaxdl.batch import Context
from jaxdl.models import EVALUATION, forward

Images = Float[Array, "batch height width channels"]
Maps = Float[Array, "batch height width"]
Scores = Callable[[Images], Float[Array, "batch classes"]]


def scores_of(model: Any, variables: Any) -> Scores:
    """The logits of a model in evaluation, as a function of the images alone."""
    variables = dict(variables)
    params = variables.pop("params", {})
    return lambda x: forward(model)(params, variables, x, EVALUATION, None)[0]


def saliency(scores: Scores, images: Images, classes: Int[Array, " batch"]) -> Maps:
    """How much each pixel moves the score of its image's class: |d score / d pixel|,
    the largest over the channels (Simonyan et al. 2014)."""

    def total(x: Images) -> Array:
        chosen = jnp.take_along_axis(scores(x), classes[:, None], axis=1)
        return jnp.sum(chosen)

    return jnp.max(jnp.abs(jax.grad(total)(images)), axis=-1)


def grad_cam(
    model: nn.Module,
    variables: Any,
    images: Images,
    classes: Int[Array, " batch"],
    layer: str,
) -> Maps:
    """Where a layer sees what speaks for a class (Selvaraju et al. 2017, eq. 1 and 2).

    ReLU(sum_k a_k A_k) with the layer's feature maps A and, as weights, their slopes
    averaged over space: a_k = mean(d score / d A_k).

    Args:
      model, variables: a Flax module and ``{"params": ..., ...}``.
      images: [batch, height, width, channels], as the model takes them.
      classes: of each image, the one to be explained.
      layer: path of one that puts out feature maps; the last convolution says most.

    Returns:
      Of the feature maps' size, at least 0.

    Raises:
      ValueError: there is no such layer, or it puts out no maps.
    """
    maps = models.layer_outputs(model, variables, images).get(layer)
    if maps is None or maps.ndim != 4:
        raise ValueError(
            f"layer {layer!r} puts out no feature maps: give one of "
            + ", ".join(convolutions(model, variables, images))
        )

    def total(offset: Array) -> Array:
        with nn.intercept_methods(_adding(layer, offset)):
            scores = scores_of(model, variables)(images)
        return jnp.sum(jnp.take_along_axis(scores, classes[:, None], axis=1))

    slopes = jax.grad(total)(jnp.zeros_like(maps))
    weights = jnp.mean(slopes, axis=(1, 2), keepdims=True)
    return jax.nn.relu(jnp.sum(weights * maps, axis=-1))


def _adding(layer: str, offset: Array) -> Callable[..., Any]:
    """An interceptor that adds to what one layer puts out."""

    def intercept(call: Any, args: Any, kwargs: Any, made: Any) -> Any:
        result = call(*args, **kwargs)
        here = "/".join(made.module.path) == layer and made.method_name == "__call__"
        return result + offset if here else result

    return intercept


def convolutions(
    model: nn.Module, variables: Any, images: Any, context: Context = EVALUATION
) -> tuple[str, ...]:
    """Paths of the layers with a kernel that put out feature maps, in order."""
    shapes = jax.eval_shape(lambda x: x, images)
    rows = models.layer_table(model, variables, shapes, context)
    return tuple(r.path for r in rows if r.kind == "Conv" and len(r.shape) == 4)


def filters(params: Any, layer: str) -> Float[np.ndarray, "filters height width rest"]:
    """The kernels of a convolution, one first: as images where they see 1 or 3
    channels; of more, the mean over the channels."""
    for name in layer.split("/"):
        params = params[name]
    kernel = np.moveaxis(np.asarray(params["kernel"]), -1, 0)
    return kernel if kernel.shape[-1] in (1, 3) else kernel.mean(-1, keepdims=True)


class Excited(NamedTuple):
    """The image that excites a unit most.

    Attributes:
      image: [height, width, channels].
      values: [steps], of the unit on the way.
    """

    image: Float[Array, "height width channels"]
    values: Float[Array, " steps"]


def maximise_activation(
    unit: Callable[[Images], Float[Array, ""]],
    start: Float[Array, "height width channels"],
    steps: int = 100,
    rate: float = 0.1,
    decay: float = 0.01,
) -> Excited:
    """Changes an image until a unit is as excited as can be (Erhan et al. 2009).

    Gradient ascent by Adam on ``unit(image) - decay / 2 |image|^2``; without the decay
    pixels would grow for ever.

    Args:
      unit: images [1, height, width, channels] to a number: a logit, or the mean of a
        feature map.
      start: where to begin: noise, or a real image.
      steps, rate, decay: of the ascent.
    """
    optimizer = optax.adam(rate)

    def cost(image: Array) -> tuple[Array, Array]:
        value = unit(image[None])
        return decay / 2 * jnp.sum(image**2) - value, value

    def step(carry: Any, _: None) -> tuple[Any, Array]:
        image, state = carry
        slopes, value = jax.grad(cost, has_aux=True)(image)
        updates, state = optimizer.update(slopes, state)
        return (optax.apply_updates(image, updates), state), value

    carry = start, optimizer.init(start)
    (image, _), values = jax.lax.scan(step, carry, None, steps)
    return Excited(image, values)


def receptive_field_by_gradient(
    function: Callable[[Images], Float[Array, "batch rows columns channels"]],
    images: Images,
) -> tuple[int, int]:
    """How many rows and columns of pixels the middle output sees: those that it has
    a slope by, for any of the images.

    ReLU and pooling hide some pixels of an image: give several. To be compared with
    ``receptive_field``, the formula; images must be larger than it says.
    """

    def middle(x: Images) -> Array:
        maps = function(x)
        return jnp.sum(maps[:, maps.shape[1] // 2, maps.shape[2] // 2])

    slopes = np.asarray(jax.jit(jax.grad(middle))(images))
    seen = np.any(slopes != 0, axis=(0, 3))
    return _extent(seen.any(axis=1)), _extent(seen.any(axis=0))


def _extent(seen: np.ndarray) -> int:
    places = np.flatnonzero(seen)
    return int(places[-1] - places[0] + 1) if places.size else 0
