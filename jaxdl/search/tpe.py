"""Trials proposed by Optuna's tree-structured Parzen estimator, where it is installed.

Bergstra et al. 2011; a round is proposed at once, each proposal taking those before
it for bad (constant liar), so that a round is no heap of equal trials.
"""

from collections.abc import Sequence
from typing import Any

from jaxdl.search.spaces import Choice, Dimension, Integer, Log, Space, Values
from jaxdl.search.trials import Trial


def propose(
    space: Space, trials: Sequence[Trial], count: int, seed: int, mode: str
) -> list[Values]:
    """So many trials, given what came of those before.

    Args:
      space: name to dimension.
      trials: of the rounds before.
      count: how many to propose.
      seed: of the sampler.
      mode: "min" or "max" of the trials' values.

    Raises:
      ValueError: in one line, where Optuna is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ValueError(
            "--strategy=optuna needs Optuna, which is not installed: run "
            "pip install 'jaxdl[search]', or give --strategy=narrow."
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True),
        direction="minimize" if mode == "min" else "maximize",
    )
    ranges = {name: _distribution(optuna, d) for name, d in space.items()}
    for trial in trials:
        study.add_trial(_told(optuna, ranges, trial))
    return [dict(study.ask(ranges).params) for _ in range(count)]


def _distribution(optuna: Any, dimension: Dimension) -> Any:
    if isinstance(dimension, Choice):
        return optuna.distributions.CategoricalDistribution(dimension.options)
    if isinstance(dimension, Integer):
        return optuna.distributions.IntDistribution(dimension.low, dimension.high)
    log = isinstance(dimension, Log)
    return optuna.distributions.FloatDistribution(
        dimension.low, dimension.high, log=log
    )


def _told(optuna: Any, ranges: Any, trial: Trial) -> Any:
    """A trial as Optuna keeps it; one that failed is kept as such."""
    failed = trial.value != trial.value
    state = optuna.trial.TrialState
    return optuna.trial.create_trial(
        params=dict(trial.asked.values),
        distributions=ranges,
        value=None if failed else trial.value,
        state=state.FAIL if failed else state.COMPLETE,
    )
