"""Learn AND, NAND, OR and XOR: what one unit can do, and what takes two layers.

A perceptron and its learning rule; a logistic unit and a two-layer network by gradient
descent, from many seeds as one vmapped program. Some seconds.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import comparing, flags
from experiments.flags import option
from jaxdl import analysis, models, objectives, optimizers, parallel, train
from jaxdl.analysis import perceptron
from jaxdl.runs import comparison
from jaxdl.runs.folder import RunFolder
from jaxdl.runs.plots import fields

NAME = "logic_gates"
COLUMNS = (
    "gate",
    "network",
    "right at the end",
    "right at best",
    "solved by",
    "the books say",
)
# Where decisions are drawn, around the unit square.
LOW, HIGH = (-0.5, -0.5), (1.5, 1.5)
CAPTIONS = {
    "boundaries.png": "What is decided where (grey: 1), by the networks that are right "
    "most often at the end. One unit draws one line, and no line parts XOR; two layers "
    "do. The perceptron stops learning as soon as all is right, though a point lie on "
    "its line, where it says 0.",
}


@dataclasses.dataclass(frozen=True)
class Settings(comparing.ComparisonSettings):
    """What ``logic_gates`` lets one set."""

    epochs: int = option(100, "passes of the perceptron's learning rule")
    hidden: int = option(4, "hidden units of the two-layer network")
    activation: str = option("tanh", "of the hidden units")
    steps: int = option(2000, "steps of gradient descent")
    learning_rate: float = option(0.5, "its learning rate")
    seeds: int = option(20, "networks of each kind, from seeds 0, 1, ...")


@dataclasses.dataclass(frozen=True)
class Row:
    """What a kind of network made of a gate.

    Attributes:
      gate, network: their names.
      accuracy: [seeds], of the four inputs, at the end.
      best: [seeds], at any time.
      decide: points [places, 2] to the output of the best, in [0, 1].
    """

    gate: str
    network: str
    accuracy: np.ndarray
    best: np.ndarray
    decide: Callable[[Any], Any]

    @property
    def solved(self) -> int:
        """How many seeds ended with every input right."""
        return int(np.sum(self.accuracy == 1))

    @property
    def shown(self) -> float:
        """The accuracy of what is drawn."""
        said = np.asarray(self.decide(jnp.asarray(perceptron.INPUTS))) > 0.5
        return float(np.mean(said == perceptron.TRUTH[self.gate]))


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The rows of all gates."""

    settings: Settings
    rows: tuple[Row, ...]

    def tables(self) -> list[comparison.Table]:
        """One table, a row a network."""
        return [
            comparison.Table(
                title="Logic gates",
                about=f"learned from all four inputs; {self.settings.seeds} seeds of "
                f"gradient descent, {self.settings.steps} steps at "
                f"{self.settings.learning_rate:g}; the perceptron begins at 0",
                columns=COLUMNS,
                rows=[_cells(row) for row in self.rows],
            )
        ]

    def to_json(self) -> dict[str, Any]:
        """All accuracies."""
        kept = ("gate", "network", "accuracy", "best", "solved")
        return {"gates": [{k: getattr(row, k) for k in kept} for row in self.rows]}

    def draw(self, folder: RunFolder) -> dict[str, str]:
        """The boundaries, a panel a row."""
        panels = [
            fields.Decided(
                f"{row.gate}, {row.network}\n{row.shown:.0%} right",
                analysis.decision_boundary(row.decide, LOW, HIGH),
                perceptron.INPUTS,
                perceptron.TRUTH[row.gate],
            )
            for row in self.rows
        ]
        fields.boundaries(panels, folder.plots / "boundaries.png", columns=3)
        return CAPTIONS


def _cells(row: Row) -> list[str]:
    books = (
        "impossible" if row.gate == "XOR" and "two" not in row.network else "learned"
    )
    return [
        row.gate,
        row.network,
        f"{row.accuracy.mean():.0%}",
        f"{row.best.max():.0%}",
        f"{row.solved} of {len(row.accuracy)}",
        books,
    ]


