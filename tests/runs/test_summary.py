"""The summary: exactly its keys, checked on writing and reading."""

import json
import math

import numpy as np
import pytest

from jaxdl.runs.summary import read_summary, summarize, write_summary

GOOD = {
    "experiment": "image_classification",
    "status": "completed",
    "step": 100,
    "best_step": 80,
    "monitor": "loss",
    "metrics": {"test": {"accuracy": 0.98}, "validation": {"loss": 0.1}},
    "baselines": {"majority": {"accuracy": 0.1}},
    "parameters": 1234,
    "examples_per_second": 1e4,
    "compile_seconds": 1.5,
    "wall_seconds": 60.0,
}


def test_a_summary_holds_its_keys_in_their_order_and_is_read_back(tmp_path):
    path = tmp_path / "summary.json"
    write_summary(path, summarize(**GOOD))
    assert list(json.loads(path.read_text())) == list(GOOD)
    assert read_summary(path) == GOOD


def test_numbers_of_numpy_become_plain_and_nan_survives(tmp_path):
    path = tmp_path / "summary.json"
    metrics = {"test": {"loss": np.float32(0.5), "accuracy": math.nan}}
    given = {**GOOD, "step": np.int64(100), "metrics": metrics}
    write_summary(path, summarize(**given))
    read = read_summary(path)
    assert read["metrics"]["test"]["loss"] == 0.5
    assert math.isnan(read["metrics"]["test"]["accuracy"])


def test_what_a_run_that_failed_early_does_not_know_is_null(tmp_path):
    path = tmp_path / "summary.json"
    unknown = ("best_step", "monitor", "examples_per_second", "compile_seconds")
    given = {**GOOD, **dict.fromkeys(unknown), "status": "failed", "metrics": {}}
    write_summary(path, summarize(**given))
    read = read_summary(path)
    assert [read[name] for name in unknown] == [None] * 4


def test_warnings_are_kept_where_there_are_any(tmp_path):
    path = tmp_path / "summary.json"
    write_summary(path, summarize(**GOOD, warnings=["the best is lost"]))
    assert read_summary(path) == {**GOOD, "warnings": ["the best is lost"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"warnings": [1]}, "warnings are lines of text"),
        ({"status": "done"}, "'done' is none of"),
        ({"step": -1}, "step is -1"),
        ({"parameters": -5}, "parameters is -5"),
        ({"best_step": 101}, "best_step is 101; it lies between 0 and step 100"),
        ({"metrics": {"dev": {"loss": 1.0}}}, "metrics of 'dev'"),
    ],
)
def test_impossible_values_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        summarize(**{**GOOD, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"experiment": ["x"]},
        {"monitor": {"a": 1}},
        {"metrics": [1]},
        {"metrics": {"test": {"loss": [1]}}},
        {"baselines": {"majority": 1.0}},
        {"wall_seconds": "long"},
        {"step": 1.5},
        {"baselines": {"majority": {"accuracy": 10**400}}},
    ],
)
def test_a_strangers_summary_is_checked(tmp_path, change):
    path = tmp_path / "summary.json"
    path.write_text(json.dumps({**GOOD, **change}))
    with pytest.raises(ValueError, match=r"summary\.json is broken") as error:
        read_summary(path)
    assert "\n" not in str(error.value)


def test_nothing_is_written_that_is_no_summary(tmp_path):
    path = tmp_path / "summary.json"
    with pytest.raises(ValueError, match=r"without \['step'\]"):
        write_summary(path, {k: v for k, v in GOOD.items() if k != "step"})
    assert not path.exists()
