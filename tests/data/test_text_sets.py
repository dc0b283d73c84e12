"""Sets of texts: those of the standard library, CSV files, TFDS; bad ones."""

import sys

import numpy as np
import pytest
import tensorflow_datasets

from jaxdl.data import text_sets


@pytest.fixture(scope="module")
def docstrings():
    return text_sets.read("stdlib_docstrings")


def everything(stored):
    return stored.train.fetch(np.arange(stored.train.size))


def test_docstrings_are_labelled_by_their_package(docstrings):
    found = everything(docstrings)
    assert len(docstrings.classes) == 10
    assert len(set(found["inputs"])) == len(found["inputs"]) > 2_000
    assert found["targets"].dtype == np.int32
    counts = np.bincount(found["targets"])
    assert len(counts) == 10
    assert counts.min() > 100
    import email.message

    here = docstrings.classes.index("email")
    text = " ".join(email.message.Message.get_payload.__doc__.split())
    places = [i for i, t in enumerate(found["inputs"]) if " ".join(t.split()) == text]
    assert [found["targets"][i] for i in places] == [here]


def test_docstrings_are_the_same_each_time(docstrings):
    again, first = everything(text_sets.read("stdlib_docstrings")), docstrings
    np.testing.assert_array_equal(again["inputs"], everything(first)["inputs"])
    np.testing.assert_array_equal(again["targets"], everything(first)["targets"])


def test_imports_give_any_number_of_labels():
    stored = text_sets.read("stdlib_imports")
    found = everything(stored)
    assert len(stored.classes) == 12
    assert {"os", "sys", "re"} <= set(stored.classes)
    assert found["targets"].dtype == np.float32
    assert found["targets"].shape == (len(found["inputs"]), 12)
    assert len(set(found["inputs"])) == len(found["inputs"])
    several = found["targets"].sum(1)
    assert several.min() >= 1
    assert several.max() > 2
    # Texts with the same labels are told apart from others when parts are cut.
    strata = stored.labels()
    same = found["targets"][strata == strata[0]]
    np.testing.assert_array_equal(same, same[:1].repeat(len(same), 0))
    import argparse

    text = argparse.ArgumentParser.__doc__
    places = [i for i, t in enumerate(found["inputs"]) if t.split() == text.split()]
    named = {stored.classes[c] for c in np.flatnonzero(found["targets"][places[0]])}
    assert {"os", "re", "sys"} <= named
    assert "tkinter" not in named


def write(path, rows, header="text,label"):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return f"csv:{path}"


def test_classes_of_a_csv_file(tmp_path):
    rows = ['"good, very",pos', "bad,neg", "fine,pos", "awful,neg"]
    found = text_sets.read(write(tmp_path / "a.csv", rows))
    assert found.classes == ("neg", "pos")
    assert everything(found)["inputs"].tolist() == [
        "good, very",
        "bad",
        "fine",
        "awful",
    ]
    assert everything(found)["targets"].tolist() == [1, 0, 1, 0]
    rows = [f"text {i},{i % 11},x" for i in range(33)]
    name = write(tmp_path / "b.csv", rows, "Body,Stars,text")
    found = text_sets.read(name, text="Body", label="Stars")
    assert found.classes == tuple(map(str, range(11)))  # by value: 10 comes last
    assert everything(found)["targets"].tolist() == [i % 11 for i in range(33)]


def test_several_labels_of_a_csv_file(tmp_path):
    rows = ["one,b | a", "two,a", "three,c|b|"]
    found = text_sets.read(write(tmp_path / "a.csv", rows))
    assert found.classes == ("a", "b", "c")
    expected = [[1, 1, 0], [1, 0, 0], [0, 1, 1]]
    np.testing.assert_array_equal(everything(found)["targets"], expected)


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (
            ["a,x", " ,y", "c,x"],
            {},
            r"text is empty in 1 of 3 rows, the first is row 2",
        ),
        (
            ["a,x", "b,", "c,|"],
            {},
            r"label is empty in 2 of 3 rows, the first is row 2",
        ),
        (["a,x", "b,y"], {"text": "body"}, "--text=body: the columns are text, label"),
        (["a,x", "b,y"], {"label": "y"}, "--label=y: the columns are text, label"),
    ],
)
def test_csv_files_that_cannot_be_used(tmp_path, rows, columns, message):
    name = write(tmp_path / "a.csv", rows)
    with pytest.raises(ValueError, match=message) as error:
        text_sets.read(name, **columns)
    assert "\n" not in str(error.value)


