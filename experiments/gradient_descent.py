"""Watch optimizers go downhill: the field of x0^2/20 + x1^2 and everyone's path.

Also what a learning rate too large or too small does, and how noise, the noise of small
batches, gets out of a local minimum. Some seconds.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import comparing, flags
from experiments.flags import option
from jaxdl import analysis, optimizers
from jaxdl.runs import comparison
from jaxdl.runs.folder import RunFolder
from jaxdl.runs.plots import fields

NAME = "gradient_descent"
START, BOWL_START = (-7.0, 2.0), (-3.0, 4.0)
# The books' rates for this valley; the others were tried at 0.03, 0.1, 0.3, 1 and 3,
# and the one that ends lowest after 30 steps is kept.
RATES = {"sgd": 0.95, "momentum": 0.1, "adagrad": 1.5, "adam": 0.3}
OTHER_RATES = (0.03, 0.1, 0.3, 1.0, 3.0)
BOWL_RATES = (10.0, 1.01, 0.9, 0.1, 0.001, 1e-10)
BOOKS = {10.0: "diverges", 0.1: "about (-6e-10, 8e-10)", 1e-10: "does not move"}
CAPTIONS = {
    "field.png": "Minus the gradient of x0^2/20 + x1^2: it hardly ever points at the "
    "minimum.",
    "paths.png": "Paths from (-7, 2), the square. Plain descent zigzags across the "
    "valley; momentum swings through; AdaGrad and Adam scale each axis by itself.",
    "rates.png": "Plain descent on x0^2 + x1^2 from (-3, 4): too large a rate leaves "
    "the picture, too small a one stays at the start.",
}


@dataclasses.dataclass(frozen=True)
class Settings(comparing.ComparisonSettings):
    """What ``gradient_descent`` lets one set."""

    optimizers: str = option("all", "names separated by commas, or all")
    steps: int = option(30, "steps in the valley")
    learning_rate: float = option(0.0, "of all optimizers; 0: one that suits each")
    noisy_runs: int = option(500, "descents out of a local minimum, with noise")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Paths by name.

    Attributes:
      steps: in the valley.
      valley: optimizer to (rate, path).
      bowl: rate of plain descent to its path.
      escaped: deviation of the noise to the share of runs that found the lower
        minimum.
    """

    steps: int
    valley: dict[str, tuple[float, np.ndarray]]
    bowl: dict[float, np.ndarray]
    escaped: dict[float, float]

    def tables(self) -> list[comparison.Table]:
        """Valley, rates, noise."""
        return [
            comparison.Table(
                "Optimizers in the valley x0^2/20 + x1^2",
                f"{self.steps} steps from {START}; the lower the last value the better",
                ("optimizer", "rate", "ends at", "value", "steps to below 0.01"),
                [_valley_row(name, *found) for name, found in self.valley.items()],
            ),
            comparison.Table(
                "Rates of plain descent on x0^2 + x1^2",
                f"100 steps from {BOWL_START}; each multiplies x by 1 - 2 rate",
                ("rate", "ends at", "what happens", "the books say"),
                [_bowl_row(rate, path) for rate, path in self.bowl.items()],
            ),
            comparison.Table(
                "Noise against a local minimum",
                "descent on (x^2 - 1)^2 + 0.3 x from the higher minimum's side, 300 "
                "steps at 0.03; noise on the gradient as of small batches",
                ("deviation of the noise", "runs that end in the lower minimum"),
                [[f"{n:g}", f"{share:.0%}"] for n, share in self.escaped.items()],
            ),
        ]

    def to_json(self) -> dict[str, Any]:
        """All paths."""
        return {
            "valley": {n: {"rate": r, "path": p} for n, (r, p) in self.valley.items()},
            "bowl": {f"{rate:g}": path for rate, path in self.bowl.items()},
            "escaped": {f"{noise:g}": share for noise, share in self.escaped.items()},
        }

    def draw(self, folder: RunFolder) -> dict[str, str]:
        """Field, paths, rates."""
        x, y = np.linspace(-10, 10, 101), np.linspace(-5, 5, 51)
        fields.field(
            x,
            y,
            *analysis.gradient_field(analysis.valley, x, y),
            folder.plots / "field.png",
        )
        x, y = np.linspace(-10, 10, 101), np.linspace(-4, 4, 81)
        values, _ = analysis.gradient_field(analysis.valley, x, y)
        shown = [
            fields.Walk(f"{name}, rate {rate:g}", path)
            for name, (rate, path) in self.valley.items()
        ]
        fields.walks(x, y, values, shown, folder.plots / "paths.png")
        x, y = np.linspace(-6, 6, 81), np.linspace(-6, 6, 81)
        values, _ = analysis.gradient_field(analysis.bowl, x, y)
        shown = [fields.Walk(f"rate {r:g}", path) for r, path in self.bowl.items()]
        fields.walks(x, y, values, shown, folder.plots / "rates.png", columns=3)
        return CAPTIONS


