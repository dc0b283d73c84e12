"""Compare initializers on a deep ReLU network, and ResNets with plain networks.

Without flags: scikit-learn's handwritten digits, a few minutes on two cores. Every
network of a table sees the same batches in the same order, for as many steps.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from experiments import comparing, flags, stacks
from experiments.flags import option
from jaxdl import data as data_room
from jaxdl import models, optimizers
from jaxdl.runs import comparison
from jaxdl.runs.families import Family, Outcome, train_family
from jaxdl.runs.folder import RunFolder

NAME = "architectures"
DEPTHS = ("20", "32", "44", "56", "110")
COLUMNS = (
    "variant",
    "training loss at the end",
    "validation accuracy",
    "test accuracy",
    "what was seen (gradient: first / last layer, at the start)",
)
CAPTIONS = {
    "training_curves.png": "Training loss over the steps: the mean over the seeds, "
    "between least and most. Losses that are not finite are left out.",
    "layers.png": "By layer, before the first step: how widely outputs are spread, "
    "and the norm of the loss's gradient in the layer's weights.",
}


@dataclasses.dataclass(frozen=True)
class Settings(comparing.DataSettings):
    """What ``architectures`` lets one set."""

    initializers: str = option(
        "zeros,normal,normal:0.01,xavier,he", "of the ReLU network; empty: none"
    )
    hidden_layers: int = option(4, "hidden layers of the ReLU network")
    units: int = option(100, "units of each hidden layer")
    mlp_steps: int = option(2000, "steps of each ReLU network")
    mlp_rate: float = option(0.01, "its learning rate, of plain SGD")
    depths: str = option("20", f"of ResNets, of {','.join(DEPTHS)}; empty: none")
    resnet_steps: int = option(100, "steps of each ResNet and plain network")
    resnet_rate: float = option(0.1, "their learning rate, of momentum 0.9")
    batch_size: int = option(128, "examples a step")
    seeds: int = option(3, "networks of each kind, from seeds 0, 1, ...")


def build(settings: Settings) -> tuple[data_room.Dataset, tuple[Family, ...]]:
    """The data and the families to compare.

    Raises:
      ValueError, OSError: in one line, for a setting that cannot be used.
    """
    _check(settings)
    data = comparing.load(settings)
    families = []
    if settings.initializers:
        families.append(_initializers(settings, data))
    if settings.depths:
        families.append(_shortcuts(settings, data))
    return data, tuple(families)


def _check(settings: Settings) -> None:
    for name in ("hidden_layers", "units", "mlp_steps", "resnet_steps", "seeds"):
        if getattr(settings, name) < 1:
            raise ValueError(f"--{name} is {getattr(settings, name)}: give 1 or more.")
    if settings.batch_size < 1:
        raise ValueError(f"--batch_size is {settings.batch_size}: give 1 or more.")
    optimizers.check_rate(settings.mlp_rate, "--mlp_rate")
    optimizers.check_rate(settings.resnet_rate, "--resnet_rate")
    for name in comparing.names(settings.initializers):
        models.initializer(name)
    for depth in comparing.names(settings.depths):
        if depth not in DEPTHS:
            raise ValueError(
                f"--depths has {depth!r}: give some of {', '.join(DEPTHS)}, "
                "separated by commas."
            )
    if not settings.initializers and not settings.depths:
        raise ValueError("--initializers and --depths are both empty: give one.")


def _initializers(settings: Settings, data: data_room.Dataset) -> Family:
    hidden = (settings.units,) * settings.hidden_layers
    sizes = [int(np.prod(data.input_shape)), *hidden, len(data.classes)]
    mlp = partial(models.create, "mlp", classes=len(data.classes), hidden=hidden)
    sgd = optimizers.make("sgd")
    return Family(
        title=f"Initializers of a {len(hidden) + 1}-layer ReLU network",
        about=f"{'-'.join(map(str, sizes))}, SGD at {settings.mlp_rate:g}, "
        f"{settings.mlp_steps} steps of {settings.batch_size} examples of "
        f"{data.name}, {_seeds(settings)}, all as one vmapped program; "
        "normal is N(0, 1), normal:S has standard deviation S",
        networks={
            name: stacks.network(
                data,
                mlp(initializer=name),
                sgd,
                {"learning_rate": settings.mlp_rate},
            )
            for name in comparing.names(settings.initializers)
        },
        seeds=settings.seeds,
        steps=settings.mlp_steps,
        batch_size=settings.batch_size,
        together=True,
    )


def _shortcuts(settings: Settings, data: data_room.Dataset) -> Family:
    names = [
        f"{k}{d}" for d in comparing.names(settings.depths) for k in ("resnet", "plain")
    ]
    momentum = optimizers.make("momentum")
    return Family(
        title="Networks with shortcuts (resnet) and without (plain)",
        about="as many layers and parameters, batch norm and He's initializer in both, "
        f"momentum 0.9 at {settings.resnet_rate:g}, {settings.resnet_steps} steps of "
        f"{settings.batch_size} examples of {data.name}, {_seeds(settings)}",
        networks={
            name: stacks.network(
                data,
                models.create(name, classes=len(data.classes)),
                momentum,
                {"learning_rate": settings.resnet_rate},
            )
            for name in names
        },
        seeds=settings.seeds,
        steps=settings.resnet_steps,
        batch_size=settings.batch_size,
        together=False,
    )


def _seeds(settings: Settings) -> str:
    if settings.seeds == 1:
        return "seed 0"
    return f"mean and deviation over {settings.seeds} seeds"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The outcomes of every family, by name."""

    families: Sequence[tuple[Family, dict[str, Outcome]]]

    def tables(self) -> list[comparison.Table]:
        """A table a family, a row a network."""
        return [
            comparison.Table(
                title=family.title,
                about=family.about,
                columns=COLUMNS,
                rows=[
                    _row(name, outcome, family.together)
                    for name, outcome in outcomes.items()
                ],
            )
            for family, outcomes in self.families
        ]

    def to_json(self) -> dict[str, Any]:
        """All numbers, by seed."""
        rows = [
            {
                "title": family.title,
                "about": family.about,
                "networks": {n: vars(outcome) for n, outcome in outcomes.items()},
            }
            for family, outcomes in self.families
        ]
        return {"families": rows}

    def draw(self, folder: RunFolder) -> dict[str, str]:
        """Draw ``plots/``; file name to caption."""
        curves = [_curves(family, outcomes) for family, outcomes in self.families]
        comparison.draw(curves, folder.plots / "training_curves.png")
        layers = [
            panel
            for family, outcomes in self.families
            for panel in _layers(family, outcomes)
        ]
        comparison.draw(layers, folder.plots / "layers.png")
        return CAPTIONS


