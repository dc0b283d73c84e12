"""Augmentation of images in jitted JAX, with a key per example.

Every draw is a function of (key, position in the global batch), so a batch that
is divided over devices is augmented as on one. All geometry of an example is
composed into one affine map and resampled once.
"""

from dataclasses import dataclass, fields

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Num

from jaxdl.batch import DEVICES, example_keys, inside_pmap


@dataclass(frozen=True)
class Augmentation:
    """What to vary and how far; 0 leaves an operation out.

    Attributes:
      shift: whole pixels to move by, at most, along each axis.
      crop: share of each side that may be cut away; what is left, at a random
        place, is scaled to the full size.
      flip: probability of mirroring left and right.
      vertical_flip: probability of mirroring top and bottom.
      rotation: degrees to turn by, at most, either way.
      zoom: 0.1 scales by a factor between 0.9 and 1.1.
      shear: degrees to slant rows by, at most, either way.
      brightness: largest value added to all pixels (standardised units).
      contrast: 0.2 stretches around the image's mean by 0.8 to 1.2.
      channel_shift: largest value added to each channel, drawn apart.
      cutout: side in pixels of a square set to 0, the training mean
        (DeVries and Taylor 2017).
      mixup: a of Beta(a, a), the weight of a blend with another example
        (Zhang et al. 2018).
    """

    shift: int = 0
    crop: float = 0.0
    flip: float = 0.0
    vertical_flip: float = 0.0
    rotation: float = 0.0
    zoom: float = 0.0
    shear: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    channel_shift: float = 0.0
    cutout: int = 0
    mixup: float = 0.0

    def __str__(self) -> str:
        """The text that `parse` reads."""
        given = [(f.name, getattr(self, f.name)) for f in fields(self)]
        return ",".join(f"{name}={value:g}" for name, value in given if value) or "none"


# Name -> (strength where none is written, largest allowed).
_ALLOWED: dict[str, tuple[float | None, float]] = {
    "shift": (None, 1_000),
    "crop": (None, 0.9),
    "flip": (0.5, 1.0),
    "vertical_flip": (0.5, 1.0),
    "rotation": (None, 180.0),
    "zoom": (None, 0.9),
    "shear": (None, 60.0),
    "brightness": (None, 10.0),
    "contrast": (None, 1.0),
    "channel_shift": (None, 10.0),
    "cutout": (None, 1_000),
    "mixup": (None, 10.0),
}
_WHOLE = ("shift", "cutout")

# The uniform draws of an example, one a use: an operation keeps its draws
# whichever others are chosen.
_DRAWS = 24
_SHIFT, _CROP, _FLIP, _ROTATION, _ZOOM, _SHEAR = 0, 2, 5, 7, 8, 9
_BRIGHTNESS, _CONTRAST, _CUTOUT, _MIXUP, _CHANNELS = 10, 11, 12, 14, 15


def parse(text: str) -> Augmentation:
    """Read "shift=2,flip,rotation=15,mixup=0.2"; "none" or "" is no augmentation.

    Raises:
      ValueError: an unknown or repeated name, or a strength that is no number or
        outside what is allowed.
    """
    chosen: dict[str, float] = {}
    for item in text.split(",") if text.strip() not in ("", "none") else ():
        name, _, written = (part.strip() for part in item.partition("="))
        if name not in _ALLOWED:
            raise ValueError(
                f"augmentation {name!r} is unknown; choose from {', '.join(_ALLOWED)}, "
                "as in shift=2,flip,rotation=15"
            )
        if name in chosen:
            raise ValueError(f"augmentation {name!r} is given twice; give it once")
        chosen[name] = _strength(name, written)
    return Augmentation(**chosen)  # type: ignore[arg-type]


