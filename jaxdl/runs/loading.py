"""Loading a run back: its model, the best parameters, its settings.

A folder made by a stranger executes nothing: names are looked up in jaxdl's own
tables, numbers and arrays are read, and no code.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
from jaxtyping import Array, Float, PyTree

from jaxdl import models
from jaxdl.batch import Context
from jaxdl.data.fitted import from_json
from jaxdl.models.apply import forward
from jaxdl.runs import screen
from jaxdl.runs.flagfile import read_flagfile
from jaxdl.runs.folder import RunFolder, open_folder, read_json
from jaxdl.train.checkpoints import Checkpoints
from jaxdl.train.shapes import shape_difference, shapes


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A trained model and what it needs.

    Attributes:
      folder: the run's.
      experiment: its name.
      model: the Flax module.
      params: the best ones (their moving average where the run kept one).
      model_state: the model's other collections.
      step: at which they were best.
      preprocess: what was fitted on the training part.
      classes: their names.
      input_shape: of one example; () where its inputs are several arrays.
      settings: flag to value, as text.
    """

    folder: RunFolder
    experiment: str
    model: Any
    params: PyTree
    model_state: PyTree
    step: int
    preprocess: Any
    classes: tuple[str, ...]
    input_shape: tuple[int, ...]
    settings: dict[str, str]

    def __call__(self, inputs: Any) -> Float[Array, "batch classes"]:
        """Outputs (logits, or values) for inputs [batch, ...] as they are stored in
        the data set; of a table, columns by name."""
        applied = self.preprocess.apply(inputs)
        apply = forward(self.model)
        outputs, _ = apply(self.params, self.model_state, applied, Context(), None)
        # What was standardised or made relative for the network is made whole again.
        restore = getattr(self.preprocess, "restore", None)
        return outputs if restore is None else restore(outputs, inputs)


def load(folder: str | Path, model: Any = None) -> Loaded:
    """The model of a run with its best parameters.

    Args:
      folder: the run folder.
      model: a module of your own, where the run's is none of jaxdl's.

    Raises:
      FileNotFoundError: there is no such folder, or no checkpoint in it.
      ValueError: the folder holds no run, or one that is broken.
    """
    place = open_folder(folder)
    about = read_json(place.model)
    try:
        if model is None:
            model = models.create(about["model"]["name"], **about["model"]["arguments"])
        example = models.example(about["input"])
        preprocess = from_json(about["preprocess"])
        classes = tuple(str(name) for name in about["classes"])
        expected = jax.eval_shape(
            lambda: models.init(model, jax.random.key(0), example)
        )
    # What a stranger describes may break a model anywhere.
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ValueError(f"{place.model} is broken: {reason}") from error
    step, params, model_state = _best(place, expected)
    return Loaded(
        folder=place,
        experiment=str(about.get("experiment", "")),
        model=model,
        params=params,
        model_state=model_state,
        step=step,
        preprocess=preprocess,
        classes=classes,
        input_shape=tuple(getattr(example, "shape", (1,))[1:]),
        settings=read_flagfile(place.flags),
    )


def _best(folder: RunFolder, expected: Any) -> tuple[int, Any, Any]:
    """Step, parameters and model state of the best checkpoint, of which shapes are
    ``expected``."""
    with Checkpoints(folder.states, read_only=True, warn=screen.warn) as checkpoints:
        found = checkpoints.read_best()
    if found is None:
        raise FileNotFoundError(f"{folder.states} holds no checkpoint")
    step, state = found
    params = state.get("ema") or state.get("params")
    model_state = state.get("model_state") or {}
    changed = shape_difference(shapes((params, model_state)), shapes(expected))
    if changed:
        raise ValueError(
            f"checkpoint {folder.states / str(step)} does not fit the model of "
            f"{folder.model.name}: {changed[0]}"
        )
    return step, params, model_state
