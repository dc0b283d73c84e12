"""Ways to run a step, and where its arrays lie."""

from jaxdl.parallel import cores
from jaxdl.parallel.blocks import automatic_block, convolves
from jaxdl.parallel.cluster import Asked, join
from jaxdl.parallel.layout import laid_out
from jaxdl.parallel.members import apart, over_members
from jaxdl.parallel.placement import Placement, placement
from jaxdl.parallel.products import compiler_options, tuned
from jaxdl.parallel.ways import (
    check_divides,
    data_mesh,
    jit,
    pmap,
    replicated,
    scan,
    sharded,
    split,
    vmap,
)

__all__ = [
    "Asked",
    "Placement",
    "apart",
    "automatic_block",
    "check_divides",
    "compiler_options",
    "convolves",
    "cores",
    "data_mesh",
    "jit",
    "join",
    "laid_out",
    "placement",
    "over_members",
    "pmap",
    "replicated",
    "scan",
    "sharded",
    "split",
    "tuned",
    "vmap",
]
