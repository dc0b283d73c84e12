"""What makes tests of models quick: compiling is most of their time."""

from functools import partial

import jax
import numpy as np

# LLVM without optimising takes half the time, and computes the same.
jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": "0"})


def draw_variables(model, *inputs, seed=0, dtype=np.float32):
    """Variables of a Flax module, drawn by NumPy; initialising would compile first.

    Unlike initial ones no bias is 0 and no scale is 1.
    """
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0), *inputs)

    def draw(path, leaf):
        fan_in = leaf.shape[0] if leaf.ndim > 1 else 16
        mean = 1.0 if path[-1].key == "scale" else 0.0
        return (mean + rng.normal(size=leaf.shape) / fan_in**0.5).astype(dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def check_slopes(function, arguments, eps=1e-5, rtol=1e-5):
    """As ``jax.test_util.check_grads`` in reverse mode, of a scalar: the gradient in a
    direction drawn at random is that of differences."""
    rng = np.random.default_rng(0)
    way = jax.tree.map(lambda x: rng.normal(size=np.shape(x)), arguments)

    def ahead(steps):
        return jax.tree.map(lambda x, w: x + steps * eps * w, arguments, way)

    value = jit(function)
    expected = (value(*ahead(1)) - value(*ahead(-1))) / (2 * eps)
    slopes = jit(jax.grad(function, tuple(range(len(arguments)))))(*arguments)
    products = jax.tree.map(lambda slope, w: float(np.sum(slope * w)), slopes, way)
    got = sum(jax.tree.leaves(products))
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol)