def augment(
    augmentation: Augmentation,
    inputs: Float[Array, "batch height width channels"],
    targets: Num[Array, "batch *target"],
    key: Key[Array, ""],
    position: Int[Array, " batch"],
    *,
    classes: int | None = None,
    mask: Float[Array, " batch"] | None = None,
) -> tuple[Float[Array, "batch height width channels"], Num[Array, "batch *rest"]]:
    """Vary a batch of images, after normalisation.

    Where an operation looks beyond the border it sees the nearest pixel.

    Args:
      augmentation: what to vary, fixed when compiled.
      inputs: float images.
      targets: class indices [batch], or floats, or already soft [batch, classes].
      key: of this step; examples draw from it by their position.
      position: places in the global batch.
      classes: how many there are, for the soft targets of mixup.
      mask: 0.0 for padding, which is never blended into another example.

    Returns:
      Images of the same shape and dtype; targets as given, or with mixup float32
      [batch, classes] (blended floats where targets are floats).

    Raises:
      ValueError: inputs that are not float images, or mixup of class indices
        without `classes`.
    """
    if augmentation == Augmentation():
        return inputs, targets
    if inputs.ndim != 4 or not jnp.issubdtype(inputs.dtype, jnp.floating):
        raise ValueError(
            f"augmentation {augmentation} needs float images [batch, height, width, "
            f"channels]; the inputs are {inputs.dtype} {list(inputs.shape)}"
        )
    keys = example_keys(key, position)
    size = max(_DRAWS, _CHANNELS + inputs.shape[-1])
    draws = jax.vmap(lambda k: jax.random.uniform(k, (size,)))(keys)
    out = inputs
    if (matrix := _affine(augmentation, draws, *inputs.shape[1:3])) is not None:
        out = _resample(out, matrix, whole=_keeps_pixels(augmentation))
    out = _recolour(augmentation, draws, out)
    if augmentation.cutout:
        out = _cut_out(augmentation.cutout, draws, out)
    out = out.astype(inputs.dtype)
    if augmentation.mixup:
        # Else XLA resamples every image twice, once for itself and once for its
        # neighbour: 2.3 ms instead of 0.8 for 128 images of 28 x 28 (jax 0.12; 0.10
        # on CPU drops the barrier).
        out = jax.lax.optimization_barrier(out)
        weight = _beta(augmentation.mixup, draws[:, _MIXUP])
        return _mix_up(weight, out, targets, classes, mask)
    return out, targets


def _strength(name: str, written: str) -> float:
    default, largest = _ALLOWED[name]
    if not written and default is not None:
        return default
    try:
        value = float(written)
    except ValueError:
        value = float("nan")
    if not 0.0 <= value <= largest or (name in _WHOLE and value != int(value)):
        kind = "a whole number" if name in _WHOLE else "a number"
        raise ValueError(
            f"augmentation {name}={written} is not allowed; give {kind} from 0 to "
            f"{largest:g}, as in {name}={min(2 if name in _WHOLE else 0.1, largest):g}"
        )
    return int(value) if name in _WHOLE else value


def _signed(draw: Array) -> Array:
    """[0, 1) to [-1, 1)."""
    return 2.0 * draw - 1.0


