"""What goes on in the layers of any model: outputs and gradients, in numbers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from jaxdl import models
from jaxdl.batch import Batch, Context
from jaxdl.models import EVALUATION
from jaxdl.objectives import Objective
from jaxdl.parameters import path_name

# What may stand between a layer and its activation.
NORMS = ("BatchNorm", "LayerNorm", "GroupNorm", "RMSNorm")
# An activation whose slope is below this passes next to no gradient on.
FLAT = 0.01


class Activity(NamedTuple):
    """What a layer puts out, behind its activation, over a batch.

    Attributes:
      layer: its path.
      mean, deviation: over examples and units.
      dead: share of units that are flat for every example, and so learn nothing.
      saturated: share of single outputs at which the activation is flat.
      counts, edges: a histogram: how many outputs lie between one edge and the next.
    """

    layer: str
    mean: float
    deviation: float
    dead: float
    saturated: float
    counts: np.ndarray
    edges: np.ndarray


class GradientActivity(NamedTuple):
    """The loss's gradient in a layer's weights.

    Attributes:
      layer: its path.
      mean, deviation: over the entries.
      norm: of all of them.
      share: the norm relative to that of the weights: how much of themselves a step
        of rate 1 would move.
    """

    layer: str
    mean: float
    deviation: float
    norm: float
    share: float


def weight_layers(
    model: nn.Module, variables: Any, inputs: Any, context: Context = EVALUATION
) -> tuple[str, ...]:
    """Paths of the layers that have a ``kernel``, in order of execution; nothing is
    computed."""
    leaves = jax.tree_util.tree_leaves_with_path(variables["params"])
    kernels = {path_name(path) for path, _ in leaves}
    rows = models.layer_table(model, variables, inputs, context)
    return tuple(row.path for row in rows if f"{row.path}/kernel" in kernels)


def hidden_outputs(
    model: nn.Module,
    variables: Any,
    inputs: Any,
    activation: str,
    context: Context = EVALUATION,
) -> dict[str, tuple[Array, Array]]:
    """(before, behind) the activation for every layer with weights but the last.

    Where a norm comes right after the layer, it belongs to it. Behind a layer that
    the model follows by no activation (in a residual branch) this is what the
    activation would give.
    """
    rows = models.layer_table(model, variables, inputs, context)
    order = [row.path for row in rows]
    kinds = {row.path: row.kind for row in rows}
    function = models.activation(activation)
    outputs = models.layer_outputs(model, variables, inputs, context)
    found = {}
    for layer in weight_layers(model, variables, inputs, context)[:-1]:
        following = order[order.index(layer) + 1 :][:1]
        last = following[0] if following and kinds[following[0]] in NORMS else layer
        before = jax.tree.leaves(outputs[last])[0]
        found[layer] = before, function(before)
    return found


def activation_statistics(
    model: nn.Module,
    variables: Any,
    inputs: Any,
    activation: str = "",
    context: Context = EVALUATION,
    bins: int = 30,
) -> list[Activity]:
    """What every hidden layer of a model puts out for these inputs.

    Args:
      model: a Flax module.
      variables: ``{"params": ..., ...}``.
      inputs: a batch as the model takes it.
      activation: name of the function behind its layers; "" takes the model's field
        of that name, or ReLU.
      context: its mask and positions.
      bins: of the histograms.
    """
    name = activation or getattr(model, "activation", "relu")
    slope = jax.vmap(jax.grad(lambda x: models.activation(name)(x)))

    @jax.jit
    def look(variables: Any, inputs: Any) -> dict[str, Any]:
        hidden = hidden_outputs(model, variables, inputs, name, context)
        return {
            layer: (behind, slope(before.ravel()).reshape(before.shape))
            for layer, (before, behind) in hidden.items()
        }

    found = jax.device_get(look(variables, inputs))
    # A jitted function gives its dict back by name, not in order of execution.
    order = weight_layers(model, variables, inputs, context)[:-1]
    return [_activity(layer, found[layer], bins) for layer in order]


def _activity(layer: str, found: tuple[np.ndarray, np.ndarray], bins: int) -> Activity:
    outputs, slopes = found
    flat = np.abs(slopes) < FLAT
    finite = outputs[np.isfinite(outputs)].astype(np.float64)
    counts, edges = np.histogram(finite, bins)
    return Activity(
        layer=layer,
        mean=float(np.mean(outputs, dtype=np.float64)),
        deviation=float(np.std(outputs, dtype=np.float64)),
        dead=float(np.mean(np.all(flat.reshape(-1, flat.shape[-1]), axis=0))),
        saturated=float(np.mean(flat)),
        counts=counts,
        edges=edges,
    )


def gradient_statistics(
    objective: Objective,
    layers: Sequence[str],
    params: Any,
    batch: Batch,
    *,
    model_state: Mapping[str, Any] | None = None,
    hyper: Mapping[str, Any] | None = None,
    key: Any = None,
    training: bool = True,
) -> list[GradientActivity]:
    """The gradient of a batch's mean loss in the kernel of each layer.

    Args:
      objective: what is minimised.
      layers: paths, as ``weight_layers`` gives them.
      params, batch, model_state, hyper, key, training: as the objective takes them.
    """

    def loss(params: Any) -> Float[Array, ""]:
        (total, count), _ = objective(
            params, dict(model_state or {}), dict(hyper or {}), batch, key, training
        )
        return total / count

    gradients = jax.device_get(jax.jit(jax.grad(loss))(params))
    found = []
    for layer in layers:
        slope = np.asarray(at_path(gradients, layer)["kernel"], np.float64)
        weights = np.asarray(at_path(params, layer)["kernel"], np.float64)
        norm, size = np.linalg.norm(slope), np.linalg.norm(weights)
        found.append(
            GradientActivity(
                layer=layer,
                mean=float(slope.mean()),
                deviation=float(slope.std()),
                norm=float(norm),
                share=float(norm / size) if size else float("nan"),
            )
        )
    return found


def at_path(tree: Any, path: str) -> Any:
    """The part of a parameter tree at a path such as ``stage_0/conv``."""
    for name in path.split("/"):
        tree = tree[name]
    return tree


def forward_stack(
    key: Array,
    inputs: Float[Array, "batch units"],
    scale: Callable[[int], float],
    activation: str,
    layers: int = 5,
) -> list[Float[Array, "batch units"]]:
    """Outputs of layers of as many units as inputs, without biases, one on another.

    The experiment of Glorot and Bengio 2010 as the books have it: how signals spread
    through a network with nothing but initial weights.

    Args:
      key: draws the weights.
      inputs: [batch, units].
      scale: units of a layer to the deviation of its normal weights.
      activation: behind every layer, by name.
      layers: how many.
    """
    units, function = inputs.shape[1], models.activation(activation)
    outputs = []
    for number in range(layers):
        weights = jax.random.normal(jax.random.fold_in(key, number), (units, units))
        inputs = function(inputs @ (scale(units) * weights))
        outputs.append(inputs)
    return outputs


def share_at_ends(
    values: Float[Array, "*shape"], low: float, high: float, width: float = 0.1
) -> float:
    """The share of values within ``width`` of the range's length from either end."""
    margin = width * (high - low)
    near = (values < low + margin) | (values > high - margin)
    return float(jnp.mean(near))
