"""``predict``: files in, classes and probabilities out, or one line."""

import json

import numpy as np
import pytest
from PIL import Image

from experiments import predict
from jaxdl import runs
from tests.experiments.shared import command, stripes


@pytest.fixture(scope="module")
def loaded(trained):
    return runs.load(trained)


@pytest.fixture
def files(tmp_path):
    """Images 0 to 4 as PNG files and as one array."""
    images, _ = stripes(5, seed=1)
    np.save(tmp_path / "all.npy", images)
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    return tmp_path


def probabilities(rows):
    return np.array([row["probabilities"] for row in rows])


def test_files_and_arrays_give_the_softmax_of_the_model(loaded, files):
    images, _ = stripes(5, seed=1)
    logits = np.asarray(loaded(images[..., None]), np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    by_file = predict.predict(loaded, [files / f"{i}.png" for i in range(5)])
    by_array = predict.predict(loaded, [files / "all.npy"])
    assert np.allclose(probabilities(by_file), expected, atol=1e-5)
    assert np.array_equal(probabilities(by_array), probabilities(by_file))
    for row, truth in zip(by_file, expected, strict=True):
        assert row["class"] == loaded.classes[int(truth.argmax())]
        assert row["probability"] == pytest.approx(truth.max(), abs=1e-5)
    assert [row["index"] for row in by_array] == [0, 1, 2, 3, 4]
    assert {row["index"] for row in by_file} == {None}


def test_an_archive_gives_its_inputs(loaded, files):
    images, labels = stripes(5, seed=1)
    np.savez(files / "two.npz", labels=labels, images=images[..., None])
    np.savez(files / "one.npz", whatever=images[:1])
    rows = predict.predict(loaded, [files / "two.npz", files / "one.npz"])
    assert len(rows) == 6
    assert rows[5]["probabilities"] == pytest.approx(rows[0]["probabilities"])


def test_an_image_of_another_form_is_brought_to_the_runs_and_told(loaded, files):
    large = Image.open(files / "0.png").resize((24, 24), Image.Resampling.NEAREST)
    large.convert("RGB").save(files / "large.png")
    told = []
    (row,) = predict.predict(loaded, [files / "large.png"], told.append)
    (plain,) = predict.predict(loaded, [files / "0.png"], told.append)
    assert row["probabilities"] == pytest.approx(plain["probabilities"], abs=0.05)
    assert told == [
        f"{files / 'large.png'}: 24 x 24 brought to 6 x 6 pixels, colour made grey"
    ]


def test_a_picture_is_brought_to_the_stored_scale(train, files, without_pictures):
    """Data of 0 to 16 as scikit-learn's digits: white is 16 there, 255 in a file."""
    folder = train(dataset="digits", max_steps=3, batch_size=128)
    run = runs.load(folder)
    stored = np.zeros((1, 8, 8, 1), np.uint8)
    stored[0, 2:6, 3:5] = 16
    white = np.where(stored[0, ..., 0] == 16, 255, 0).astype(np.uint8)
    Image.fromarray(white).save(files / "one.png")
    np.save(files / "one.npy", stored)
    by_file, by_array = predict.predict(run, [files / "one.png", files / "one.npy"])
    assert by_file["probabilities"] == pytest.approx(by_array["probabilities"])
    np.save(files / "bright.npy", stored * 15)
    with pytest.raises(ValueError, match="from 0 to 240, but .* 0 to 16: rescale"):
        predict.predict(run, [files / "bright.npy"])


def test_what_cannot_be_read_is_one_line(loaded, files):
    (files / "text.png").write_text("no image")
    (files / "text.npy").write_text("no array")
    np.save(files / "shape.npy", np.zeros((2, 7, 6), np.uint8))
    np.save(files / "nan.npy", np.full((6, 6), np.nan))
    np.save(files / "words.npy", np.array(["a", "b"]))
    np.save(files / "objects.npy", np.array([{}], object))
    np.savez(files / "names.npz", a=np.zeros(1), b=np.zeros(1))
    for name, words in {
        "missing.png": "does not exist",
        "missing.npy": "does not exist",
        "text.png": "can't be read as a PNG or JPEG",
        "text.npy": "no file of NumPy arrays",
        "shape.npy": r"has shape \[2, 7, 6\]: give \[n, 6, 6, 1\]",
        "nan.npy": "NaN",
        "words.npy": "give an array of numbers",
        "objects.npy": "no file of NumPy arrays",
        "names.npz": "name one of its arrays inputs",
    }.items():
        with pytest.raises((ValueError, FileNotFoundError), match=words) as caught:
            predict.predict(loaded, [files / name])
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_patterns_are_expanded_in_order(files):
    pattern = str(files / "[0-2].png")
    assert list(predict.expand([pattern, "b.npy"])) == [
        *(str(files / f"{i}.png") for i in range(3)),
        "b.npy",
    ]
    with pytest.raises(FileNotFoundError, match=r"no file fits"):
        list(predict.expand([str(files / "*.gif")]))


def test_the_command_prints_lines_or_json_alone(trained, files):
    large = Image.open(files / "0.png").resize((24, 24))
    large.save(files / "large.png")
    inputs = [f"--input={files}/large.png", f"{files}/1.png", f"{files}/all.npy"]
    shown = command("predict", f"--run={trained}", *inputs, "--top=2")
    assert shown.returncode == 0, shown.stderr
    assert len(shown.stdout.splitlines()) == 7
    assert shown.stdout.count("%") == 14
    assert shown.stderr == f"{files}/large.png: 24 x 24 brought to 6 x 6 pixels\n"
    done = command("predict", f"--run={trained}", *inputs, "--json", "--top=0")
    rows = json.loads(done.stdout)
    assert [row["index"] for row in rows] == [None, None, 0, 1, 2, 3, 4]
    for row in rows:
        ranked = [item["probability"] for item in row["probabilities"]]
        assert ranked == sorted(ranked, reverse=True)
        assert sum(ranked) == pytest.approx(1, abs=1e-5)
        assert row["probabilities"][0]["class"] == row["class"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--run=/missing", "--input=a.png"], "no run at /missing"),
        (["--input=a.png"], "--run is missing"),
        (["--run=RUN"], "--input is missing"),
        (
            ["--run=RUN", "--input=/missing.png", "--json"],
            "/missing.png does not exist",
        ),
    ],
)
def test_the_command_ends_in_one_line(trained, arguments, words):
    done = command("predict", *(a.replace("RUN", str(trained)) for a in arguments))
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
