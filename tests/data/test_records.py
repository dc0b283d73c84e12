"""TFDS sets whose files are damaged, lie, or would run code: one line each."""

import json
import sys

import numpy as np
import pytest

from jaxdl import data
from tests.data.test_tfds import _write

RECORDS = "little_pictures-train.array_record-00000-of-00001"


@pytest.fixture
def prepared(tmp_path):
    """The folder of a set that is whole."""
    return _write(tmp_path, {"train": 20, "test": 6}) / "little_pictures" / "1.0.0"


def refusal(prepared):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        data.load("little_pictures", data_dir=prepared.parents[1])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change(file, old, new):
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.9, 0.99])
def test_a_truncated_file_is_one_line(prepared, kept):
    content = (prepared / RECORDS).read_bytes()
    (prepared / RECORDS).write_bytes(content[: int(kept * len(content))])
    assert "little_pictures train can't be read" in refusal(prepared)


def test_flipped_bytes_never_pass_for_data(prepared):
    """Wherever a byte is changed: found, or it was padding and all is as before."""
    before = data.load("little_pictures", data_dir=prepared.parents[1])
    content = (prepared / RECORDS).read_bytes()
    found = 0
    for place in (0, 8, 64, 200, 331, len(content) // 2, len(content) - 1):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        (prepared / RECORDS).write_bytes(damaged)
        try:
            after = data.load("little_pictures", data_dir=prepared.parents[1])
        except ValueError:
            found += 1
            continue
        for name, array in before.train.arrays.items():
            np.testing.assert_array_equal(array, after.train.arrays[name])
    assert found >= 3


def test_a_missing_file_is_one_line(prepared):
    (prepared / RECORDS).unlink()
    assert "No such file" in refusal(prepared)


def test_a_count_that_is_too_high_is_one_line(prepared):
    change(prepared / "dataset_info.json", '"20"', '"20000"')
    assert "can't be read: its files are damaged" in refusal(prepared)


def test_an_empty_training_part_is_one_line(prepared):
    change(prepared / "dataset_info.json", '"20"', '"0"')
    assert "little_pictures train part is empty" in refusal(prepared)


def test_a_label_of_no_class_is_one_line(tmp_path):
    _write(tmp_path, {"train": 20}, labels={"train": 7})
    with pytest.raises(ValueError, match="example 0 has the label 7; allowed are 0 to"):
        data.load("little_pictures", data_dir=tmp_path)


@pytest.mark.parametrize("key", ["pythonClassName", "python_class_name", "type"])
def test_a_feature_of_another_package_is_refused_and_not_imported(
    prepared, tmp_path, monkeypatch, key
):
    (tmp_path / "stranger.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    file = prepared / "features.json"
    found = json.loads(file.read_text())
    image = found["featuresDict"]["features"]["image"]
    del image["pythonClassName"]
    found["featuresDict"]["features"]["image"] = {**image, key: "stranger.Image"}
    file.write_text(json.dumps(found))
    assert "'stranger.Image', which is no feature of TensorFlow" in refusal(prepared)
    assert "stranger" not in sys.modules


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json"])
@pytest.mark.parametrize("content", ["{", "[]", "{}", "\x00", "[" * 100_000])
def test_broken_descriptions_are_one_line(prepared, name, content):
    (prepared / name).write_text(content)
    assert "little_pictures" in refusal(prepared)
