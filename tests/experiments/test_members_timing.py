"""``experiments.members_timing``: the ways train the same, and the table is right."""

import pytest

from experiments import members_timing
from experiments.members_timing import Settings, Taken


@pytest.fixture(scope="module")
def asked(tiny):
    given = "model=logistic_regression; epochs=1; batch_size=32"
    return {"settings": f"dataset={tiny}; {given}"}


def test_all_ways_train_the_same_seeds(asked):
    ways = {
        way: members_timing.train(Settings(members=2, way=way, **asked))
        for way in ("together", "in_turn")
    }
    apart = members_timing.train(
        Settings(members=2, way="processes", member=1, **asked)
    )
    assert ways["together"] == pytest.approx(ways["in_turn"], abs=0.04)
    assert apart == ways["in_turn"][1:]


def test_medians_and_times_are_against_one_program():
    taken = {
        "together": [Taken(2.0, 1.0, [0.5]), Taken(4.0, 3.0, [0.5])],
        "in_turn": [Taken(6.0, 4.0, [0.25]), Taken(6.0, 4.0, [0.25])],
        "processes": [Taken(30.0, 20.0, [float("nan")])] * 2,
    }
    found = members_timing.figures(taken)
    assert found["in_turn"]["wall_times"] == 2
    assert found["processes"] == {
        "wall_seconds": 30,
        "cpu_seconds": 20,
        "wall_times": 10,
        "cpu_times": 10,
    }
    assert members_timing.largest_difference(taken) == 0.25
    table = members_timing.table(Settings(members=8, processes=2), found)
    assert "2 of the 8 processes were timed" in table.about
    assert [row[2] for row in table.rows] == ["1.00", "2.00", "10.00"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": 0}, "--members"),
        ({"way": "pool"}, "--way is 'pool'"),
        ({"space": "augment=choice(none,flip)"}, "no program can differ"),
        ({"space": "dropout=uniform(0,1)", "complete": True}, "leave --space out"),
    ],
)
def test_wrong_settings_are_told_in_one_line(asked, change, message):
    with pytest.raises(ValueError, match=message) as error:
        members_timing.main(Settings(**asked, **change))
    assert "\n" not in str(error.value)
