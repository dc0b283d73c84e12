"""TFDS sets on disk for PyTorch: ArrayRecord, the message of an example, Pillow."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from array_record.python.array_record_data_source import ArrayRecordDataSource
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2
from torch import Tensor
from torch.utils.data import Dataset


def open_records(data_dir: str, name: str, part: str) -> Any:
    """Random access to the encoded examples of a part.

    Raises:
      FileNotFoundError: there is none.
    """
    found = sorted(map(str, Path(data_dir, name).rglob(f"*-{part}.array_record*")))
    if not found:
        raise FileNotFoundError(f"{data_dir} holds no ArrayRecord of {name}, {part}")
    return ArrayRecordDataSource(found)


def features(record: bytes) -> Any:
    """An example's features by name."""
    return tf_example_pb2.Example.FromString(record).features.feature


def image_and_label(record: bytes) -> tuple[np.ndarray, int]:
    """A decoded image, uint8 [height, width], and its class."""
    found = features(record)
    encoded = io.BytesIO(found["image"].bytes_list.value[0])
    return np.asarray(Image.open(encoded)), found["label"].int64_list.value[0]


def images(data_dir: str, name: str, part: str) -> tuple[Tensor, Tensor]:
    """All images of a part, uint8 [examples, height, width], and their classes."""
    records = open_records(data_dir, name, part)
    encoded = records.__getitems__(range(len(records)))
    found, labels = zip(*map(image_and_label, encoded), strict=True)
    return torch.from_numpy(np.stack(found)), torch.tensor(labels)


class Images(Dataset):
    """Images that are decoded when they are asked for."""

    def __init__(self, data_dir: str, name: str, part: str) -> None:
        self.asked = (data_dir, name, part)
        self.count = len(open_records(*self.asked))
        self.records: Any = None

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if self.records is None:  # each worker opens its own
            self.records = open_records(*self.asked)
        image, label = image_and_label(self.records[index])
        return torch.from_numpy(image.copy()), label


def text(data_dir: str, name: str, part: str) -> str:
    """The text of a part."""
    records = open_records(data_dir, name, part)
    found = [features(record)["text"].bytes_list.value[0] for record in records]
    return b"\n".join(found).decode("utf-8")
