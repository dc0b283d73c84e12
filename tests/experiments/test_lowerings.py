"""The table of lowerings: a row for each part, a figure for each lowering."""

import pytest

from experiments import lowerings


def test_every_part_is_timed_by_every_pure_lowering():
    rows = lowerings.measure(lowerings.Settings(rounds=1, only=9))
    assert [row["part"] for row in rows] == list(lowerings.PARTS)
    for row in rows:
        assert row["shape"] == "64x16x16x32 3x3 -> 32 groups 32"
        assert {"xla", "im2col", "shifted"} <= set(row)
        assert all(0 < row[name] < float("inf") for name in ("xla", "im2col"))


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"only": 99}, {"only": -2}])
def test_settings_out_of_range_are_one_line(wrong):
    with pytest.raises(ValueError, match="give"):
        lowerings.measure(lowerings.Settings(**wrong))
