"""Training: state, step, progress, evaluation, checkpoints and the loop."""

from jaxdl.train.adversarial import (
    AdversarialState,
    create_adversarial_state,
    make_adversarial_evaluation,
    make_adversarial_step,
)
from jaxdl.train.checkpoints import Checkpoints, Restored
from jaxdl.train.evaluation import (
    dispatch_evaluation,
    evaluate,
    make_evaluation,
    measure,
    predict,
)
from jaxdl.train.loop import Evaluate, Fitted, Watch, fit
from jaxdl.train.nonfinite import before_failure, explain, failed_step
from jaxdl.train.progress import Progress, Rule, observe
from jaxdl.train.state import State, create_state, evaluation_params
from jaxdl.train.step import Objective, Schedule, Step, make_step, scheduled

__all__ = [
    "AdversarialState",
    "Checkpoints",
    "Evaluate",
    "Fitted",
    "Objective",
    "Progress",
    "Restored",
    "Rule",
    "Schedule",
    "State",
    "Step",
    "Watch",
    "before_failure",
    "create_adversarial_state",
    "create_state",
    "dispatch_evaluation",
    "evaluate",
    "evaluation_params",
    "explain",
    "failed_step",
    "fit",
    "make_adversarial_evaluation",
    "make_adversarial_step",
    "make_evaluation",
    "make_step",
    "measure",
    "observe",
    "predict",
    "scheduled",
]