def compare(
    data: data_room.Dataset,
    families: Sequence[Family],
    say: comparing.Say = print,
) -> Comparison:
    """Train all networks; what became of them."""
    return Comparison(
        [(family, train_family(data, family, say)) for family in families]
    )


def _row(name: str, outcome: Outcome, hidden_units: bool) -> list[str]:
    """A row of the table; ``hidden_units`` adds what became of them."""
    first, last = outcome.gradients[:, 0].mean(), outcome.gradients[:, -1].mean()
    seen = [
        f"starts at loss {outcome.start.mean():.4g}",
        f"gradient {first:.2g} / {last:.2g}",
    ]
    lost = outcome.at[~np.isfinite(outcome.curve).all(axis=0)]
    if lost.size:
        seen.append(f"not finite by step {lost[0]}")
    elif hidden_units:
        same = "identical" if outcome.identical.all() else "differ"
        seen.append(f"hidden units {same}, {outcome.dead.mean():.0%} dead")
    return [
        name,
        comparison.spread(outcome.curve[:, -1], ".4g", ".1g"),
        comparing.percent(outcome.validation),
        comparing.percent(outcome.test),
        "; ".join(seen),
    ]


def _curves(family: Family, outcomes: dict[str, Outcome]) -> comparison.Panel:
    return comparison.Panel(
        title=family.title,
        x="step",
        y="training loss",
        at={name: outcome.at for name, outcome in outcomes.items()},
        lines={name: outcome.curve for name, outcome in outcomes.items()},
    )


def _layers(family: Family, outcomes: dict[str, Outcome]) -> list[comparison.Panel]:
    """Gradients by layer; the spread of outputs where no batch norm sets it."""
    found = {"gradients": "norm of the gradient at the start"}
    if family.together:
        found = {"deviations": "deviation of outputs at the start", **found}
    return [
        comparison.Panel(
            title=family.title,
            x="layer",
            y=label,
            at={
                n: np.arange(1, 1 + getattr(o, what).shape[-1])
                for n, o in outcomes.items()
            },
            lines={name: getattr(o, what) for name, o in outcomes.items()},
        )
        for what, label in found.items()
    ]


def main(settings: Settings) -> int:
    """Compare as the settings say; the exit code."""
    return comparing.run(
        NAME, settings, build, lambda _, built, say: compare(*built, say)
    )


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
