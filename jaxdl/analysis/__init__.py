"""Looking at networks and data: what the books teach, as functions.

Gradient checks, backpropagation by hand, perceptrons, paths of optimizers, what layers
hold and look at, whether a run fits, features of tables.
"""

from jaxdl.analysis.activity import (
    FLAT,
    Activity,
    GradientActivity,
    activation_statistics,
    forward_stack,
    gradient_statistics,
    hidden_outputs,
    share_at_ends,
    weight_layers,
)
from jaxdl.analysis.agreement import Agreement, agreement, purity
from jaxdl.analysis.components import (
    PCA,
    Clusters,
    components_for,
    k_means,
    lloyd,
    pca,
)
from jaxdl.analysis.descent import bowl, descend, gradient_field, valley
from jaxdl.analysis.features import (
    Categories,
    Imputer,
    Selection,
    Standardiser,
    impute,
    one_hot,
    select_k_best,
    standardise,
)
from jaxdl.analysis.fitting import (
    ADVICE,
    Diagnosis,
    LearningCurve,
    curve_over_data,
    curve_over_models,
    diagnose,
)
from jaxdl.analysis.gradients import (
    GradientCheck,
    Slope,
    check_model,
    check_objective,
    gradient_check,
    numeric_derivative,
    numeric_gradient,
)
from jaxdl.analysis.hand_features import oriented_gradients
from jaxdl.analysis.looking import (
    Excited,
    convolutions,
    filters,
    grad_cam,
    maximise_activation,
    receptive_field_by_gradient,
    saliency,
    scores_of,
)
from jaxdl.analysis.perceptron import (
    Boundary,
    Learned,
    Perceptron,
    decision_boundary,
    learn_perceptron,
)
from jaxdl.layers import conv_output_size, receptive_field
from jaxdl.metrics import average_precision, roc_auc

__all__ = [
    "ADVICE",
    "Activity",
    "Agreement",
    "Boundary",
    "Categories",
    "Clusters",
    "Diagnosis",
    "Excited",
    "FLAT",
    "GradientActivity",
    "GradientCheck",
    "Imputer",
    "Learned",
    "LearningCurve",
    "PCA",
    "Perceptron",
    "Selection",
    "Slope",
    "Standardiser",
    "activation_statistics",
    "agreement",
    "average_precision",
    "bowl",
    "check_model",
    "check_objective",
    "components_for",
    "conv_output_size",
    "convolutions",
    "curve_over_data",
    "curve_over_models",
    "decision_boundary",
    "descend",
    "diagnose",
    "filters",
    "forward_stack",
    "grad_cam",
    "gradient_check",
    "gradient_field",
    "gradient_statistics",
    "hidden_outputs",
    "impute",
    "k_means",
    "learn_perceptron",
    "lloyd",
    "maximise_activation",
    "numeric_derivative",
    "numeric_gradient",
    "one_hot",
    "oriented_gradients",
    "pca",
    "purity",
    "receptive_field",
    "receptive_field_by_gradient",
    "roc_auc",
    "saliency",
    "scores_of",
    "select_k_best",
    "share_at_ends",
    "standardise",
    "valley",
    "weight_layers",
]
