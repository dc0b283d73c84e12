"""Baselines: what a result must beat before it means anything. A file a subject."""

from jaxdl.runs.baselines.classification import classification
from jaxdl.runs.baselines.language import language
from jaxdl.runs.baselines.pairs import pairs
from jaxdl.runs.baselines.pixels import autoencoding
from jaxdl.runs.baselines.samples import samples
from jaxdl.runs.baselines.tables import tabular
from jaxdl.runs.baselines.texts import texts

__all__ = [
    "autoencoding",
    "classification",
    "language",
    "pairs",
    "samples",
    "tabular",
    "texts",
]
