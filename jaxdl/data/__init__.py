"""Data: sources by name, splits, normalisation, batches by step, augmentation.

`load` and `from_arrays` give a `Dataset`; `feed` its training batches as a
function of (seed, step); `evaluation_feed` every example once.
"""

from jaxdl.data.augment import Augmentation, augment
from jaxdl.data.augment import parse as parse_augmentation
from jaxdl.data.dataset import (
    EMBEDDED,
    MEMORY_BUDGET,
    PREFIXES,
    Dataset,
    divide,
    from_arrays,
    load,
)
from jaxdl.data.feed import (
    Feed,
    Kept,
    Passes,
    evaluation_batches,
    evaluation_feed,
    feed,
    step_indices,
)
from jaxdl.data.images import read_images
from jaxdl.data.labels import k_hot, one_hot
from jaxdl.data.members import members_feed, members_passes
from jaxdl.data.preprocess import Preprocess
from jaxdl.data.resident import Resident, gathering, hold
from jaxdl.data.source import Source, subset
from jaxdl.data.spec import LAYOUTS, Spec, check
from jaxdl.data.splits import kfold, split, split_sizes

__all__ = [
    "EMBEDDED",
    "LAYOUTS",
    "MEMORY_BUDGET",
    "PREFIXES",
    "Augmentation",
    "Dataset",
    "Feed",
    "Kept",
    "Passes",
    "Preprocess",
    "Resident",
    "Source",
    "Spec",
    "augment",
    "check",
    "divide",
    "evaluation_batches",
    "evaluation_feed",
    "feed",
    "from_arrays",
    "gathering",
    "hold",
    "k_hot",
    "kfold",
    "load",
    "members_feed",
    "members_passes",
    "one_hot",
    "parse_augmentation",
    "read_images",
    "split",
    "split_sizes",
    "step_indices",
    "subset",
]
