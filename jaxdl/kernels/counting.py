"""How much a call of a kernel multiplies, by the definition of what it computes."""

from math import prod
from typing import Any

from jaxdl.kernels import calls, convolution, product

# Of a kernel the axes whose sizes' product is that of one of its products of matrices,
# and how many such it makes; those without have none.
_PRODUCTS = {
    "jaxdl_attention": ("b q k h f", 2),
    "jaxdl_attention_gradient": ("b q k h f", 4),
    "jaxdl_lstm": ("m b t h g", 1),
    "jaxdl_lstm_gradient": ("m b t h g", 1),
}


def multiplications(equation: Any) -> int:
    """Those of an equation of a jaxpr; 0 where it calls no kernel."""
    shapes = [var.aval.shape for var in equation.invars]
    if equation.primitive is product.primitive:
        return prod(product.sizes(equation.params["kind"], shapes).values())
    if equation.primitive in convolution.PRIMITIVES:
        names = convolution.OPERANDS[equation.params["kind"]]
        of = dict(zip(names, shapes, strict=True))
        out = equation.outvars[0].aval.shape
        return prod(of.get("y", out)) * prod(of.get("w", out)[1:-1])
    if equation.primitive is calls.primitive:
        axes, count = _PRODUCTS.get(equation.params["target"], ("", 0))
        size_of = calls.sizes(equation.params["axes"], shapes)
        return count * prod(size_of[axis] for axis in axes.split())
    return 0
