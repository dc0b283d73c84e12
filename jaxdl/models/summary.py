"""A model seen from outside: its layers, what they compute, its parameters."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
from flax import linen as nn

from jaxdl.batch import Context
from jaxdl.models.apply import EVALUATION, Model, forward


class LayerRow(NamedTuple):
    """One layer in a model's table.

    Attributes:
      path: its place, as in the parameters: "stage_0_block_0/conv_0/conv".
      kind: its class, as "Conv".
      shape: of its output, batch first.
      parameters: how many numbers it learns itself, those of inner layers left out.
    """

    path: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


def count_parameters(params: Any) -> int:
    """How many numbers a tree of parameters (or of their shapes) holds."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def layer_outputs(
    module: Model, variables: Any, inputs: Any, context: Context = EVALUATION
) -> dict[str, Any]:
    """What each layer computes, by path; may be jitted.

    For histograms of activations, feature maps and the like. Of a layer that runs
    twice the last output is kept; activation functions are no layers.

    Args:
      module: a Flax module.
      variables: its parameters and model state, ``{"params": ..., ...}``.
      inputs: as the module takes them.
      context: its mask and positions; dropout needs a key and stays off.
    """
    return _traced(module, variables, inputs, context)[0]


def layer_table(
    module: nn.Module, variables: Any, example: Any, context: Context = EVALUATION
) -> list[LayerRow]:
    """A row for every layer without inner layers, in order of execution.

    Nothing is computed: arrays or their shapes will do for variables and example.
    Rows with parameters of their own are kept too, so that the column adds up to
    the model's parameters.
    """
    kinds: dict[str, str] = {}

    def shapes(variables: Any, example: Any) -> dict[str, Any]:
        outputs, found = _traced(module, variables, example, context)
        kinds.update(found)
        return outputs

    outputs = jax.eval_shape(shapes, variables, example)
    rows = []
    for path, kind in kinds.items():  # JAX sorts the outputs, this is as they ran
        inner = any(other.startswith(f"{path}/") for other in kinds)
        own = _own_parameters(variables.get("params", {}), path)
        if own or not inner:
            leaves = jax.tree.leaves(outputs[path])
            shape = tuple(leaves[0].shape) if leaves else ()
            rows.append(LayerRow(path, kind, shape, own))
    return rows


def _traced(
    module: Model, variables: Any, inputs: Any, context: Context
) -> tuple[dict[str, Any], dict[str, str]]:
    """Outputs and class names of the inner modules as they run."""
    outputs: dict[str, Any] = {}
    kinds: dict[str, str] = {}

    def record(call: Any, args: Any, kwargs: Any, made: Any) -> Any:
        result = call(*args, **kwargs)
        path = "/".join(made.module.path)
        if made.method_name == "__call__" and path:
            outputs[path] = result
            kinds[path] = type(made.module).__name__
        return result

    variables = dict(variables)
    params = variables.pop("params", {})
    with nn.intercept_methods(record):
        forward(module)(
            params,
            variables,
            inputs,
            dataclasses.replace(context, training=False),
            None,
        )
    return outputs, kinds


def _own_parameters(params: Any, path: str) -> int:
    """The size of the arrays directly at a path of the parameter tree."""
    for name in path.split("/"):
        params = params.get(name, {})
    return count_parameters([v for v in params.values() if hasattr(v, "shape")])
