"""What is minimised: losses, and the objectives built on them."""

from jaxdl.objectives.adversarial import adversarial
from jaxdl.objectives.classification import binary, classification
from jaxdl.objectives.heads import HEADS, Head, probabilities
from jaxdl.objectives.language import language
from jaxdl.objectives.regression import regression
from jaxdl.objectives.sequences import next_token
from jaxdl.objectives.supervised import Objective, supervised
from jaxdl.objectives.variational import Autoencoder, variational

__all__ = [
    "HEADS",
    "Autoencoder",
    "Head",
    "Objective",
    "adversarial",
    "binary",
    "classification",
    "language",
    "next_token",
    "probabilities",
    "regression",
    "supervised",
    "variational",
]
