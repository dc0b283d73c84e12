"""Running text: every token once, nothing of what is to be predicted, by name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl.data import language
from jaxdl.data.symbols import PADDING


@given(st.integers(2, 40), st.integers(1, 12))
@settings(max_examples=50, deadline=None)
def test_passages_hold_each_token_but_the_first_as_a_target_once(length, context):
    tokens = np.arange(2, 2 + length, dtype=np.int32)
    source = language.passages(tokens, context)
    whole = source.fetch(np.arange(source.size))
    assert whole["inputs"].shape == whole["targets"].shape == (source.size, context)
    inputs, targets = (whole[name].reshape(-1) for name in ("inputs", "targets"))
    real = targets != PADDING
    np.testing.assert_array_equal(targets[real], tokens[1:])
    np.testing.assert_array_equal(inputs[real], tokens[:-1])
    assert not inputs[~real].any()
    assert np.count_nonzero(~real) < context
    np.testing.assert_array_equal(language.text_of_passages(source), tokens)


@given(st.integers(2, 40), st.integers(1, 12))
@settings(max_examples=50, deadline=None)
def test_windows_begin_at_every_place_that_has_a_whole_one(length, context):
    context = min(context, length - 1)
    tokens = np.arange(2, 2 + length, dtype=np.int32)
    source = language.windows(tokens, context)
    assert source.size == length - context
    assert source.arrays is None  # nothing is stored n times
    found = source.fetch(np.array([0, source.size - 1]))
    np.testing.assert_array_equal(found["inputs"][0], tokens[:context])
    np.testing.assert_array_equal(found["targets"][0], tokens[1 : context + 1])
    assert found["targets"][1, -1] == tokens[-1]
    np.testing.assert_array_equal(language.text_of_windows(source), tokens)


def test_a_file_is_cut_by_position_and_read_by_what_its_beginning_holds(tmp_path):
    file = tmp_path / "text.txt"
    mark = "\ufeff".encode()  # of byte order: no part of the text
    file.write_bytes(mark + b"ab\r\n" * 32 + "xé".encode() * 2)
    data = language.load(f"text:{file}", context=8, validation_fraction=0.04)
    assert data.classes == ("<padding>", "<unknown>", "\n", "a", "b")
    assert data.input_shape == (8,)
    assert data.train.size == 100 - 2 * 4 - 8
    assert language.text_of_passages(data.test).tolist() == [1, 1, 1, 1]
    validation = language.text_of_passages(data.validation)
    assert data.preprocess.decode(validation) == "\nab\n"
    other = tmp_path / "other.txt"
    other.write_text("xyz" * 100)
    again = language.load(f"text:{other}", context=8, known=data.preprocess)
    assert again.classes == data.classes
    assert set(again.train.fetch(np.arange(9))["inputs"].reshape(-1)) == {1}


def test_the_standard_library_is_there_and_the_same_again():
    data = language.load("stdlib_source", context=16, level="word", vocabulary=500)
    text = language.stdlib_source()
    assert 10**6 <= len(text) < 1.5e6
    assert text.isascii()
    assert "def " in text
    assert len(data.classes) == 502
    held_out = round(len(text) * language.HELD_OUT)
    tokens = language.text_of_passages(data.test)
    assert data.preprocess.encode(text[-held_out:]).tolist() == tokens.tolist()
    assert text == language.stdlib_source()


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (None, {}, "does not exist or is no file"),
        (b"", {}, "is empty"),
        (b"ab\xff", {}, r"not UTF-8 \(byte 2\)"),
        (b"a" * 100, {}, "train part has 90 characters, at least 201"),
        (b"a" * 10, {"context": 4}, "validation part has 0 characters, at least 2"),
        (b"a" * 99, {"context": 0}, "context of at least 1"),
        (b"a" * 99, {"level": "line"}, "'line': give character or word"),
        (b"a" * 99, {"validation_fraction": 0.6}, "0.6 is not allowed"),
    ],
)
def test_a_text_that_cannot_be_used_is_one_line(tmp_path, content, options, words):
    file = tmp_path / "text.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=words) as caught:
        language.load(f"text:{file}", **{"context": 200, **options})
    assert "\n" not in str(caught.value)


def write_texts(root, texts, features):
    """A set of texts as TFDS prepares it, by part."""
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets import core, folder_dataset
    from tensorflow_datasets.proto import tf_example_pb2

    folder = root / "few_texts" / "1.0.0"
    folder.mkdir(parents=True)
    infos = []
    for part, rows in texts.items():
        file = f"few_texts-{part}.array_record-00000-of-00001"
        writer = ArrayRecordWriter(str(folder / file), "group_size:1")
        for text in rows:
            example = tf_example_pb2.Example()
            example.features.feature["text"].bytes_list.value.append(text.encode())
            writer.write(example.SerializeToString())
        writer.close()
        template = core.ShardedFileTemplate(
            data_dir=folder,
            dataset_name="few_texts",
            split=part,
            filetype_suffix="array_record",
        )
        infos.append(
            core.SplitInfo(
                name=part,
                shard_lengths=[len(rows)],
                num_bytes=0,
                filename_template=template,
            )
        )
    folder_dataset.write_metadata(
        data_dir=folder,
        features=features,
        split_infos=infos,
        check_data=False,
    )
    return {"name": "few_texts", "data_dir": root}


def test_a_tfds_set_keeps_its_parts_or_is_cut(tmp_path):
    from tensorflow_datasets import features

    text = features.FeaturesDict({"text": features.Text()})
    parts = {"train": ["aß" * 9, "b"], "validation": ["ab"], "test": ["ba"]}
    whole = write_texts(tmp_path / "whole", parts, text)
    data = language.load(context=4, **whole)
    assert data.classes[2:] == ("\n", "a", "b", "ß")
    assert data.train.size == 20 - 4
    assert data.preprocess.decode(language.text_of_passages(data.test)) == "ba"
    with pytest.raises(ValueError, match="has a validation part of its own"):
        language.load(context=4, validation_fraction=0.1, **whole)
    single = write_texts(tmp_path / "single", {"train": ["ab" * 50]}, text)
    data = language.load(context=4, **single)
    assert (data.train.size, len(language.text_of_passages(data.test))) == (86, 5)
    labels = features.FeaturesDict({"label": features.ClassLabel(num_classes=2)})
    other = write_texts(tmp_path / "other", {"train": []}, labels)
    with pytest.raises(ValueError, match="no set of one text an example.*are label"):
        language.load(context=4, **other)


def test_names_and_folders_that_are_unknown_are_one_line(tmp_path):
    with pytest.raises(ValueError, match="tiny_shakespear is unknown; did you mean"):
        language.load("tiny_shakespear", context=4)
    with pytest.raises(FileNotFoundError, match="--data_dir=.*no folder"):
        language.load("tiny_shakespeare", context=4, data_dir=tmp_path / "none")
