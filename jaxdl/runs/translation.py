"""What a model that writes one text from another is judged by, and what it shows."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxdl.batch import Batch, mask_of
from jaxdl.data.dataset import Dataset
from jaxdl.data.pairs import BEGIN, END, NEVER_WRITTEN, TextPairs, shifted
from jaxdl.data.source import Source
from jaxdl.metrics import mean
from jaxdl.models.apply import in_batches
from jaxdl.models.sequence_to_sequence import source_attention, write_greedily
from jaxdl.runs import plots
from jaxdl.train import evaluation_params
from jaxdl.train.evaluation import Evaluation
from jaxdl.train.task import Findings, Shown

# write(params, source) -> the target, as the model has it
Write = Callable[[Any, Int[Array, "batch source"]], Int[Array, "batch target"]]

# Examples that are shown as a run learns, and whose attention is drawn at its end.
EXAMPLES, MAPS = 10, 6
# Wrong answers that are listed.
LISTED = 200
_BATCH = 256


def writer(model: Any, texts: TextPairs) -> Write:
    """What a model writes, the likeliest token at every step; to be jitted."""

    def write(params: Any, source: Array) -> Array:
        return write_greedily(
            model,
            params,
            source,
            length=texts.target.length,
            begin=BEGIN,
            end=END,
            never=NEVER_WRITTEN,
        )

    return write


def with_exact_match(evaluation: Evaluation, write: Write) -> Evaluation:
    """The evaluation, and ``exact_match``: the share of examples whose target is
    written whole and without a fault, with nothing of it given."""

    def measured(state: Any, batch: Batch) -> dict[str, Any]:
        right = jnp.all(written(write, state, batch) == batch["targets"], axis=1)
        exact = mean(right.astype(jnp.float32), mask_of(batch))
        return {**evaluation(state, batch), "exact_match": exact}

    return measured


def written(write: Write, state: Any, batch: Batch) -> Int[Array, "batch target"]:
    """What a state writes from each source of a batch."""
    return write(evaluation_params(state), batch["inputs"])


def show(write: Write, data: Dataset) -> Callable[[Any], Shown]:
    """``answers.txt``: what a state writes from some validation sources."""
    stored = data.validation.fetch(np.arange(min(EXAMPLES, data.validation.size)))
    sources, targets = _texts(data.preprocess, stored)
    compiled = jax.jit(write)

    def tell(state: Any) -> Shown:
        tokens = compiled(evaluation_params(state), stored["inputs"])
        answers = data.preprocess.target.decode(np.asarray(tokens))
        rows = list(zip(sources, answers, targets, strict=True))
        return {"answers.txt": _listed(rows)}

    return tell


def findings(
    model: Any,
    texts: TextPairs,
    state: Any,
    tokens: Int[np.ndarray, "examples target"],
    source: Source,
) -> Findings:
    """The wrong answers, and where the model looked while it wrote some others.

    Args:
      model: an encoder-decoder.
      texts: what its tokens stand for.
      state: the best one.
      tokens: what it wrote of the test part.
      source: the test part.
    """
    stored = source.fetch(np.arange(source.size))
    wrong = np.flatnonzero((tokens != stored["targets"]).any(axis=1))
    chosen = {name: stored[name][wrong[:LISTED]] for name in ("inputs", "targets")}
    sources, targets = _texts(texts, chosen)
    answers = texts.target.decode(tokens[wrong[:LISTED]])
    count = f"{len(wrong):,} of {len(tokens):,} answers are wrong"
    count += f"; the first {LISTED}:" if len(wrong) > LISTED else ""
    rows = list(zip(sources, answers, targets, strict=True))
    pictures: dict[str, Any] = {"wrong_answers.txt": f"{count}\n{_listed(rows)}"}
    # Spread over the part, which may be sorted.
    some = np.unique(np.linspace(0, source.size - 1, MAPS).astype(int))
    params = evaluation_params(state)
    maps = attention(model, texts, params, stored["inputs"][some], tokens[some])
    if maps is not None:
        pictures["attention.png"] = partial(plots.attention_maps, *maps)
    return Findings({}, pictures)


def attention(
    model: Any,
    texts: TextPairs,
    params: Any,
    sources: Int[np.ndarray, "examples source"],
    tokens: Int[np.ndarray, "examples target"],
) -> tuple[list[np.ndarray], list[list[str]], list[list[str]]] | None:
    """How much a model looked at each character of a source while it wrote each of
    its own: weights [written, read] an example, what was read, and what was written.
    None for a model that does not look at the source."""
    inputs = {"source": jnp.asarray(sources), "target": shifted(tokens)}
    weights = jax.jit(partial(source_attention, model))(params, inputs)
    if weights is None:
        return None
    read = [_names(texts.source.names, row) for row in sources]
    wrote = [_names(texts.target.names, row) for row in tokens]
    shown = [
        values[: len(rows), : len(columns)]
        for values, rows, columns in zip(np.asarray(weights), wrote, read, strict=True)
    ]
    return shown, read, wrote


def _names(names: Sequence[str], row: np.ndarray) -> list[str]:
    """The name of every token up to the end, which is a full stop."""
    tokens = row[row > 0].tolist()
    return ["\N{END OF PROOF}" if token == END else names[token] for token in tokens]


def answers(
    model: Any, texts: TextPairs, params: Any, sources: Sequence[str]
) -> list[str]:
    """What a model writes from each of some texts, at least one.

    Raises:
      ValueError: a text that is longer than those the model was trained on.
    """
    write = jax.jit(writer(model, texts))
    tokens = in_batches(partial(write, params), texts.source.encode(sources), _BATCH)
    return texts.target.decode(tokens)


def _texts(texts: TextPairs, stored: Any) -> tuple[list[str], list[str]]:
    return texts.source.decode(stored["inputs"]), texts.target.decode(stored["targets"])


def _listed(rows: Sequence[tuple[str, str, str]]) -> str:
    """A line an example: source, answer, and what was right if that was not."""
    return "".join(
        f"{source} -> {answer}{'' if answer == right else f' (wrong: {right})'}\n"
        for source, answer, right in rows
    )
