"""Looking at networks and data: what the books teach, as functions.

Gradient checks, backpropagation by hand, perceptrons, what layers hold and what they
look at, whether a run fits, features of tables.
"""

from jaxdl.analysis.gradients import (
    GradientCheck,
    Slope,
    check_model,
    check_objective,
    gradient_check,
    numeric_derivative,
    numeric_gradient,
)

__all__ = [
    "GradientCheck",
    "Slope",
    "check_model",
    "check_objective",
    "gradient_check",
    "numeric_derivative",
    "numeric_gradient",
]
