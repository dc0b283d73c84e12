"""TFDS sets, read from disk without TensorFlow; and what is said if there is none."""

import io
import sys

import numpy as np
import pytest
import tensorflow_datasets
from PIL import Image

from jaxdl import data
from jaxdl.data import tfds

RNG = np.random.default_rng(0)


def _record(pixels, label, damaged=False):
    from tensorflow_datasets.proto import tf_example_pb2

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    encoded = file.getvalue()[: 50 if damaged else None]
    example = tf_example_pb2.Example()
    example.features.feature["image"].bytes_list.value.append(encoded)
    example.features.feature["label"].int64_list.value.append(label)
    return example.SerializeToString()


def _write(
    root, sizes, shape=(6, 5, 3), name="little_pictures", labels=None, damaged=-1
):
    """A data set as TFDS prepares it."""
    from array_record.python.array_record_module import ArrayRecordWriter

    core, features = tensorflow_datasets.core, tensorflow_datasets.features
    folder = root / name / "1.0.0"
    folder.mkdir(parents=True)
    infos = []
    for part, count in sizes.items():
        file = folder / f"{name}-{part}.array_record-00000-of-00001"
        writer = ArrayRecordWriter(str(file), "group_size:1")
        for i in range(count):
            label = i % 2 if labels is None else labels[part]
            pixels = RNG.integers(0, 100, (6, 5, 3), dtype=np.uint8)
            pixels[0, 0] = 200 + label
            writer.write(_record(pixels, label, i == damaged))
        writer.close()
        template = core.ShardedFileTemplate(
            data_dir=folder,
            dataset_name=name,
            split=part,
            filetype_suffix="array_record",
        )
        infos.append(
            core.SplitInfo(
                name=part,
                shard_lengths=[count],
                num_bytes=0,
                filename_template=template,
            )
        )
    tensorflow_datasets.folder_dataset.write_metadata(
        data_dir=folder,
        features=features.FeaturesDict(
            {
                "image": features.Image(shape=shape),
                "label": features.ClassLabel(names=["cat", "dog"]),
            }
        ),
        split_infos=infos,
        supervised_keys=("image", "label"),
        check_data=False,
    )
    return root


def test_a_prepared_set_is_read_without_tensorflow(tmp_path):
    _write(tmp_path, {"train": 20, "test": 6})
    dataset = data.load("little_pictures", data_dir=tmp_path)
    assert (dataset.train.size, dataset.validation.size, dataset.test.size) == (
        16,
        4,
        6,
    )
    assert dataset.classes == ("cat", "dog")
    assert dataset.input_shape == (6, 5, 3)
    for source in dataset.parts.values():
        held = source.fetch(np.arange(source.size))
        assert held["inputs"].dtype == np.uint8
        np.testing.assert_array_equal(held["inputs"][:, 0, 0, 0], 200 + held["targets"])
    assert "tensorflow" not in sys.modules


def test_streamed_batches_equal_resident_ones(tmp_path):
    _write(tmp_path, {"train": 20, "test": 6})
    resident = data.load("little_pictures", data_dir=tmp_path)
    streamed = data.load("little_pictures", data_dir=tmp_path, memory_budget=100)
    assert streamed.train.arrays is None
    assert resident.preprocess == streamed.preprocess
    one = data.feed(resident.train, 5, 0)
    with data.feed(streamed.train, 5, 0) as two:
        for step in range(5):
            for name, array in one(step).items():
                np.testing.assert_array_equal(array, two(step)[name])


def test_parts_of_its_own(tmp_path):
    _write(tmp_path, {"train": 20, "validation": 6, "test": 4})
    dataset = data.load("little_pictures", data_dir=tmp_path)
    assert [source.size for source in dataset.parts.values()] == [20, 6, 4]


def test_a_test_part_without_labels_is_no_test_part(tmp_path):
    labels = {"train": 0, "validation": 1, "test": -1}
    _write(tmp_path, {"train": 20, "validation": 6, "test": 4}, labels=labels)
    dataset = data.load("little_pictures", data_dir=tmp_path)
    assert [source.size for source in dataset.parts.values()] == [16, 4, 6]


def test_images_of_undeclared_size_are_resized_or_refused(tmp_path):
    _write(tmp_path, {"train": 20}, shape=(None, None, 3))
    with pytest.raises(ValueError, match="images of several sizes; --image_size=N"):
        data.load("little_pictures", data_dir=tmp_path)
    dataset = data.load("little_pictures", data_dir=tmp_path, image_size=4)
    assert dataset.input_shape == (4, 4, 3)
    assert [source.size for source in dataset.parts.values()] == [12, 4, 4]


