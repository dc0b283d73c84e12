"""Attention maps: a picture of any characters, or one line."""

import warnings

import numpy as np
import pytest
from PIL import Image

from jaxdl.runs.plots import attention_maps


def weights(rows, columns):
    values = np.random.default_rng(0).uniform(size=(rows, columns))
    return values / values.sum(1, keepdims=True)


def test_maps_of_all_sizes_and_characters_are_drawn(tmp_path):
    texts = [("12+3$_^", "15."), ("a b\t", "\N{END OF PROOF}"), ("x", "y" * 12)] * 2
    maps = [weights(len(wrote), len(read)) for read, wrote in texts]
    path = tmp_path / "attention.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attention_maps(maps, *map(list, zip(*texts, strict=True)), path)
    first = path.read_bytes()
    width, height = Image.open(path).size
    assert 300 < width < 2_000
    assert 300 < height < 2_000
    attention_maps(maps, *map(list, zip(*texts, strict=True)), path)
    assert path.read_bytes() == first


def test_a_dark_cell_is_where_the_weight_is(tmp_path):
    path = tmp_path / "attention.png"
    attention_maps([np.array([[0.0, 1.0]])], ["ab"], ["c"], path)
    grey = np.asarray(Image.open(path).convert("L"), float)
    middle = grey[grey.shape[0] // 2 - 5 : grey.shape[0] // 2 + 5]
    left, right = np.array_split(middle, 2, axis=1)
    assert (right < 10).mean() > 0.5 > 0.1 > (left < 10).mean()


def test_what_does_not_fit_is_one_line(tmp_path):
    path = tmp_path / "attention.png"
    with pytest.raises(ValueError, match=r"\(2, 3\) do not fit 2 characters .* 4 read"):
        attention_maps([weights(2, 3)], ["abcd"], ["ab"], path)
    with pytest.raises(ValueError, match="no attention maps"):
        attention_maps([], [], [], path)
    assert not path.exists()
