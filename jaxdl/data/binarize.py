"""Grey images in [0, 1] to images of 0 and 1."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxdl.batch import example_keys

BINARIZATIONS = ("stochastic", "threshold", "none")


def binarize(
    images: Float[Array, "batch *shape"],
    way: str,
    key: Key[Array, ""] | None,
    position: Int[Array, " batch"],
) -> Float[Array, "batch *shape"]:
    """Images as pixels of 0.0 and 1.0.

    Args:
      images: in [0, 1].
      way: "stochastic" draws each pixel with its grey value as the probability of a
        1 (Salakhutdinov and Murray 2008, sec. 5), "threshold" has 1 above 0.5, "none"
        leaves images as they are.
      key: of the draws; the others need none.
      position: of each example, which its draws belong to.

    Raises:
      ValueError: an unknown way, or draws without a key.
    """
    if way not in BINARIZATIONS:
        raise ValueError(
            f"unknown binarization {way!r}: give one of {', '.join(BINARIZATIONS)}"
        )
    if way == "none":
        return images
    if way == "threshold":
        return (images > 0.5).astype(images.dtype)
    if key is None:
        raise ValueError("stochastic binarization draws its pixels: give a key")
    shape = images.shape[1:]
    keys = example_keys(key, position)
    draws = jax.vmap(lambda one: jax.random.uniform(one, shape))(keys)
    return jnp.asarray(draws < images, images.dtype)