def _place(point: Sequence[float]) -> str:
    return f"({point[0]:.3g}, {point[1]:.3g})"


def _valley_row(name: str, rate: float, path: np.ndarray) -> list[str]:
    values = path[:, 0] ** 2 / 20 + path[:, 1] ** 2
    above = np.flatnonzero(~(values < 0.01))
    last = int(above[-1]) + 1 if above.size else 0
    reached = str(last) if last < len(path) else "not within them"
    return [name, f"{rate:g}", _place(path[-1]), f"{values[-1]:.2g}", reached]


def _bowl_row(rate: float, path: np.ndarray) -> list[str]:
    start, end = np.linalg.norm(path[0]), np.linalg.norm(path[-1])
    if not end < start * 1.0001:
        what = "diverges"
    else:
        what = "does not move" if end > 0.9999 * start else "converges"
        if what == "converges" and end > 0.1 * start:
            what = "is slow"
    return [f"{rate:g}", _place(path[-1]), what, BOOKS.get(rate, "")]


def chosen(settings: Settings) -> list[str]:
    """The optimizers that are asked for.

    Raises:
      ValueError: in one line, for a setting that cannot be used.
    """
    for name in ("steps", "noisy_runs"):
        if getattr(settings, name) < 1:
            raise ValueError(f"--{name} is {getattr(settings, name)}: give 1 or more.")
    optimizers.check_rate(settings.learning_rate, "--learning_rate", zero=True)
    if settings.optimizers == "all":
        return list(optimizers.OPTIMIZERS)
    names = [name.strip() for name in settings.optimizers.split(",")]
    for name in names:
        optimizers.make(name)
    return names


def _paths(
    function: Callable[[Any], Any],
    start: tuple[float, float],
    name: str,
    rates: Sequence[float],
    steps: int,
) -> np.ndarray:
    """The paths of an optimizer, one for each rate: [rates, steps + 1, 2]."""
    optimizer = optimizers.make(name)

    def path(rate: Any) -> Any:
        # The rate is a number of the optimizer's state: one program serves all rates.
        def init(params: Any) -> Any:
            numbers = {"learning_rate": rate}
            return optimizers.with_hyper(optimizer.init(params), numbers)

        at = optax.GradientTransformation(init, optimizer.update)
        return analysis.descend(function, jnp.array(start), at, steps)

    return np.asarray(jax.jit(jax.vmap(path))(jnp.array(rates)))


def _in_valley(name: str, steps: int, asked: float) -> tuple[float, np.ndarray]:
    """The rate and the path: that of the best rate where none is given."""
    rates = (asked,) if asked else (RATES[name],) if name in RATES else OTHER_RATES
    paths = _paths(analysis.valley, START, name, rates, steps)
    last = paths[:, -1, 0] ** 2 / 20 + paths[:, -1, 1] ** 2
    best = int(np.argmin(np.where(np.isfinite(last), last, np.inf)))
    return rates[best], paths[best]


@partial(jax.jit, static_argnums=1)
def escapes(noise: float, runs: int) -> Any:
    """The share of noisy descents that end in the lower of two minima.

    From x = 1.2 on (x^2 - 1)^2 + 0.3 x, whose minima are at about 0.96 and -1.04, the
    latter lower.
    """

    def slope(x: Any) -> Any:
        return 4 * x * (x**2 - 1) + 0.3

    def step(x: Any, key: Any) -> Any:
        return x - 0.03 * (slope(x) + noise * jax.random.normal(key, x.shape)), None

    keys = jax.random.split(jax.random.key(0), 300)
    x, _ = jax.lax.scan(step, jnp.full(runs, 1.2), keys)
    return jnp.mean(x < 0)


def compare(
    settings: Settings, names: Sequence[str], say: comparing.Say = print
) -> Comparison:
    """Walk all paths."""
    valley = {}
    for name in names:
        valley[name] = _in_valley(name, settings.steps, settings.learning_rate)
        rate, path = valley[name]
        say(f"{name} at {rate:g} ends at {_place(path[-1])}")
    bowl = _paths(analysis.bowl, BOWL_START, "sgd", BOWL_RATES, 100)
    noises = (0.0, 1.0, 2.0, 4.0, 8.0)
    return Comparison(
        steps=settings.steps,
        valley=valley,
        bowl=dict(zip(BOWL_RATES, bowl, strict=True)),
        escaped={n: float(escapes(n, settings.noisy_runs)) for n in noises},
    )


def main(settings: Settings) -> int:
    """Compare as the settings say; the exit code."""
    return comparing.run(NAME, settings, chosen, compare)


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
