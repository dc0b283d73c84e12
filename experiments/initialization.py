"""What initial weights do: outputs by layer for each scheme, and training from each.

Histograms of five layers by scheme and activation, before any training; then a ReLU
network on digits from zeros, N(0, 0.01^2), N(0, 1), Xavier and He, all as one program.
About a minute.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import architectures, comparing, flags
from experiments.flags import option
from jaxdl import analysis, models
from jaxdl import data as data_room
from jaxdl.runs import comparison
from jaxdl.runs.families import Family
from jaxdl.runs.folder import RunFolder
from jaxdl.runs.plots import layers

NAME = "initialization"
# Units of a layer to the deviation of its weights (1 / sqrt(n) is Xavier's).
SCHEMES: dict[str, Callable[[int], float]] = {
    "N(0, 1)": lambda units: 1.0,
    "N(0, 0.01²)": lambda units: 0.01,
    "Xavier": lambda units: units**-0.5,
    "He": lambda units: (2 / units) ** 0.5,
}
# Where an activation ends, on both sides or below.
ENDS = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, np.inf)}
# What is drawn of functions that go on for ever, and the largest share that is.
OPEN = {"relu": (0.0, 3.0)}
TOP = 0.15
BEYOND = "The last bar holds all that is beyond it;"
# The loss after 2,000 steps of 128 MNIST images, plain SGD at 0.01 (Saitoh 2016, sec.
# 6.2.4, in its code's output).
BOOKS = {"normal:0.01": "2.305", "xavier": "0.377", "he": "0.286"}
INITIALIZERS = "zeros,normal:0.01,normal,xavier,he"


@dataclasses.dataclass(frozen=True)
class Settings(comparing.ComparisonSettings):
    """What ``initialization`` lets one set."""

    dataset: str = option("digits", "embedded name, TFDS name, npz:PATH, folder:PATH")
    data_dir: str = option("", "where TFDS data sets lie")
    activations: str = option(
        "sigmoid,tanh,relu", "behind the layers of the histograms"
    )
    initializers: str = option(INITIALIZERS, "of the network that is trained")
    hidden_layers: int = option(4, "hidden layers of that network")
    units: int = option(100, "units of each hidden layer")
    steps: int = option(2000, "training steps")
    learning_rate: float = option(0.01, "of plain SGD")
    batch_size: int = option(128, "examples a step")
    seeds: int = option(3, "networks from each initializer")
    seed: int = option(0, "of the histograms")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Outputs by layer, and trained networks.

    Attributes:
      outputs: activation to scheme to the outputs of each layer.
      trained: what ``architectures`` finds of the training.
    """

    outputs: dict[str, dict[str, list[np.ndarray]]]
    trained: architectures.Comparison

    def tables(self) -> list[comparison.Table]:
        """Spread before training; losses after it, beside the books'."""
        rows = [
            _row(activation, scheme, outputs)
            for activation, schemes in self.outputs.items()
            for scheme, outputs in schemes.items()
        ]
        (trained,) = self.trained.tables()
        with_books = dataclasses.replace(
            trained,
            columns=[*trained.columns[:2], "the books, MNIST", *trained.columns[2:]],
            rows=[[*r[:2], BOOKS.get(r[0], ""), *r[2:]] for r in trained.rows],
        )
        spread = comparison.Table(
            "Outputs before training",
            "1,000 examples of N(0, 1) through five layers of 100 units; at the ends: "
            "within a tenth of the range's ends, of ReLU: exactly 0",
            ("activation", "weights", "deviation, layer 1 / 5", "at the ends, 1 / 5"),
            rows,
        )
        return [spread, with_books]

    def to_json(self) -> dict[str, Any]:
        """Deviations by layer, and all that training gave."""
        deviations = {
            activation: {
                scheme: [float(layer.std()) for layer in outputs]
                for scheme, outputs in schemes.items()
            }
            for activation, schemes in self.outputs.items()
        }
        return {"deviations": deviations, **self.trained.to_json()}

    def draw(self, folder: RunFolder) -> dict[str, str]:
        """Histograms by activation; training curves."""
        captions = {}
        for activation, schemes in self.outputs.items():
            name = f"outputs_{activation}.png"
            bounded = np.isfinite(ENDS.get(activation, (np.inf,))).all()
            ends = ENDS[activation] if bounded else OPEN.get(activation, (-3.0, 3.0))
            top = None if bounded else TOP
            layers.histograms(schemes, ends, folder.plots / name, top)
            captions[name] = (
                f"What five layers of {activation} put out, by the initial weights."
                + ("" if bounded else f" {BEYOND} bars are cut at {TOP:.0%}.")
            )
        return captions | self.trained.draw(folder)


def _row(activation: str, scheme: str, outputs: list[np.ndarray]) -> list[str]:
    first, last = outputs[0], outputs[-1]
    low, high = ENDS.get(activation, (-np.inf, np.inf))

    def at_ends(values: np.ndarray) -> str:
        if np.isfinite([low, high]).all():
            return f"{analysis.share_at_ends(jnp.asarray(values), low, high):.0%}"
        return f"{np.mean(values == low):.0%}" if np.isfinite(low) else "no ends"

    return [
        activation,
        scheme,
        f"{first.std():.2g} / {last.std():.2g}",
        f"{at_ends(first)} / {at_ends(last)}",
    ]


def spread(activation: str, seed: int) -> dict[str, list[np.ndarray]]:
    """Scheme to what each of five layers puts out."""
    key, inputs = jax.random.split(jax.random.key(seed))
    x = jax.random.normal(inputs, (1000, 100))
    return {
        name: jax.device_get(analysis.forward_stack(key, x, scale, activation))
        for name, scale in SCHEMES.items()
    }


def trained_by(settings: Settings) -> architectures.Settings:
    """The settings of the comparison that trains the networks."""
    return architectures.Settings(
        dataset=settings.dataset,
        data_dir=settings.data_dir,
        initializers=settings.initializers,
        hidden_layers=settings.hidden_layers,
        units=settings.units,
        mlp_steps=settings.steps,
        mlp_rate=settings.learning_rate,
        depths="",
        batch_size=settings.batch_size,
        seeds=settings.seeds,
    )


def build(settings: Settings) -> tuple[list[str], data_room.Dataset, Sequence[Family]]:
    """The activations to look at, and what the trained networks need.

    Raises:
      ValueError, OSError: in one line, for a setting that cannot be used.
    """
    names = [name.strip() for name in settings.activations.split(",")]
    for name in names:
        models.activation(name)
    if not settings.initializers:
        raise ValueError("--initializers is empty: give some, such as xavier,he.")
    return names, *architectures.build(trained_by(settings))


def compare(
    settings: Settings,
    built: tuple[list[str], data_room.Dataset, Sequence[Family]],
    say: comparing.Say = print,
) -> Comparison:
    """Look at the layers, then train."""
    activations, data, families = built
    outputs = {name: spread(name, settings.seed) for name in activations}
    say(f"outputs of {', '.join(outputs)} by {', '.join(SCHEMES)}")
    return Comparison(outputs, architectures.compare(data, families, say))


def main(settings: Settings) -> int:
    """Compare as the settings say; the exit code."""
    return comparing.run(NAME, settings, build, compare)


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
