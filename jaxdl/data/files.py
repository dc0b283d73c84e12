"""Data sets in the user's own files: ``npz:PATH`` and ``folder:PATH``."""

from pathlib import Path

import numpy as np

from jaxdl.data import images
from jaxdl.data.arrays import Pair, stored_arrays
from jaxdl.data.npz_files import read_npz
from jaxdl.data.source import Examples, Source, Stored, read_whole

# (inputs, targets) as people name them; the first pair found is the training part.
_TRAIN_KEYS = (
    ("x_train", "y_train"),
    ("inputs", "targets"),
    ("images", "labels"),
    ("x", "y"),
)
_TEST_KEYS = (("x_test", "y_test"),)
_VALIDATION_KEYS = (("x_val", "y_val"), ("x_validation", "y_validation"))

_VALIDATION_FOLDERS = ("validation", "val", "valid")

# A labelled image file.
_Item = tuple[Path, int]


def npz(path: str, *, memory_budget: float = float("inf")) -> Stored:
    """A NumPy archive: `x_train` and `y_train`, `inputs` and `targets`, `images`
    and `labels`, or `x` and `y`; optionally `x_test`/`y_test`, `x_val`/`y_val` and
    `classes`, the class names.

    Raises:
      FileNotFoundError: no such file.
      ValueError: not an archive of plain arrays, other names, or arrays that
        can't be learned from.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"npz:{path} does not exist; give an .npz file")
    found = read_npz(file)
    train = _pair(found, _TRAIN_KEYS)
    if train is None:
        wanted = ", ".join("/".join(keys) for keys in _TRAIN_KEYS)
        raise ValueError(
            f"npz:{path} holds {', '.join(found) or 'nothing'}; its arrays must be "
            f"named {wanted}"
        )
    classes = found.get("classes")
    try:
        return stored_arrays(
            f"npz:{path}",
            train,
            validation=_pair(found, _VALIDATION_KEYS),
            test=_pair(found, _TEST_KEYS),
            classes=None if classes is None else _names(classes),
            memory_budget=memory_budget,
        )
    except ValueError as error:
        raise ValueError(f"npz:{path}: {error}") from error


def _names(classes: np.ndarray) -> tuple[str, ...]:
    """Class names by index."""
    names = tuple(map(str, classes.tolist())) if np.ndim(classes) == 1 else ()
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"classes of shape {list(np.shape(classes))} are no names: give one for "
            "each class, all different"
        )
    return names


def _pair(
    found: dict[str, np.ndarray], names: tuple[tuple[str, str], ...]
) -> Pair | None:
    for inputs, targets in names:
        if inputs in found and targets in found:
            return found[inputs], found[targets]
    return None


def folder(
    path: str,
    *,
    image_size: int | None = None,
    memory_budget: float = float("inf"),
) -> Stored:
    """Images in one sub-folder a class, PNG or JPEG, classes in sorted order.

    PATH/CLASS/*.png, or PATH/train/CLASS/*.png with test/ and validation/ (or
    val/) beside train/. If all images are grey they have one channel, else three.

    Args:
      path: the folder.
      image_size: height and width to bring every image to; needed when they
        differ.
      memory_budget: bytes of decoded images; beyond it they are decoded when
        needed.

    Raises:
      FileNotFoundError: no such folder.
      ValueError: no class folders, a class without images, images of two sizes,
        or one that can't be read.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(
            f"folder:{path} does not exist or is no folder; give one that holds a "
            "sub-folder of images for each class"
        )
    parts = _parts(root)
    classes = _class_names(parts["train"])
    items = {part: _items(at, classes) for part, at in parts.items()}
    files = [file for part in items.values() for file, _ in part]
    shape = _common_shape(files, image_size)
    count = sum(map(len, items.values()))
    resident = count * int(np.prod(shape)) <= memory_budget
    sources = {
        part: _image_source(found, shape, resident) for part, found in items.items()
    }
    labels = np.array([label for _, label in items["train"]], np.int32)
    return Stored(
        name=f"folder:{path}",
        train=sources["train"],
        classes=classes,
        labels=lambda: labels,
        validation=sources.get("validation"),
        test=sources.get("test"),
        high=255.0,
    )


def _parts(root: Path) -> dict[str, Path]:
    """The folders of the training part, and of the others where there are any."""
    names = {at.name.lower(): at for at in _folders(root)}
    if "train" not in names or not _folders(names["train"]):
        return {"train": root}
    parts = {"train": names["train"]}
    if "test" in names:
        parts["test"] = names["test"]
    for name in _VALIDATION_FOLDERS:
        if name in names:
            parts["validation"] = names[name]
            break
    return parts


def _folders(root: Path) -> list[Path]:
    return sorted(
        at for at in root.iterdir() if at.is_dir() and not at.name.startswith(".")
    )


def _class_names(root: Path) -> tuple[str, ...]:
    names = tuple(at.name for at in _folders(root))
    if len(names) < 2:
        raise ValueError(
            f"folder:{root} holds {len(names)} class folders, at least 2 are needed; "
            f"put the images of each class in a folder of its own, as in "
            f"{root / 'cat' / '1.png'}"
        )
    for name in names:
        if not _is_text(name):
            raise ValueError(
                f"folder:{root} has a class whose name is no text ({name!a}): rename it"
            )
    return names


def _is_text(name: str) -> bool:
    """Whether a file's name is UTF-8, so that it can be written down."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _items(root: Path, classes: tuple[str, ...]) -> list[_Item]:
    """The image files of one part with their class indices."""
    unknown = {at.name for at in _folders(root)} - set(classes)
    if unknown:
        raise ValueError(
            f"folder:{root} has the class {min(unknown)!r}, which the training part "
            "has not; its classes are " + ", ".join(classes)
        )
    items = []
    for label, name in enumerate(classes):
        at = root / name
        files = sorted(at.iterdir()) if at.is_dir() else []
        images_here = [
            file
            for file in files
            if file.suffix.lower() in images.SUFFIXES and not file.name.startswith(".")
        ]
        if at.is_dir() and not images_here:
            raise ValueError(f"{at} holds no PNG or JPEG images; add some or remove it")
        items += [(file, label) for file in images_here]
    if not items:
        raise ValueError(f"folder:{root} holds no images of {', '.join(classes)}")
    return items


def _common_shape(files: list[Path], image_size: int | None) -> tuple[int, int, int]:
    """(height, width, channels) of all images; grey only if all are grey."""
    headers = [images.header(file) for file in files]
    channels = max(found[2] for found in headers)
    if image_size is not None:
        return image_size, image_size, channels
    height, width = headers[0][:2]
    for file, found in zip(files, headers, strict=True):
        if found[:2] != (height, width):
            raise ValueError(
                f"images differ in size: {files[0]} is {width}x{height}, {file} is "
                f"{found[1]}x{found[0]}; --image_size=N brings all to N x N"
            )
    return height, width, channels


def _image_source(
    items: list[_Item], shape: tuple[int, int, int], resident: bool
) -> Source:
    labels = np.array([label for _, label in items], np.int32)

    def fetch(indices: np.ndarray) -> Examples:
        chosen = [items[int(i)][0] for i in indices]
        pixels = images.decode_many(chosen, shape, [str(file) for file in chosen])
        return {"inputs": pixels, "targets": labels[indices]}

    source = Source(len(items), fetch)
    return read_whole(source) if resident else source
