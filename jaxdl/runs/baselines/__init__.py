"""Baselines: what a result must beat before it means anything. A file a subject."""

from jaxdl.runs.baselines.classification import classification

__all__ = ["classification"]