def _read_all(dataset):
    for source in dataset.parts.values():
        source.fetch(np.arange(source.size))


@pytest.mark.parametrize("budget", [2**30, 0])
def test_a_damaged_image_is_named(tmp_path, budget):
    _write(tmp_path, {"train": 20}, damaged=3)
    with pytest.raises(ValueError, match="little_pictures train image 3 can't be read"):
        _read_all(data.load("little_pictures", data_dir=tmp_path, memory_budget=budget))


def test_a_set_without_a_training_part(tmp_path):
    _write(tmp_path, {"test": 6})
    with pytest.raises(ValueError, match="has no training part; it has test"):
        data.load("little_pictures", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "mnst",
            "--dataset=mnst is unknown; did you mean mnist .*digits, npz:PATH, folder",
        ),
        ("digit", "did you mean digits"),
        ("", "--dataset= is unknown; give digits"),
        ("csv:a.csv", "--dataset=csv:a.csv is unknown"),
        ("huggingface:mnist", "--dataset=huggingface:mnist is unknown"),
        ("mnist/fancy", "--dataset=mnist/fancy: BuilderConfig fancy not found"),
        ("mnist:9.9.9", "--dataset=mnist:9.9.9: .*only: 3.0.1"),
        ("imdb_reviews", "is no image classification set: its features are "),
        ("tiny_shakespeare", "is no image classification set: its features are text"),
    ],
)
def test_names_that_are_none_of_ours(tmp_path, name, message, capfd):
    with pytest.raises(ValueError, match=message) as caught:
        data.load(name, data_dir=tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_not_prepared_and_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds, "_network", lambda: False)
    with pytest.raises(
        FileNotFoundError, match="mnist is not prepared in .*no network"
    ) as caught:
        data.load("mnist", data_dir=tmp_path)
    message = str(caught.value)
    assert (
        f"tfds build mnist --file_format=array_record --data_dir={tmp_path}" in message
    )
    assert "pip install 'jaxdl[prepare]'" in message
    assert "\n" not in message
    assert not list(tmp_path.iterdir())


def test_not_prepared_and_no_tensorflow(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds, "_network", lambda: True)
    monkeypatch.setattr(tfds.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"needs TensorFlow; type pip install 'jaxdl\[prepare\]'"
    ):
        data.load("mnist", data_dir=tmp_path)


@pytest.mark.parametrize("succeeds", [True, False])
def test_not_prepared_but_all_is_there_to_do_so(tmp_path, monkeypatch, succeeds):
    monkeypatch.setattr(tfds, "_network", lambda: True)
    monkeypatch.setattr(tfds.importlib.util, "find_spec", lambda name: name)
    real = tensorflow_datasets.builder
    formats = []

    class Unprepared:
        info = property(lambda self: real("little_pictures", data_dir=tmp_path).info)
        data_path = tmp_path / "little_pictures" / "1.0.0"

        def is_prepared(self):
            return False

        def download_and_prepare(self):
            if not succeeds:
                raise ConnectionError("the server hung up\nand more")

        def as_data_source(self, **options):
            return real("little_pictures", data_dir=tmp_path).as_data_source(**options)

    def builder(name, data_dir, file_format=None):
        formats.append(file_format)
        return Unprepared()

    _write(tmp_path, {"train": 20})
    monkeypatch.setattr(tensorflow_datasets, "builder", builder)
    if succeeds:
        assert data.load("little_pictures", data_dir=tmp_path).train.size == 12
        assert formats == [None, "array_record"]
    else:
        with pytest.raises(
            ValueError, match=r"failed \(the server hung up\); try tfds"
        ):
            data.load("little_pictures", data_dir=tmp_path)


def test_a_network_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(tfds, "_NETWORK_SECONDS", 0.05)
    # Discards what it is sent: no answer and no refusal either (RFC 5737).
    monkeypatch.setattr(tfds, "_NETWORK_PROBE", "http://192.0.2.1")
    assert not tfds._network()
    monkeypatch.setattr(tfds, "_NETWORK_PROBE", "no address")
    assert not tfds._network()


def test_data_dir_must_exist_and_is_never_made(tmp_path):
    missing = tmp_path / "no"
    for name in ("mnist", "digits"):
        with pytest.raises(FileNotFoundError, match="--data_dir=.*does not exist"):
            data.load(name, data_dir=missing)
    assert not missing.exists()
