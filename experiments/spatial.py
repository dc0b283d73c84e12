"""What convolution and pooling know of images: pixels permuted, pixels shifted.

Without flags: handwritten digits with an empty margin. An MLP learns as well from
pixels in an order drawn once, a CNN somewhat less; and of images moved by a few pixels,
which no network has seen, pooling keeps more. The same convolution of a moved image is
the moved convolution, to the bit.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import comparing, flags, stacks
from experiments.flags import option
from jaxdl import data as data_room
from jaxdl import models
from jaxdl import optimizers as recipes
from jaxdl.data.source import in_memory
from jaxdl.layers import max_pool
from jaxdl.runs import comparison, plots
from jaxdl.runs.folder import RunFolder

NAME = "spatial"
_BLOCKS = (((16, 3, 1),), ((32, 3, 1),))
_CNN = {"blocks": _BLOCKS, "hidden": (64,), "batch_norm": False}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "MLP": ("mlp", {"hidden": (100, 100)}),
    "CNN, no pooling": ("cnn", {**_CNN, "pooling": 1}),
    "CNN, max pooling": ("cnn", {**_CNN, "pooling": 2}),
}
MOVES = ((0, 1), (0, -1), (1, 0), (-1, 0))
SHOWN = 4  # images of each row of the picture
CAPTIONS = {
    "images.png": "Images as they are, their pixels permuted (all alike), and moved.",
    "shifts.png": "Test error of images moved by so many pixels, which were not moved "
    "in training: the mean over the seeds, between least and most.",
}


@dataclasses.dataclass(frozen=True)
class Settings(comparing.DataSettings):
    """What ``spatial`` lets one set."""

    largest_shift: int = option(3, "pixels that test images are moved by, at most")
    test_examples: int = option(1000, "most test images that are looked at")
    steps: int = option(300, "steps of each network")
    batch_size: int = option(64, "examples a step")
    learning_rate: float = option(2e-3, "of Adam")
    seeds: int = option(3, "initial values 0, 1, ... of each")
    split_seed: int = option(0, "seed of the splits, and of the order of pixels")


@dataclasses.dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
      settings, data: of what.
      images: by row of the picture, each [images, height, width, channels].
      plain, permuted: network to [seeds], test accuracy.
      shifted: network to [seeds, shifts], test accuracy; shifts from 0.
      moved: by layer, how far its output of a moved image is from the moved output:
        [shifts], the largest difference as a share of the largest output.
    """

    settings: Settings
    data: str
    images: Mapping[str, np.ndarray]
    plain: Mapping[str, np.ndarray]
    permuted: Mapping[str, np.ndarray]
    shifted: Mapping[str, np.ndarray]
    moved: Mapping[str, np.ndarray]

    def tables(self) -> list[comparison.Table]:
        """Permuted; shifted; the layers alone."""
        shifts = [f"{n} px" for n in range(self.settings.largest_shift + 1)]
        about = (
            f"{self.data} with a margin of {self.settings.largest_shift}, Adam at "
            f"{self.settings.learning_rate:g}, {self.settings.steps} steps of "
            f"{self.settings.batch_size}, {self.settings.seeds} seeds"
        )
        return [
            comparison.Table(
                "Test accuracy, pixels in one order drawn for all images",
                f"{about}; the notes: it makes no difference to an MLP (the baseline), "
                "a CNN loses what it knew of neighbours",
                ("network", "as they are", "permuted", "lost"),
                [
                    [
                        name,
                        comparing.percent(self.plain[name]),
                        comparing.percent(self.permuted[name]),
                        f"{100 * (self.plain[name] - self.permuted[name]).mean():.1f}",
                    ]
                    for name in NETWORKS
                ],
            ),
            comparison.Table(
                "Test accuracy of images moved by some pixels",
                "up, down, left and right; trained on images in their place; the "
                "notes: pooling makes small shifts matter less",
                ("network", *shifts),
                [
                    [name, *(comparing.percent(part) for part in self.shifted[name].T)]
                    for name in NETWORKS
                ],
            ),
            comparison.Table(
                "A layer's output of a moved image, and its moved output",
                "largest difference as a share of the largest output; 0: equivariant "
                "(a pooled output moves by half as many places, odd ones cut)",
                ("layer", *shifts),
                [
                    [name, *(f"{share:.2g}" for share in row)]
                    for name, row in self.moved.items()
                ],
            ),
        ]

    def to_json(self) -> dict[str, Any]:
        """All figures."""
        return {
            "test_accuracy": self.plain,
            "test_accuracy_permuted": self.permuted,
            "test_accuracy_by_shift": self.shifted,
            "difference_by_shift": self.moved,
        }

    def draw(self, folder: RunFolder) -> dict[str, str]:
        """Draw ``plots/``; file name to caption."""
        plots.image_grid(
            np.concatenate(list(self.images.values())),
            folder.plots / "images.png",
            [name for name in self.images for _ in range(SHOWN)],
            columns=SHOWN,
        )
        at = np.arange(self.settings.largest_shift + 1)
        panel = comparison.Panel(
            title=self.data,
            x="pixels that test images are moved by",
            y="test error",
            at=dict.fromkeys(NETWORKS, at),
            lines={name: 1 - part for name, part in self.shifted.items()},
        )
        comparison.draw([panel], folder.plots / "shifts.png")
        return CAPTIONS


