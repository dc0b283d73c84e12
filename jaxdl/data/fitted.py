"""What was fitted on a training part, read back from JSON by its kind."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxdl.data import forecasting, pairs, preprocess, symbols, tables, vocabulary

# The "kind" in what ``to_json`` gave, to what reads it back.
KINDS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "standardise": preprocess.from_json,
    "forecasting": forecasting.from_json,
    "text_pairs": pairs.from_json,
    "table": tables.from_json,
    "vocabulary": vocabulary.from_json,
    "symbols": symbols.from_json,
}


def from_json(values: Mapping[str, Any]) -> Any:
    """What some ``to_json`` wrote; without a kind, a ``Preprocess``.

    Raises:
      ValueError: the kind is unknown, or a part is missing.
    """
    kind = values.get("kind", "standardise")
    if kind not in KINDS:
        raise ValueError(
            f"unknown kind of preprocessing {kind!r}: known are {', '.join(KINDS)}"
        )
    return KINDS[kind](values)