def test_files_that_are_not_there_or_no_text(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing.csv does not exist"):
        text_sets.read("csv:missing.csv")
    (tmp_path / "a.csv").write_bytes(b"text,label\n\xff\xfe,x\n")
    with pytest.raises(ValueError, match=r"a.csv is not UTF-8 \(byte 11\)"):
        text_sets.read(f"csv:{tmp_path}/a.csv")
    (tmp_path / "b.csv").write_text("body,label\nx,y\n")
    with pytest.raises(ValueError, match="--text is missing: the columns are body"):
        text_sets.read(f"csv:{tmp_path}/b.csv")


@pytest.mark.parametrize("name", ["stdlib_docstrings", "imdb_reviews"])
def test_columns_are_for_csv_files(name):
    with pytest.raises(ValueError, match=f"--label=x names a column .* set is {name}"):
        text_sets.read(name, label="x")


# TFDS.


def prepared(root, parts, name="little_reviews", text="text", names=("neg", "pos")):
    """A set of texts as TFDS prepares it; parts: name to (text, label) pairs."""
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    core, features = tensorflow_datasets.core, tensorflow_datasets.features
    folder = root / name / "1.0.0"
    folder.mkdir(parents=True)
    infos = []
    for part, pairs in parts.items():
        file = folder / f"{name}-{part}.array_record-00000-of-00001"
        writer = ArrayRecordWriter(str(file), "group_size:1")
        for words, label in pairs:
            example = tf_example_pb2.Example()
            held = example.features.feature
            held[text].bytes_list.value.append(words.encode())
            held["label"].int64_list.value.append(label)
            writer.write(example.SerializeToString())
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
                shard_lengths=[len(pairs)],
                num_bytes=0,
                filename_template=template,
            )
        )
    tensorflow_datasets.folder_dataset.write_metadata(
        data_dir=folder,
        features=features.FeaturesDict(
            {text: features.Text(), "label": features.ClassLabel(names=list(names))}
        ),
        split_infos=infos,
        supervised_keys=(text, "label"),
        check_data=False,
    )
    return root


def test_a_tfds_set_is_read_without_tensorflow(tmp_path):
    train = [(f"größe {i}", i % 2) for i in range(10)]
    prepared(tmp_path, {"train": train, "test": [("last", 1)]}, text="sentence")
    found = text_sets.read("little_reviews", tmp_path)
    assert found.classes == ("neg", "pos")
    assert everything(found)["inputs"].tolist() == [words for words, _ in train]
    assert everything(found)["targets"].tolist() == [0, 1] * 5
    assert found.test.fetch(np.zeros(1, int))["inputs"].tolist() == ["last"]
    assert found.validation is None
    assert "tensorflow" not in sys.modules


def test_a_test_part_without_labels_is_left_out(tmp_path):
    parts = {"train": [("a", 0), ("b", 1)], "validation": [("c", 1)]}
    prepared(tmp_path, {**parts, "test": [("d", -1)]})
    found = text_sets.read("little_reviews", tmp_path)
    assert found.test is None
    assert found.validation.size == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnist", "--dataset=mnist is no text classification set: its features are"),
        ("stdlib_docstring", "did you mean stdlib_docstrings"),
        ("nothing_like_it", "TensorFlow Datasets set of texts with class labels"),
    ],
)
def test_names_that_are_no_sets_of_texts(tmp_path, name, message):
    with pytest.raises(ValueError, match=message) as error:
        text_sets.read(name, tmp_path)
    assert "\n" not in str(error.value)
