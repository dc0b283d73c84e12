"""jaxdl's side where nothing is learned: what a model says, and what it writes."""

from itertools import count
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.cases import Case, Side, digest, make_batches
from experiments.benchmarks.ours import initial
from experiments.generation_speed import anew
from jaxdl import __version__, models, parallel
from jaxdl.generation import generate

_VERSIONS = {"jaxdl": __version__, "jax": jax.__version__}


def make(case: Case, parameters: Path, work: str, cached: bool) -> Side:
    """The case as ``evaluate`` asks it, or as ``generate`` writes with it; writes its
    parameters.

    Args:
      work: "inference" or "generation".
      cached: of the latter, whether keys and values are kept.
    """
    model, params, model_state = initial(case, parameters)
    if work == "inference":
        return _inference(case, model, params, model_state)
    return _generation(case, model, params, cached)


def _inference(case: Case, model: Any, params: Any, model_state: Any) -> Side:
    apply = models.forward(model)

    def outputs(variables: tuple[Any, Any], batch: Any) -> Any:
        params, model_state = variables
        return apply(params, model_state, batch["inputs"], models.EVALUATION, None)[0]

    batches, calls = make_batches(case), count()
    variables = params, model_state
    name = "auto"
    if parallel.cores.are_devices():
        name = parallel.cores.automatic(outputs, variables, batches[0], case.size)
    way = parallel.placement(name)
    run, variables = way.evaluation(outputs), way.whole(variables)
    fed = [way.put(batch, 0) for batch in batches]

    def losses(logits: Any) -> list[float]:
        return [float(np.mean(np.abs(logits)))]

    return Side(
        lambda: run(variables, fed[next(calls) % len(fed)]), losses, 1, _VERSIONS
    )


def _generation(case: Case, model: Any, params: Any, cached: bool) -> Side:
    total = case.shape[0]
    prompt = jnp.asarray(make_batches(case)[0]["inputs"][:, :1])
    padded = jnp.pad(prompt, ((0, 0), (0, total - 1)))
    reread = jax.jit(lambda params, text: anew(model, params, text, 1, total - 1))

    def take() -> Any:
        if not cached:
            return reread(params, padded)[:, 1:]
        return generate(
            model, params, prompt, total - 1, jax.random.key(0), temperature=0.0
        )

    def losses(tokens: Any) -> list[float]:
        return digest(np.asarray(tokens)[0])

    return Side(take, losses, total - 1, _VERSIONS)
