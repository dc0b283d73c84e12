"""``forecasting``: runs, forecasts for files, other series, refusals."""

import json

import jax
import numpy as np
import pytest

from experiments import evaluate, forecasting
from jaxdl import runs
from jaxdl.data.csv_files import read_csv
from jaxdl.runs.folder import RunFolder

PICTURES = {
    *("learning_curves.png", "forecasts.png"),
    *("error_by_horizon.png", "error_by_hour.png"),
}


def weather(rows, seed=0, start="2020-01-01"):
    """An hourly heat of days and chance, and a wind."""
    rng = np.random.default_rng(seed)
    hours = np.arange(rows)
    heat = 10 + 5 * np.sin(hours * 2 * np.pi / 24) + np.cumsum(rng.normal(0, 0.3, rows))
    lines = ["No,date,heat,wind"]
    for hour in hours:
        time = np.datetime64(start, "h") + hour
        wind = rng.choice(["N", "S", ""])
        lines.append(f"{hour},{time}:00,{heat[hour]:.2f},{wind}")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Series to train on and to measure, and what came last."""
    folder = tmp_path_factory.mktemp("series")
    (folder / "own.csv").write_text(weather(240))
    (folder / "other.csv").write_text(weather(60, seed=1, start="2021-05-01"))
    (folder / "recent.csv").write_text(weather(9, seed=2))
    return folder


@pytest.fixture(scope="module")
def settings(files):
    """Makes settings of a short run."""

    def make(**changes):
        short = {"target": "heat", "horizon": "1:3", "window": 6, "hidden": "8"}
        asked = {"dataset": f"csv:{files}/own.csv", "batch_size": 16, "max_steps": 6}
        return forecasting.Settings(
            **{**asked, **short, "evaluate_every": 3, **changes}
        )

    return make


@pytest.fixture(scope="module")
def trained(settings, tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("run") / "run"
    assert forecasting.main(settings(workdir=str(folder))) == 0
    return folder


def test_a_run_leaves_a_complete_folder_that_is_measured_again(trained):
    about = json.loads(RunFolder(trained).summary.read_text())
    assert about["status"] == "completed"
    assert set(about["metrics"]["test"]) == {"loss", "mae", "rmse"}
    assert set(about["baselines"]) == {"persistence", "repeat_yesterday", "ridge"}
    assert {path.name for path in RunFolder(trained).plots.iterdir()} == PICTURES
    result = evaluate.evaluate(evaluate.Settings(run=str(trained)))
    assert result["differences"] == {}


def test_the_error_is_in_the_unit_of_the_target(trained, settings, files):
    """The test figures are those of what a loaded run says of the stored windows."""
    task, _ = forecasting.build(settings())
    stored = task.data.test.fetch(np.arange(task.data.test.size))
    loaded = runs.load(trained)
    error = np.asarray(loaded(stored["inputs"])) - stored["targets"]
    about = json.loads(RunFolder(trained).summary.read_text())["metrics"]["test"]
    assert about["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-5)
    assert about["rmse"] == pytest.approx(np.sqrt(np.square(error).mean()), rel=1e-5)
    assert about["loss"] == pytest.approx(about["mae"] / loaded.preprocess.scale)


def test_files_are_forecast_from_their_last_rows(trained, files):
    loaded, told = runs.load(trained), []
    rows = forecasting.predict(loaded, [files / "recent.csv"], told.append)
    assert told == [
        f"{files}/recent.csv: heat after its last row from 2020-01-01T09:00:00 on"
    ]
    assert [row["index"] for row in rows] == [1, 2, 3]
    assert [row["time"][11:13] for row in rows] == ["09", "10", "11"]
    table = read_csv(files / "recent.csv")
    window = loaded.preprocess.columns.encode(table).values[-6:]
    expected = np.asarray(loaded(window[None]))[0]
    assert [row["value"] for row in rows] == pytest.approx(expected.tolist())
    json.dumps(rows)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (weather(5), "there are 5 rows, but a window reaches over 6"),
        ("date,wind\n2020-01-01,N\n", "there is no column heat: the columns are"),
        ("heat,wind\n1,N\n2,S\n", "there is no column of dates"),
    ],
)
def test_files_that_cannot_be_forecast_are_one_line(trained, tmp_path, text, words):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(ValueError, match=words) as caught:
        forecasting.predict(runs.load(trained), [tmp_path / "bad.csv"])
    assert str(caught.value).startswith(f"{tmp_path}/bad.csv: ")
    assert "\n" not in str(caught.value)


def test_another_series_is_measured_whole(trained, files):
    asked = evaluate.Settings(run=str(trained), dataset=f"csv:{files}/other.csv")
    result = evaluate.evaluate(asked)
    assert result["differences"] is None
    assert 0 < result["metrics"]["mae"] < 10


MODELS = {
    "mlp": {"hidden": "8,4"},
    "conv1d": {"kernel_size": 3, "layers": 1},
    "conv1d_gru": {"layers": 1, "kernel_size": 3},
    "rnn": {"bidirectional": True},
    "lstm": {"layers": 2, "recurrent_dropout": 0.2},
    "gru": {"predict": "value", "relative": False, "loss": "huber"},
    "transformer": {"hidden": "", "width": 8, "heads": 2, "layers": 1},
}


@pytest.mark.parametrize("model", forecasting.MODELS)
def test_every_model_fits_the_windows(settings, model):
    """Shapes of a step and of what is put out; nothing is compiled."""
    task, plan = forecasting.build(settings(model=model, **MODELS[model]))
    state = jax.eval_shape(task.create, 0)
    stored = task.data.train.fetch(np.arange(plan.batch_size))
    batch = {**stored, "mask": np.ones(plan.batch_size, np.float32)}
    after, metrics = jax.eval_shape(task.step, state, batch)
    assert jax.tree.map(np.shape, after) == jax.tree.map(np.shape, state)
    assert {"loss", "mae", "rmse"} <= set(metrics)
    assert jax.eval_shape(task.outputs, state, batch).shape == (plan.batch_size, 3)


def test_padding_counts_nothing(settings):
    """A masked window that holds NaN changes neither the loss nor a gradient."""
    task, _ = forecasting.build(settings(dropout=0.0))
    stored = task.data.train.fetch(np.arange(16))
    spoilt = {name: array.copy() for name, array in stored.items()}
    for array in spoilt.values():
        array[12:] = np.nan
    mask = np.arange(16) < 12
    batches = [{**part, "mask": mask.astype(np.float32)} for part in (stored, spoilt)]
    step, state = jax.jit(task.step), task.create(0)
    one, two = (step(state, batch)[0].params for batch in batches)
    for left, right in zip(*map(jax.tree.leaves, (one, two)), strict=True):
        assert np.array_equal(left, right)


BAD = {
    "dataset": ({"dataset": "rivers"}, "--dataset=rivers is unknown: give neuron"),
    "file": ({"dataset": "csv:/missing.csv"}, "/missing.csv does not exist"),
    "target": ({"target": "cold"}, "--target=cold: the columns are No, date, heat"),
    "no target": ({"target": ""}, "--target is missing: the columns are"),
    "text": ({"target": "wind"}, "column wind, row"),
    "ignore": ({"ignore": "snow"}, "--ignore=snow: the columns are"),
    "horizon": ({"horizon": "soon"}, "--horizon is 'soon'"),
    "long": ({"window": 70}, "the validation part has 60 rows"),
    "window": ({"window": 0}, "--window is 0"),
    "rate": ({"sampling_rate": 0}, "--sampling_rate is 0"),
    "split": ({"split": "half"}, "--split is 'half'"),
    "model": ({"model": "grue"}, r"--model is 'grue' \(did you mean gru\?\)"),
    "loss": ({"loss": "mas"}, "--loss is 'mas'"),
    "predict": ({"predict": "all"}, "--predict is 'all'"),
    "hidden": ({"model": "gru", "hidden": "8,8"}, "--model=gru takes one size"),
    "not its option": ({"bidirectional": True}, "mlp has no option 'bidirectional'"),
    "fraction": ({"validation_fraction": 0.2}, "--validation_fraction is given"),
    "split_seed": ({"split_seed": 1}, "--split_seed is given"),
    "data_dir": ({"data_dir": "/tmp"}, "--data_dir is given"),
    "batch": ({"batch_size": 500}, "--batch_size is 500"),
}


@pytest.mark.parametrize(("changes", "words"), BAD.values(), ids=BAD.keys())
def test_a_bad_setting_is_one_line_and_no_folder(settings, tmp_path, changes, words):
    with pytest.raises((ValueError, OSError), match=words) as caught:
        forecasting.main(settings(workdir=str(tmp_path / "run"), **changes))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_what_is_wrong_in_a_file_is_told_with_its_name(settings, tmp_path):
    lines = weather(240).splitlines()
    (tmp_path / "bad.csv").write_text("\n".join([*lines[:9], lines[4], *lines[9:]]))
    with pytest.raises(ValueError, match=r"bad.csv: row 9 .* is not after row 8"):
        forecasting.build(settings(dataset=f"csv:{tmp_path}/bad.csv"))
