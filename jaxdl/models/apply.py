"""One calling form for every model: Flax modules and plain functions alike."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxdl.batch import Context

Params = Any
ModelState = dict[str, Any]
Model = nn.Module | Callable[..., Any]
Forward = Callable[
    [Params, Mapping[str, Any], Any, Context, jax.Array | None],
    tuple[Any, ModelState],
]

# What a model is told when nothing is said: evaluation, nothing masked.
EVALUATION = Context()

# Values of one example; a description of more is a mistake, or meant to harm.
_LARGEST_EXAMPLE = 2**28

# How modules of others ask whether this is training, and what to answer.
_TRAINING_NAMES: dict[str, Callable[[bool], bool]] = {
    "train": lambda training: training,
    "training": lambda training: training,
    "is_training": lambda training: training,
    "deterministic": lambda training: not training,
}


def forward(model: Model, method: str = "__call__") -> Forward:
    """The pure function that runs a model.

    ``run(params, model_state, inputs, context, key) -> (outputs, model_state)``. In
    training the model state's collections are updated and ``key`` (if given) feeds
    dropout; in evaluation nothing changes and no key is needed.

    Args:
      model: a Flax module whose method takes the inputs, and ``context`` if it
        wants it (or ``train``, ``training``, ``is_training``, ``deterministic``,
        which are told from it); or a function ``f(params, inputs)``, with
        ``context`` as well if it wants it.
      method: which of a module's methods (an autoencoder's ``encode``).
    """
    if not isinstance(model, nn.Module):
        extra = _arguments(model)
        return lambda params, model_state, inputs, context, key: (
            model(params, inputs, **extra(context)),
            dict(model_state),
        )
    extra = _arguments(getattr(model, method))

    def run(
        params: Params,
        model_state: Mapping[str, Any],
        inputs: Any,
        context: Context,
        key: jax.Array | None,
    ) -> tuple[Any, ModelState]:
        variables = {"params": params, **model_state}
        arguments = extra(context)
        if not context.training:
            outputs = model.apply(variables, inputs, method=method, **arguments)
            return outputs, dict(model_state)
        outputs, updated = model.apply(
            variables,
            inputs,
            method=method,
            **arguments,
            rngs=None if key is None else {"dropout": key},
            mutable=list(model_state),
        )
        return outputs, {**model_state, **updated}

    return run


def init(
    model: nn.Module, key: jax.Array, example_inputs: Any
) -> tuple[Params, ModelState]:
    """Initial parameters and model state; may be jitted.

    Args:
      model: a Flax module.
      key: decides the parameters.
      example_inputs: inputs of the right shapes; their values don't matter, and a
        batch of one is enough.
    """
    arguments = _arguments(model.__call__)(EVALUATION)
    variables = dict(model.init(key, example_inputs, **arguments))
    return variables.pop("params", {}), variables


def example(spec: Mapping[str, Any]) -> Any:
    """Inputs of one example, all zeros, of a spec ``{"shape": [...], "dtype": ...}``,
    or a dict of such by name.

    Raises:
      KeyError, TypeError, ValueError: it is neither.
    """
    if "shape" in spec:
        shape = tuple(int(size) for size in spec["shape"])
        if math.prod(shape) > _LARGEST_EXAMPLE:
            raise ValueError(f"an example of shape {list(shape)} is too large")
        return jnp.zeros((1, *shape), np.dtype(spec.get("dtype", "float32")))
    if not spec:
        raise ValueError("the spec of the inputs is empty")
    return {name: example(part) for name, part in spec.items()}


def in_batches(function: Callable[[Any], Any], rows: Any, size: int) -> Any:
    """``function`` of all rows, a batch at a time, as NumPy.

    All batches are of one size, so that a jitted function is compiled once; the last
    is padded with zeros, whose results are dropped.

    Args:
      function: rows to a row each, or to a pytree of such.
      rows: [rows, ...], at least one.
      size: of a batch, where there are so many rows.
    """
    rows = np.asarray(rows)
    size = min(size, len(rows))
    parts = []
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        padding = [(0, size - len(part))] + [(0, 0)] * (rows.ndim - 1)
        parts.append(jax.device_get(function(np.pad(part, padding))))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(rows)], *parts)


def _arguments(function: Callable) -> Callable[[Context], dict[str, Any]]:
    """What of the context a model's signature asks for, by keyword."""
    names = inspect.signature(function).parameters
    if "context" in names:
        return lambda context: {"context": context}
    told = {name: tell for name, tell in _TRAINING_NAMES.items() if name in names}
    return lambda context: {name: tell(context.training) for name, tell in told.items()}
