"""A small classifier of a data set, in whose features samples are measured."""

import dataclasses
import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, PyTree

from jaxdl import data as data_room
from jaxdl import models, objectives, optimizers, train
from jaxdl.batch import Batch
from jaxdl.models.apply import forward, in_batches
from jaxdl.sample_metrics import FrechetDistance, frechet_distance

# Two convolutions, each pooled, and the layer whose outputs are the features.
FEATURES = 64
_BLOCKS = (((16, 3, 1),), ((32, 3, 1),))
STEPS, BATCH, RATE = 1000, 64, 2e-3
LOOK_BATCH = 256


@dataclasses.dataclass(frozen=True, eq=False)  # the identity is what jit goes by
class FeatureClassifier:
    """A trained classifier.

    Attributes:
      model: a Flax module.
      preprocess: of its inputs.
      variables: its parameters.
      classes: how many.
      accuracy: on the validation part.
      seconds: that its training took.
    """

    model: Any
    preprocess: Any
    variables: PyTree
    classes: int
    accuracy: float
    seconds: float

    def look(
        self, variables: PyTree, images: Num[Array, "batch height width channels"]
    ) -> tuple[Float[Array, "batch features"], Float[Array, "batch classes"]]:
        """Features (before their activation, where they are closest to normal) and
        logits of images in the stored scale; pure."""
        inputs = self.preprocess.apply(images)
        outputs = models.layer_outputs(self.model, variables, inputs)
        return outputs["Dense_0"], outputs["output"]

    def seen(
        self,
        images: Num[np.ndarray, "images height width channels"],
        variables: PyTree = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Features and logits of stored images, in batches; by the parameters given,
        else by its own."""
        given = self.variables if variables is None else variables
        # Whole batches of one type, so that one program looks at all images.
        whole = np.zeros(
            (-(-len(images) // LOOK_BATCH) * LOOK_BATCH, *images.shape[1:])
        )
        whole = whole.astype(np.float32)
        whole[: len(images)] = images
        found = in_batches(partial(_look, self, given), whole, LOOK_BATCH)
        return jax.tree.map(lambda rows: rows[: len(images)], found)


@partial(jax.jit, static_argnums=0)
def _look(classifier: FeatureClassifier, variables: PyTree, images: Array) -> Any:
    return classifier.look(variables, images)


def distance(
    real: Float[np.ndarray, "images features"],
    other: Float[np.ndarray, "others features"],
) -> float:
    """The Frechet distance of two sets of features, as a run's evaluation has it."""
    sums = [
        frechet_distance(jnp.asarray(rows), jnp.asarray(rows), jnp.ones(len(rows)))[:3]
        for rows in (real, other)
    ]
    return float(FrechetDistance(*sums[0], *sums[1]).read())


def check_images(data: Any) -> None:
    """Refuse a ``Dataset`` whose samples no classifier could measure.

    Raises:
      ValueError: the data are no images, or have no classes.
    """
    if len(data.input_shape) != 3 or data.preprocess.high is None or not data.classes:
        raise ValueError(
            f"{data.name} has examples of shape {list(data.input_shape)} in "
            f"{len(data.classes)} classes: images [height, width, channels] from 0 to "
            "1 or 255 are needed, in classes by which samples can be told apart."
        )


def train_classifier(data: Any, seed: int) -> FeatureClassifier:
    """A small CNN, trained for 1,000 steps; a function of data and seed alone.

    Args:
      data: a ``Dataset`` of images with class names.
      seed: of parameters and batches.

    Raises:
      ValueError: see ``check_images``.
    """
    check_images(data)
    began = time.perf_counter()
    model = models.create(
        "cnn",
        classes=len(data.classes),
        blocks=_BLOCKS,
        hidden=(FEATURES,),
        batch_norm=False,
    )
    objective = objectives.classification(
        forward(model), prepare=partial(_prepare, data.preprocess)
    )
    optimizer = optimizers.make("adam")
    rate = optimizers.schedule("cosine", STEPS)
    step = train.make_step(objective, optimizer, schedules={"learning_rate": rate})

    def create(seed: Any) -> train.State:
        example = jnp.zeros((1, *data.input_shape))
        params, state = models.init(model, jax.random.key(seed), example)
        numbers = {"learning_rate": RATE}
        return train.create_state(params, optimizer, state, hyper=numbers, seed=seed)

    size = min(BATCH, data.train.size)
    with data_room.feed(data.train, size, seed) as feed:
        fitted = train.fit(jax.jit(create)(seed), step, feed, steps=STEPS)
    validation = data_room.evaluation_feed(
        data.validation, min(LOOK_BATCH, data.validation.size)
    )
    measured = train.measure(objective, validation)(fitted.state)
    return FeatureClassifier(
        model=model,
        preprocess=data.preprocess,
        variables={"params": fitted.state.params},
        classes=len(data.classes),
        accuracy=measured["accuracy"],
        seconds=time.perf_counter() - began,
    )


def _prepare(preprocess: Any, batch: Batch, key: Any, training: bool) -> Batch:
    del key, training
    return {**batch, "inputs": preprocess.apply(batch["inputs"])}
