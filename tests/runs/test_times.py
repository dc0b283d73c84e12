"""Parts of a run's time add up to its wall time, each second counted once."""

import pytest

from jaxdl.runs import times


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_parts_add_up_to_the_wall_time_with_compiling_taken_out(clock):
    spent = times.Times(96.0, clock)
    spent.compiled(1.0)  # before the first step
    clock.now += 2.0
    spent.started()
    spent.compiled(0.5)
    # A dispatch that compiles traces too: all of it is compiling.
    assert spent.timed("dispatch", 3.0) == {"dispatch": 0.0, "compile": 2.5}
    spent.timed("data", 0.25)
    spent.timed("feeding", 0.5)
    spent.timed("waiting", 4.0)
    spent.compiled(0.75)
    assert spent.timed("evaluation", 1.75) == {"evaluation": 1.0}
    spent.timed("saving", 0.125)
    clock.now += 10.0
    spent.ended()
    spent.compiled(0.5)
    clock.now += 2.0
    # The last save was waited for behind the test part: it is the loop's all the same.
    assert spent.timed("saving", 0.25) == {"saving": 0.25}
    parts = spent.parts()
    assert parts.pop("wall") == 18.0
    assert parts == {
        "start": 5.0,
        "step": 4.5,
        "data": 0.25,
        "evaluation": 1.0,
        "checkpoint": 0.375,
        "compile": 5.25,
        "end": 1.25,
        "rest": 0.375,
    }
    assert sum(parts.values()) == 18.0


def test_a_line_tells_shares_and_the_machine_only_where_it_is_known():
    account = {"wall": 10.0, **dict.fromkeys(times.PARTS, 1.25)}
    told = times.line(account)
    assert told.startswith("time 10.0 s: start 1.2 s (12%), step")
    assert "FLOP" not in told
    told = times.line({**account, "operations_per_second": 5e10})
    assert told.endswith("in steps 50 GFLOP/s")
    both = {"operations_per_second": 5e10, "peak_operations_per_second": 2e11}
    told = times.line({**account, **both})
    assert told.endswith("50 GFLOP/s, 25% of the 200 GFLOP/s measured here")