def _affine(
    a: Augmentation, draws: Float[Array, "batch draws"], height: int, width: int
) -> Float[Array, "batch 2 3"] | None:
    """Where each output pixel (y, x, from the centre) looks in the input.

    None where no geometry is asked for.
    """
    count = draws.shape[0]
    matrix = jnp.broadcast_to(jnp.eye(2), (count, 2, 2))
    offset = jnp.zeros((count, 2))
    geometric = False
    if a.rotation:
        angle = _signed(draws[:, _ROTATION]) * np.deg2rad(a.rotation)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        turn = jnp.stack([jnp.stack([cos, sin], -1), jnp.stack([-sin, cos], -1)], 1)
        matrix, geometric = turn, True
    if a.shear:
        slant = jnp.tan(_signed(draws[:, _SHEAR]) * np.deg2rad(a.shear))
        # x' = x + slant * y: rows slide against each other.
        columns = [matrix[:, :, 0] + slant[:, None] * matrix[:, :, 1], matrix[:, :, 1]]
        matrix, geometric = jnp.stack(columns, -1), True
    if a.zoom:
        factor = 1.0 + a.zoom * _signed(draws[:, _ZOOM])
        matrix, geometric = matrix / factor[:, None, None], True
    if a.crop:
        side = 1.0 - a.crop * draws[:, _CROP]
        slack = (1.0 - side)[:, None] * jnp.array([height, width], jnp.float32) / 2.0
        offset = offset + slack * _signed(draws[:, _CROP + 1 : _CROP + 3])
        matrix, geometric = matrix * side[:, None, None], True
    if a.flip or a.vertical_flip:
        chances = jnp.array([a.vertical_flip, a.flip], jnp.float32)
        mirrored = draws[:, _FLIP : _FLIP + 2] < chances
        signs = jnp.where(mirrored, -1.0, 1.0)
        matrix, geometric = matrix * signs[:, None, :], True
    if a.shift:
        steps = jnp.floor(draws[:, _SHIFT : _SHIFT + 2] * (2 * a.shift + 1)) - a.shift
        offset, geometric = offset + steps, True
    return jnp.concatenate([matrix, offset[..., None]], -1) if geometric else None


def _keeps_pixels(a: Augmentation) -> bool:
    """Whether an output pixel is one of the input: shifts and flips alone."""
    return not (a.rotation or a.shear or a.zoom or a.crop)


def _resample(
    images: Float[Array, "batch height width channels"],
    matrix: Float[Array, "batch 2 3"],
    whole: bool,
) -> Float[Array, "batch height width channels"]:
    """Bilinear look-up; exact where a pixel is looked up at whole coordinates. If all
    are ``whole``, only those pixels are looked up."""
    count, height, width, channels = images.shape
    # Half-integer centres and +-1 factors are exact in float32, and so are shifts
    # and flips by whole pixels.
    centre = np.array([(height - 1) / 2, (width - 1) / 2], np.float32)
    y, x = jnp.meshgrid(
        jnp.arange(height) - centre[0], jnp.arange(width) - centre[1], indexing="ij"
    )
    m = matrix[:, :, :, None, None]
    at_y = jnp.clip(
        m[:, 0, 0] * y + m[:, 0, 1] * x + m[:, 0, 2] + centre[0], 0, height - 1
    )
    at_x = jnp.clip(
        m[:, 1, 0] * y + m[:, 1, 1] * x + m[:, 1, 2] + centre[1], 0, width - 1
    )
    top, left = jnp.floor(at_y), jnp.floor(at_x)
    down, right = (at_y - top)[..., None], (at_x - left)[..., None]
    y0, x0 = top.astype(jnp.int32), left.astype(jnp.int32)
    y1, x1 = jnp.minimum(y0 + 1, height - 1), jnp.minimum(x0 + 1, width - 1)
    flat = images.reshape(count, height * width, channels)

    def pixels(rows: Array, columns: Array) -> Array:
        index = (rows * width + columns).reshape(count, height * width, 1)
        found = jnp.take_along_axis(flat, index, axis=1, mode="promise_in_bounds")
        return found.reshape(images.shape)

    if whole:
        return pixels(y0, x0)
    above = pixels(y0, x0) * (1 - right) + pixels(y0, x1) * right
    below = pixels(y1, x0) * (1 - right) + pixels(y1, x1) * right
    return above * (1 - down) + below * down


def _recolour(
    a: Augmentation,
    draws: Float[Array, "batch draws"],
    images: Float[Array, "batch height width channels"],
) -> Float[Array, "batch height width channels"]:
    """Contrast, brightness and channel shift."""
    if a.contrast:
        factor = 1.0 + a.contrast * _signed(draws[:, _CONTRAST, None, None, None])
        mean = images.mean((1, 2, 3), keepdims=True)
        images = (images - mean) * factor + mean
    if a.brightness:
        images = images + a.brightness * _signed(
            draws[:, _BRIGHTNESS, None, None, None]
        )
    if a.channel_shift:
        shift = _signed(draws[:, _CHANNELS : _CHANNELS + images.shape[-1]])
        images = images + a.channel_shift * shift[:, None, None, :]
    return images


