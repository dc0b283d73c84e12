"""How near a kernel must come to what it stands for."""

import jax
import numpy as np


def close(ours, theirs, tolerance):
    """Leaf by leaf, relatively and near zero absolutely."""
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance),
        ours,
        theirs,
    )