def check(settings: Settings) -> None:
    """Raise ValueError in one line for a setting out of its range."""
    for name in ("epochs", "hidden", "steps", "seeds"):
        if getattr(settings, name) < 1:
            raise ValueError(f"--{name} is {getattr(settings, name)}: give 1 or more.")
    optimizers.check_rate(settings.learning_rate, "--learning_rate")
    models.activation(settings.activation)


def by_rule(gate: str, epochs: int) -> Row:
    """The perceptron's learning rule."""
    found = analysis.learn_perceptron(perceptron.INPUTS, perceptron.TRUTH[gate], epochs)
    accuracy, best = np.asarray(found.accuracy), found.best
    return Row(
        gate, "perceptron", accuracy[-1:], accuracy.max()[None], lambda x: best(x)
    )


@dataclasses.dataclass(frozen=True)
class Descent:
    """Learning by gradient descent on cross-entropy, all seeds as one program.

    Attributes:
      name: of the network.
      learn: targets [4] to the parameters of all seeds and the accuracy [steps, seeds].
      output: (params, x) to the probability of 1.
    """

    name: str
    learn: Callable[[Any], Any]
    output: Callable[[Any, Any], Any]


def descent(settings: Settings, hidden: int) -> Descent:
    """What trains networks of one kind on any gate; compiled once.

    Args:
      settings: steps, rate, seeds, activation.
      hidden: units; 0 makes it a single logistic unit.
    """
    sizes = (hidden,) if hidden else ()
    model = models.create(
        "mlp", classes=2, hidden=sizes, activation=settings.activation
    )
    optimizer = optimizers.make("sgd")
    objective = objectives.classification(models.forward(model), classes=2)
    step = parallel.vmap(train.make_step(objective, optimizer))

    def create(seed: Any) -> train.State:
        params, _ = models.init(model, jax.random.key(seed), perceptron.INPUTS)
        numbers = {"learning_rate": settings.learning_rate}
        return train.create_state(params, optimizer, hyper=numbers, seed=seed)

    @jax.jit
    def learn(targets: Any) -> Any:
        batch = {"inputs": jnp.asarray(perceptron.INPUTS), "targets": targets}

        def one(states: Any, _: None) -> Any:
            states, told = step(states, batch)
            mean = told["accuracy"]
            return states, mean.total / mean.count

        start = jax.vmap(create)(jnp.arange(settings.seeds))
        states, history = jax.lax.scan(one, start, None, settings.steps)
        return states.params, history

    def output(params: Any, x: Any) -> Any:
        return jax.nn.softmax(jnp.asarray(model.apply({"params": params}, x)))[:, 1]

    name = f"two layers, {hidden} hidden units" if hidden else "one logistic unit"
    return Descent(name, learn, output)


def by_descent(gate: str, way: Descent) -> Row:
    """What networks of one kind make of a gate."""
    targets = perceptron.TRUTH[gate]
    params, history = jax.device_get(way.learn(targets.astype(np.int32)))
    said = jax.vmap(way.output, (0, None))(params, perceptron.INPUTS)
    accuracy = np.mean((np.asarray(said) > 0.5) == targets, axis=1)
    shown = jax.tree.map(lambda leaf: leaf[np.argmax(accuracy)], params)
    best = np.maximum(history.max(axis=0), accuracy)
    return Row(gate, way.name, accuracy, best, partial(way.output, shown))


def compare(settings: Settings, say: comparing.Say = print) -> Comparison:
    """Learn every gate in every way."""
    rows = []
    ways = [descent(settings, hidden) for hidden in (0, settings.hidden)]
    for gate in perceptron.TRUTH:
        rows.append(by_rule(gate, settings.epochs))
        rows += [by_descent(gate, way) for way in ways]
        solved = ", ".join(f"{r.network} {r.best.max():.0%}" for r in rows[-3:])
        say(f"{gate}: {solved}")
    return Comparison(settings, tuple(rows))


def main(settings: Settings) -> int:
    """Compare as the settings say; the exit code."""
    return comparing.run(
        NAME, settings, check, lambda settings, _, say: compare(settings, say)
    )


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
