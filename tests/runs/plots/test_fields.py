"""Pictures of fields, layers and what networks look at show what they were given."""

import numpy as np
import pytest
from PIL import Image

from jaxdl import analysis
from jaxdl.runs import comparison
from jaxdl.runs.plots import fields, layers, looking


def dark(path):
    """The share of dark pixels."""
    return float(np.mean(np.asarray(Image.open(path).convert("L")) < 100))


def test_boundaries_shade_what_is_decided(tmp_path):
    points, targets = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([0, 1])
    shares = []
    for name, rate in (("none", 0.0), ("all", 1.0)):
        found = analysis.Boundary(*[np.linspace(0, 1, 5)] * 2, np.full((5, 5), rate))
        panel = fields.Decided(name, found, points, targets)
        fields.boundaries([panel], tmp_path / f"{name}.png")
        image = np.asarray(Image.open(tmp_path / f"{name}.png").convert("L"))
        shares.append(np.mean(np.abs(image.astype(int) - 0xCF) < 3))
    assert shares[0] < 0.01
    assert shares[1] > 0.3


def test_a_path_is_cut_where_it_leaves_for_good(tmp_path):
    x, y = np.linspace(-1, 1, 21), np.linspace(-1, 1, 21)
    values = x[None] ** 2 + y[:, None] ** 2
    inside = np.array([[-0.5, 0.5], [0.5, -0.5]])
    gone = np.array([*inside, [1e30, 1e30], [np.nan, 0]])
    for name, path in (("inside", inside), ("gone", gone)):
        fields.walks(x, y, values, [fields.Walk("", path)], tmp_path / f"{name}.png")
    assert (tmp_path / "inside.png").read_bytes() == (
        tmp_path / "gone.png"
    ).read_bytes()
    down = -np.stack(np.meshgrid(2 * x, 2 * y), axis=-1)
    fields.field(x, y, values, down, tmp_path / "field.png")
    assert dark(tmp_path / "field.png") > 0.005


def test_histograms_hold_all_that_is_beyond_in_the_end_bars(tmp_path):
    rows = {"wide": [np.array([[-100.0, 100.0]])], "inside": [np.array([[0.0, 1.0]])]}
    for name in rows:
        path = tmp_path / f"{name}.png"
        layers.histograms({"net": rows[name]}, (0.0, 1.0), path)
    assert (tmp_path / "wide.png").read_bytes() == (
        tmp_path / "inside.png"
    ).read_bytes()


def test_layers_by_name(tmp_path):
    counts, edges = np.ones(2), np.arange(3)
    activity = [analysis.Activity("a", 0.5, 1.0, 0.2, 0.4, counts, edges)]
    for name, norm in (("small", 0.1), ("zero", 0.0)):
        gradients = [analysis.GradientActivity("a", 0.0, 1.0, norm, 1.0)]
        layers.activities(activity, gradients, tmp_path / f"{name}.png")
        assert dark(tmp_path / f"{name}.png") > 0.001


@pytest.mark.parametrize("channels", [1, 3])
def test_maps_stand_below_their_images(tmp_path, channels):
    images = np.zeros((2, 4, 4, channels))
    bright = np.zeros((2, 2, 2))
    bright[:, 0, 0] = 1.0
    looking.beside(images, {"map": bright}, ["one", "two"], tmp_path / "a.png")
    looking.beside(images, {}, ["one", "two"], tmp_path / "b.png")
    one, two = (Image.open(tmp_path / f"{name}.png").size for name in "ab")
    assert one[1] > 1.5 * two[1]


def test_bars_of_each_group(tmp_path):
    groups = {"net": {"slow": 10.0, "fast": 0.1}}
    comparison.bars(groups, "seconds", tmp_path / "bars.png")
    assert dark(tmp_path / "bars.png") > 0.05
