"""Times read from columns, and what of them comes back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl.data import timestamps

HOURS = np.datetime64("2020-02-27T22", "s") + np.timedelta64(3600, "s") * np.arange(60)


def parts(times):
    """The columns year, month, day and hour of times."""
    texts = [str(time).replace("T", "-").replace(":", "-").split("-") for time in times]
    return {
        name: [str(int(text[i])) for text in texts]
        for i, name in enumerate(("year", "month", "day", "hour"))
    }


def test_times_are_read_from_parts_and_from_dates():
    found, names = timestamps.read_times({"No": ["7"] * 60, **parts(HOURS)})
    assert names == ("year", "month", "day", "hour")
    assert np.array_equal(found, HOURS)
    for form in (str, lambda t: str(t).replace("T", " "), lambda t: f"{t}+00:00"):
        table = {"value": ["1"] * 60, "when": list(map(form, HOURS))}
        found, names = timestamps.read_times(table)
        assert names == ("when",)
        assert np.array_equal(found, HOURS)


@pytest.mark.parametrize(
    ("cell", "time"),
    [
        ("2009-01-31", "2009-01-31T00:00:00"),
        ("31.01.2009 00:10:00", "2009-01-31T00:10:00"),
        ("2009-01-31T02:10:00+02:00", "2009-01-31T00:10:00"),
        ("20090131", None),
        ("3.5", None),
        ("", None),
        ("north", None),
    ],
)
def test_what_is_a_time(cell, time):
    found = timestamps.parse(cell)
    assert (found and found.isoformat()) == time


def test_a_table_without_dates_has_no_times():
    assert timestamps.read_times({"year": ["2020"], "a": ["1"]}) == (None, ())


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["2020-01-01", "2020-01-03", "2020-01-02"], "row 3 .* is not after row 2"),
        (["2020-01-01", "2020-01-01"], "row 2 .* is not after row 1 .* by date"),
        (["2020-01-01", ""], "date of row 2 is missing"),
        (["2020-01-01", "2020-02-30"], "date of row 2 is '2020-02-30'"),
    ],
)
def test_rows_without_order_are_refused(cells, words):
    with pytest.raises(ValueError, match=words) as caught:
        timestamps.read_times({"date": cells})
    assert "\n" not in str(caught.value)


def test_parts_that_are_no_date_are_refused():
    table = parts(HOURS)
    table["month"][3] = "13"
    with pytest.raises(
        ValueError, match=r"year, month, day, hour of row 4 is '2020 13"
    ):
        timestamps.read_times(table)


@given(
    st.integers(0, 10**9),
    st.sampled_from(sorted(timestamps.CYCLES)),
    st.integers(1, 5),
)
@settings(max_examples=20, deadline=None)
def test_a_cycle_comes_back_after_its_period(start, cycle, times):
    period = timestamps.CYCLES[cycle]
    moments = np.array([start, start + times * period, start + period // 2])
    sine, cosine = timestamps.cyclic(moments.astype("datetime64[s]"), [cycle]).T
    assert np.allclose([sine[1], cosine[1]], [sine[0], cosine[0]], atol=1e-4)
    assert np.allclose([sine[2], cosine[2]], [-sine[0], -cosine[0]], atol=1e-4)


def test_only_cycles_that_the_rows_show_are_used():
    def cycles(step, rows):
        seconds = np.arange(rows) * step
        return timestamps.cycles_within(seconds.astype("datetime64[s]"))

    assert cycles(3600, 24) == ()
    assert cycles(3600, 25) == ("day",)
    assert cycles(3600, 9000) == ("day", "year")
    assert cycles(86_400, 400) == ("year",)
    assert cycles(43_200, 400) == ()  # noon and midnight are no cycle


def test_rows_that_are_left_out_are_counted():
    assert timestamps.usual_step(HOURS) == 3600
    assert timestamps.irregular(HOURS) == 0
    assert timestamps.irregular(np.delete(HOURS, [5, 20, 21])) == 2
