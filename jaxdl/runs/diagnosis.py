"""What a network's layers look like from inside: spread, gradients, dead units."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxdl import models
from jaxdl.analysis import activity
from jaxdl.batch import Batch
from jaxdl.train import Objective, State

Layers = tuple[str, ...]


def weight_layers(model: Any, state: State, inputs: Any) -> Layers:
    """Paths of the layers that have a ``kernel``, in order of execution.

    Args:
      model: a Flax module.
      state: its state, or the shapes of it.
      inputs: inputs of the right shapes, or their shapes.
    """
    variables = {"params": state.params, **state.model_state}
    return activity.weight_layers(model, variables, inputs)


def output_deviations(
    model: Any, layers: Layers, state: State, inputs: Array
) -> Float[Array, " layers"]:
    """Standard deviation of what each layer puts out, over examples and units.

    Of the layer itself, before its activation; in evaluation, so that batch norm
    uses its running averages.
    """
    outputs = _outputs(model, state, inputs)
    return jnp.stack([jnp.std(outputs[name]) for name in layers])


def mean_loss(
    objective: Objective, state: State, params: Any, batch: Batch
) -> Float[Array, ""]:
    """The loss of a batch while training, with these parameters in the state."""
    (total, count), _ = objective(
        params, state.model_state, state.hyper, batch, state.key, True
    )
    return total / count


def gradient_norms(
    objective: Objective, layers: Layers, state: State, batch: Batch
) -> Float[Array, " layers"]:
    """Norm of the mean loss's gradient in each layer's kernel, while training."""

    gradients = jax.grad(partial(mean_loss, objective, state))(state.params, batch)
    return jnp.stack(
        [
            jnp.linalg.norm(activity.at_path(gradients, name)["kernel"])
            for name in layers
        ]
    )


def dead_share(
    model: Any, layers: Layers, state: State, inputs: Array
) -> Float[Array, ""]:
    """The share of units whose output is at or below 0 for every example.

    Behind such a unit a ReLU passes nothing on and no gradient back. Count hidden
    layers only: an output has no ReLU.
    """
    outputs = _outputs(model, state, inputs)
    dead = [
        jnp.all(outputs[name] <= 0, axis=tuple(range(outputs[name].ndim - 1)))
        for name in layers
    ]
    return jnp.mean(jnp.concatenate(dead).astype(jnp.float32))


def units_identical(layers: Layers, state: State) -> Bool[Array, ""]:
    """Whether in every layer all units have exactly the same weights and bias."""
    same = [
        jnp.all(leaf == leaf[..., :1])
        for name in layers
        for leaf in jax.tree.leaves(activity.at_path(state.params, name))
    ]
    return jnp.all(jnp.stack(same))


def _outputs(model: Any, state: State, inputs: Array) -> dict[str, Array]:
    variables = {"params": state.params, **state.model_state}
    return models.layer_outputs(model, variables, inputs)