def build(settings: Settings) -> data_room.Dataset:
    """The data, each image within an empty margin, so that none is cut when moved.

    Raises:
      ValueError, OSError: in one line, for a setting that cannot be used.
    """
    for name in ("largest_shift", "test_examples", "steps", "batch_size", "seeds"):
        if getattr(settings, name) < 1:
            raise ValueError(f"--{name} is {getattr(settings, name)}: give 1 or more.")
    recipes.check_rate(settings.learning_rate, "--learning_rate")
    data = comparing.load(settings)
    if len(data.input_shape) != 3:
        raise ValueError(f"--dataset={settings.dataset} has no images.")
    margin = settings.largest_shift
    around = ((0, 0), (margin, margin), (margin, margin), (0, 0))
    few = data_room.subset(
        data.test, np.arange(min(settings.test_examples, data.test.size))
    )
    whole = dataclasses.replace(data, test=few)
    return with_images(whole, lambda images: np.pad(images, around))


def with_images(
    data: data_room.Dataset, change: Callable[[np.ndarray], np.ndarray]
) -> data_room.Dataset:
    """The data with every part's images changed."""
    parts: dict[str, Any] = {}
    for name, source in data.parts.items():
        held = source.fetch(np.arange(source.size))
        parts[name] = in_memory(change(held["inputs"]), held["targets"])
    shape = parts["test"].fetch(np.arange(1))["inputs"].shape[1:]
    return dataclasses.replace(data, **parts, input_shape=shape)


def permute(images: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Images [n, height, width, channels], their pixels in an order [pixels]."""
    flat = images.reshape(len(images), -1, images.shape[-1])
    return flat[:, order].reshape(images.shape)


def move(images: Any, down: int, right: int) -> np.ndarray:
    """Images [n, height, width, channels] moved; what leaves comes in again."""
    return np.roll(np.asarray(images), (down, right), axis=(1, 2))


def differences(images: np.ndarray, largest: int) -> dict[str, np.ndarray]:
    """How far a layer's output of moved images is from its moved output.

    Args:
      images: [n, height, width, channels] of even sizes, float; their margin keeps
        what is moved, and what a kernel sees, inside.
      largest: shifts from 0 to this, in pixels.

    Returns:
      Layer to [shifts], the largest difference as a share of the largest output.
    """
    kernel = jax.random.normal(jax.random.key(0), (3, 3, images.shape[-1], 4))
    shape = ("NHWC", "HWIO", "NHWC")

    def convolve(x: Any) -> Any:
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=shape
        )

    def affine(x: Any) -> Any:
        size = x[0].size
        weight = jax.random.normal(jax.random.key(1), (size, size))
        return (x.reshape(len(x), -1) @ weight).reshape(x.shape)

    layers = {
        "affine": (affine, 1),
        "convolution": (convolve, 1),
        "convolution, max pooling": (lambda x: max_pool(convolve(x), 2), 2),
    }
    found = {}
    for name, (layer, stride) in layers.items():
        whole = np.asarray(layer(jnp.asarray(images)))
        found[name] = np.array(
            [
                np.abs(
                    np.asarray(layer(jnp.asarray(move(images, 0, n))))
                    - move(whole, 0, n // stride)
                ).max()
                / np.abs(whole).max()
                for n in range(largest + 1)
            ]
        )
    return found


def _network(settings: Settings, data: data_room.Dataset, name: str) -> Any:
    kind, options = NETWORKS[name]
    module = models.create(kind, classes=len(data.classes), **options)
    numbers = {"learning_rate": settings.learning_rate}
    return stacks.network(data, module, recipes.make("adam"), numbers)


def compare(
    settings: Settings, data: data_room.Dataset, say: comparing.Say = print
) -> Found:
    """Train all of them on images as they are and permuted; then look at moved ones."""
    pixels = int(np.prod(data.input_shape[:2]))
    order = np.random.default_rng(settings.split_seed).permutation(pixels)
    mixed = with_images(data, partial(permute, order=order))
    test = data.test.fetch(np.arange(data.test.size))
    images, shifts = test["inputs"], range(settings.largest_shift + 1)
    moved = [
        np.concatenate([move(images, n * d, n * r) for d, r in MOVES]) for n in shifts
    ]
    targets = np.tile(test["targets"], len(MOVES))
    length = stacks.Length(settings.steps, settings.batch_size, checks=1)
    plain, permuted, shifted = {}, {}, {}
    for name in NETWORKS:
        net = _network(settings, data, name)
        states = stacks.seeds(net, settings.seeds)
        course = stacks.train_stack(data, net, states, length)
        plain[name] = course.test
        right = [
            stacks.predictions(data, net, course.states, part) == targets
            for part in moved
        ]
        shifted[name] = np.mean(right, axis=-1).T
        other = stacks.train_stack(
            mixed, _network(settings, mixed, name), states, length
        )
        permuted[name] = other.test
        say(f"{name}: {course.seconds + other.seconds:.0f} s")
    some = images[:SHOWN]
    rows = {
        "as they are": some,
        "permuted": permute(some, order),
        "moved by 1": move(some, 0, 1),
        f"moved by {settings.largest_shift}": move(some, 0, settings.largest_shift),
    }
    # Two pixels more: what the kernel sees beyond an image stays inside as well.
    odd = np.array(images.shape[1:3]) % 2
    around = ((0, 0), (2, 2 + odd[0]), (2, 2 + odd[1]), (0, 0))
    few = np.pad(images[:8].astype(np.float32), around)
    return Found(
        settings,
        data.name,
        rows,
        plain,
        permuted,
        shifted,
        differences(few, settings.largest_shift),
    )


def main(settings: Settings) -> int:
    """Compare as the settings say; the exit code."""
    return comparing.run(NAME, settings, build, compare)


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