def _cut_out(
    side: int,
    draws: Float[Array, "batch draws"],
    images: Float[Array, "batch height width channels"],
) -> Float[Array, "batch height width channels"]:
    """A square of 0 around a random pixel, clipped at the border."""
    inside = []
    for axis, length in enumerate(images.shape[1:3]):
        centre = jnp.floor(draws[:, _CUTOUT + axis] * length).astype(jnp.int32)
        start = centre[:, None] - side // 2
        here = jnp.arange(length)
        inside.append((here >= start) & (here < start + side))
    square = inside[0][:, :, None] & inside[1][:, None, :]
    return jnp.where(square[..., None], 0.0, images)


def _beta(a: float, draws: Float[Array, " batch"]) -> Float[Array, " batch"]:
    """Uniform draws as draws of Beta(a, a), by its quantile function in a table.

    (`jax.random.beta` rejects and repeats; compiling that takes 2 seconds.)
    """
    from scipy.special import betaincinv

    steps = 4_096
    quantiles = betaincinv(a, a, np.linspace(0.0, 1.0, steps + 1)).astype(np.float32)
    at = draws * steps
    below = jnp.floor(at).astype(jnp.int32)
    low, high = jnp.asarray(quantiles)[below], jnp.asarray(quantiles)[below + 1]
    return low + (at - below) * (high - low)


def _mix_up(
    weight: Float[Array, " batch"],
    images: Float[Array, "batch height width channels"],
    targets: Num[Array, "batch *target"],
    classes: int | None,
    mask: Float[Array, " batch"] | None,
) -> tuple[Float[Array, "batch height width channels"], Float[Array, "batch *rest"]]:
    """Blend each example with its neighbour: 0 with 1, 2 with 3, ...

    A batch is a random draw already, so neighbours are random partners; and they
    share a device when the batch is divided, which saves sending images around.
    """
    if not jnp.issubdtype(targets.dtype, jnp.floating):
        if classes is None:
            raise ValueError("mixup of class indices needs the number of classes")
        targets = jax.nn.one_hot(targets, classes)
    real = jnp.ones(len(images)) if mask is None else mask
    other_images, other_targets, other_real = _neighbours((images, targets, real))
    weight = jnp.where((real > 0) & (other_real > 0), weight, 1.0)

    def blend(own: Array, other: Array) -> Array:
        w = weight.reshape(-1, *(1,) * (own.ndim - 1)).astype(own.dtype)
        # Where w is 1 the other must not count, not even as 0 * NaN of padding.
        return jnp.where(w == 1.0, own, w * own + (1 - w) * other)

    return blend(images, other_images), blend(targets, other_targets)


def _neighbours(tree: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    """Rows 1, 0, 3, 2, ... of each array; a last row without a neighbour itself."""
    count = len(tree[0])
    if count % 2 and inside_pmap():
        # A device's odd last example has its neighbour on the next device.
        whole = jax.tree.map(lambda a: jax.lax.all_gather(a, DEVICES, tiled=True), tree)
        start = jax.lax.axis_index(DEVICES) * count
        return jax.tree.map(
            lambda a: jax.lax.dynamic_slice_in_dim(a, start, count), _swapped(whole)
        )
    return _swapped(tree)


def _swapped(tree: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    def swap(a: Array) -> Array:
        even = len(a) - len(a) % 2
        pairs = a[:even].reshape(even // 2, 2, *a.shape[1:])[:, ::-1]
        return jnp.concatenate([pairs.reshape(a[:even].shape), a[even:]])

    return jax.tree.map(swap, tree)
