"""What is minimised: losses, and the objectives built on them."""

from jaxdl.objectives.classification import binary, classification
from jaxdl.objectives.heads import HEADS, Head
from jaxdl.objectives.regression import regression
from jaxdl.objectives.supervised import Objective, supervised

__all__ = [
    "HEADS",
    "Head",
    "Objective",
    "binary",
    "classification",
    "regression",
    "supervised",
]
