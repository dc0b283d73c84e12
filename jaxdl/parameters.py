"""What every room knows of a parameter tree: its paths, and which are weights."""

import re
from typing import Any

import jax

Params = Any
Mask = Any

# What Flax and hand-written models call shifts and scales, whatever their rank.
_NOT_WEIGHTS = frozenset({"bias", "b", "scale", "beta", "gamma"})


def path_name(path: tuple[Any, ...]) -> str:
    """A parameter's path as text: ``block_1/conv/kernel``."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def decay_mask(params: Params) -> Mask:
    """True where weight decay and penalties apply: kernels and embeddings.

    Biases and the scales of norms are spared: whatever has fewer than two axes,
    or is named as one (``bias``, ``scale``...).
    """

    def decays(path: tuple[Any, ...], leaf: Any) -> bool:
        return leaf.ndim >= 2 and path_name(path[-1:]) not in _NOT_WEIGHTS

    return jax.tree_util.tree_map_with_path(decays, params)


def trainable_mask(params: Params, frozen: str) -> Mask:
    """False where a parameter's path matches a pattern of what is frozen.

    Args:
      params: the parameter tree.
      frozen: regular expressions, separated by commas. Each must match a path
        (``Dense_0/kernel``) from its beginning to its end or to a slash, so that
        ``Dense_1`` freezes that layer and leaves ``Dense_10``; ``.*/bias``
        freezes all biases. Empty freezes nothing.

    Raises:
      ValueError: if a pattern is no regular expression or matches nothing, or
        if together they freeze everything.
    """
    names = [
        path_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]
    ]
    frozen_names: set[str] = set()
    for pattern in filter(None, (part.strip() for part in frozen.split(","))):
        try:
            regex = re.compile(f"(?:{pattern})(?:/.*)?")
        except re.error as error:
            raise ValueError(
                f"cannot freeze {pattern!r}: not a regular expression ({error})"
            ) from None
        matched = {name for name in names if regex.fullmatch(name)}
        if not matched:
            top = dict.fromkeys(name.split("/")[0] for name in names)
            raise ValueError(
                f"nothing to freeze: {pattern!r} matches no parameter; "
                f"the model has {', '.join(top)}"
            )
        frozen_names |= matched
    if names and len(frozen_names) == len(names):
        raise ValueError(
            f"cannot freeze {frozen!r}: it matches every parameter and leaves "
            "nothing to train"
        )
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path_name(path) not in frozen_names, params
    )
