"""Pictures: they are written, show what they were given, and refuse nonsense."""

import math

import numpy as np
import pytest
from PIL import Image

from jaxdl.runs import plots
from jaxdl.runs.plots import classification, curves, images


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def history(**last):
    rows = []
    for step in (10, 20, 30):
        rows.append({"step": step, "split": "train", "loss": 3 / step, "accuracy": 0.5})
        rows.append({"step": step, "split": "validation", "loss": 4 / step})
    return [*rows, {"step": 30, "split": "test", "loss": 1.0}, *last.values()]


def test_learning_curves_are_the_same_picture_each_time(tmp_path):
    plots.learning_curves(history(), tmp_path / "a.png", best_step=20)
    plots.learning_curves(history(), tmp_path / "b.png", best_step=20)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_best_step_is_marked_and_the_test_split_is_not_drawn(tmp_path):
    plots.learning_curves(history(), tmp_path / "marked.png", best_step=20)
    plots.learning_curves(history(), tmp_path / "plain.png", best_step=-1)
    plots.learning_curves(history()[:-1], tmp_path / "untested.png")
    plain = (tmp_path / "plain.png").read_bytes()
    assert (tmp_path / "marked.png").read_bytes() != plain
    assert (tmp_path / "untested.png").read_bytes() == plain


def test_curves_by_metric_the_loss_first_the_rate_last_if_it_varies():
    rows = history()
    rows += [{"step": s, "split": "train", "learning_rate": 0.1} for s in (1, 2)]
    assert sorted(curves._curves(rows), key=curves._rank) == ["loss", "accuracy"]
    rows += [{"step": s, "split": "train", "nonfinite": 0.0} for s in (1, 2)]
    assert "nonfinite" not in curves._curves(rows)
    rows.append({"step": 3, "split": "train", "learning_rate": 0.05})
    found = curves._curves(rows)
    assert sorted(found, key=curves._rank)[-1] == "learning_rate"
    assert found["loss"]["validation"] == [(10, 0.4), (20, 0.2), (30, 4 / 30)]


def test_values_that_are_not_finite_leave_a_gap(tmp_path):
    bad = [{"step": 40, "split": "validation", "loss": x} for x in (math.nan, math.inf)]
    plots.learning_curves([*history(), *bad], tmp_path / "a.png")
    plots.learning_curves(bad, tmp_path / "b.png")
    assert pixels(tmp_path / "b.png").size > 0


def test_no_metrics_no_curves(tmp_path):
    with pytest.raises(ValueError, match="no learning curves"):
        plots.learning_curves(
            [{"step": 1, "split": "test", "loss": 1.0}], tmp_path / "a"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_confusion_matrix_is_dark_on_its_diagonal(tmp_path):
    names = [f"class {index}" for index in range(30)]
    plots.confusion_matrix(np.eye(30, dtype=int) * 7, names, tmp_path / "right.png")
    plots.confusion_matrix(np.ones((30, 30), int), names, tmp_path / "even.png")
    right, even = pixels(tmp_path / "right.png"), pixels(tmp_path / "even.png")
    dark = np.array([8, 48, 107])  # the darkest of the blues
    bar = (np.abs(even - dark).sum(axis=-1) < 12).sum()  # in the colour bar alone
    assert (np.abs(right - dark).sum(axis=-1) < 12).sum() > 10 * bar + 500


def test_few_classes_have_their_counts_written_in(tmp_path):
    plots.confusion_matrix(np.diag([5, 5]), ["cat", "dog"], tmp_path / "a.png")
    plots.confusion_matrix(np.diag([6, 6]), ["cat", "dog"], tmp_path / "b.png")
    # Equal shares, equal shades: only the numbers differ.
    changed = (pixels(tmp_path / "a.png") != pixels(tmp_path / "b.png")).any(axis=-1)
    assert 0 < changed.sum() < 500


def test_a_class_without_examples_and_a_wrong_size(tmp_path):
    plots.confusion_matrix(np.array([[1, 0], [0, 0]]), ["a", "b"], tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 0
    with pytest.raises(ValueError, match=r"shape \(2, 2\) does not fit 3 classes"):
        plots.confusion_matrix(np.eye(2, dtype=int), list("abc"), tmp_path / "b.png")


def test_images_are_shown_as_stored(tmp_path):
    images = np.zeros((2, 4, 4, 3), np.uint8)
    images[0, ..., 0] = 255
    images[1, ..., 2] = 255
    plots.image_grid(images, tmp_path / "a.png")
    shown = pixels(tmp_path / "a.png")
    height, width, _ = shown.shape
    assert shown[height // 2, width // 4].tolist() == [255, 0, 0]
    assert shown[height // 2, 3 * width // 4].tolist() == [0, 0, 255]


def test_ranges_of_images():
    grey = np.array([0.0, 0.5, 1.0]).reshape(1, 1, 3, 1)
    assert images._pixels(grey, False).ravel().tolist() == [0.0, 0.5, 1.0]
    assert images._pixels(2 * grey - 1, False).ravel().tolist() == [0.0, 0.5, 1.0]
    counts = np.array([0, 4, 16], np.uint8).reshape(1, 1, 3, 1)
    assert images._pixels(counts, False).ravel().tolist() == [0.0, 0.25, 1.0]
    assert images._pixels(0 * counts, False).max() == 0.0
    faint = np.concatenate([grey, grey / 100])
    assert images._pixels(faint, True)[1].ravel().tolist() == [0.0, 0.5, 1.0]
    assert images._pixels(np.full((1, 2, 2, 1), np.nan), False).max() == 0.0
    assert images._pixels(np.zeros((1, 2, 2, 1)), True).max() == 0.0
    assert images._pixels(np.zeros((1, 2, 2, 5)), False).shape == (1, 2, 2)


@pytest.mark.parametrize("shape", [(0, 4, 4, 1), (4, 4, 1), (4, 4)])
def test_what_is_no_batch_of_images_is_refused(tmp_path, shape):
    with pytest.raises(ValueError, match="give \\[images, height, width, channels\\]"):
        plots.image_grid(np.zeros(shape), tmp_path / "a.png")


def test_the_worst_images_come_first_with_their_labels(tmp_path, monkeypatch):
    seen = {}

    def grid(images, path, titles):
        seen.update(images=images, titles=titles)

    monkeypatch.setattr(classification, "image_grid", grid)
    images = np.arange(4).reshape(4, 1, 1, 1)
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.45, 0.55], [0.005, 0.995]])
    targets, predictions = np.array([0, 0, 1, 0]), p.argmax(axis=1)
    names = ["cat", "dog\x1b"]
    plots.worst_images(images, targets, predictions, p, names, tmp_path / "a", count=3)
    assert seen["images"].ravel().tolist() == [3, 1, 2]
    assert seen["titles"] == [
        "is cat (0.5%)\nsaid dog\\x1b (99.5%)",
        "is cat (20.0%)\nsaid dog\\x1b (80.0%)",
        "is dog\\x1b (55.0%)\nsaid so",
    ]


def test_feature_maps_draw_a_tile_a_channel(tmp_path):
    maps = np.random.default_rng(0).normal(size=(6, 6, 9))
    plots.feature_maps(maps, tmp_path / "nine.png")
    plots.feature_maps(maps, tmp_path / "one.png", count=1)
    nine, one = pixels(tmp_path / "nine.png"), pixels(tmp_path / "one.png")
    assert nine.shape[1] > 2.5 * one.shape[1]
