"""``tabular``: tables of every kind, folds, predictions, refusals."""

import json
import math

import jax
import numpy as np
import pytest

from experiments import evaluate, tabular
from jaxdl import runs
from jaxdl.runs import writers
from jaxdl.runs.folder import RunFolder

PICTURES = {
    "binary": {"confusion_matrix.png", "ranking_curves.png", "importance.png"},
    "regression": {"predicted_and_true.png", "importance.png"},
}


def table(rows, seed=0):
    """A price in tens of thousands told by an area and a town, some cells missing."""
    rng = np.random.default_rng(seed)
    lines = ["area,town,price,sold"]
    for _ in range(rows):
        area, town = rng.uniform(20, 200), rng.choice(["Oslo", "Rome"])
        price = 5e4 + 1e3 * area + 4e4 * (town == "Rome") + rng.normal(0, 5e3)
        sold = "yes" if price < 1.7e5 else "no"
        shown = "" if rng.random() < 0.1 else f"{area:.1f}"
        lines.append(f"{shown},{town},{price:.0f},{sold}")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Tables to train on, to measure, and to predict."""
    folder = tmp_path_factory.mktemp("tables")
    (folder / "own.csv").write_text(table(60))
    (folder / "other.csv").write_text(table(20, seed=1))
    (folder / "rows.csv").write_text("town;more;area\nRome;1;50\nBari;2;\n")
    return folder


@pytest.fixture(scope="module")
def settings(files):
    """Makes settings of a short run."""

    def make(**changes):
        short = {"target": "price", "hidden": "8", "max_steps": 6, "evaluate_every": 2}
        asked = {"dataset": f"csv:{files}/own.csv", **short, **changes}
        return tabular.Settings(**asked)

    return make


@pytest.fixture(scope="module")
def trained(settings, tmp_path_factory):
    """Finished runs by the kind of their target."""
    found = {}
    for kind, target, ignore in (
        ("regression", "price", "sold"),
        ("binary", "sold", "price"),
    ):
        workdir = tmp_path_factory.mktemp("run") / kind
        asked = settings(target=target, ignore=ignore, workdir=str(workdir))
        assert tabular.main(asked) == 0
        found[kind] = workdir
    return found


def summary(folder):
    return json.loads(RunFolder(folder).summary.read_text())


@pytest.mark.parametrize("kind", ["regression", "binary"])
def test_a_run_leaves_a_complete_folder_that_is_measured_again(trained, kind):
    folder = trained[kind]
    about = summary(folder)
    assert about["status"] == "completed"
    drawn = {path.name for path in RunFolder(folder).plots.iterdir()}
    assert drawn == {*PICTURES[kind], "learning_curves.png"}
    figures = {
        "regression": {"loss", "mae", "rmse"},
        "binary": {"loss", "accuracy", "precision", "recall", "f1", "roc_auc"},
    }[kind]
    assert set(about["metrics"]["test"]) == figures
    assert (
        set(about["baselines"])
        == {
            "regression": {"mean", "linear", "ridge"},
            "binary": {"majority", "logistic"},
        }[kind]
    )
    result = evaluate.evaluate(evaluate.Settings(run=str(folder)))
    assert result["differences"] == {}


def test_a_loaded_run_takes_rows_and_tells_the_targets_unit(trained):
    loaded = runs.load(trained["regression"])
    rows = {"area": [50.0, None, "80"], "town": ["Rome", "Bari", "Oslo"]}
    values = np.asarray(loaded(rows))
    assert values.shape == (3, 1)
    # Little was learned in six steps: values are near the mean of the prices.
    assert 5e4 < values.min() < values.max() < 4e5
    np.testing.assert_array_equal(values[:1], loaded([[50.0, "Rome"]]))


def test_rows_of_a_file_are_predicted(trained, files):
    told = []
    loaded = runs.load(trained["regression"])
    rows = tabular.predict(loaded, [files / "rows.csv"], told.append)
    values = np.asarray(loaded({"area": ["50", ""], "town": ["Rome", "Bari"]}))[:, 0]
    assert [row["value"] for row in rows] == pytest.approx(values.tolist())
    assert [row["index"] for row in rows] == [0, 1]
    assert told == [f"{files / 'rows.csv'}: not looked at: more"]
    loaded = runs.load(trained["binary"])
    logits = np.asarray(loaded({"area": ["50", ""], "town": ["Rome", "Bari"]}))[:, 0]
    for row, logit in zip(
        tabular.predict(loaded, [files / "rows.csv"]), logits, strict=True
    ):
        share = 1 / (1 + math.exp(-logit))
        assert row["probabilities"] == pytest.approx([1 - share, share], abs=1e-6)
        assert row["class"] == ("yes" if share > 0.5 else "no")


def test_a_file_without_the_columns_is_one_line(trained, files):
    (files / "short.csv").write_text("town\nRome\n")
    with pytest.raises(ValueError, match="short.csv: there is no column area"):
        tabular.predict(runs.load(trained["binary"]), [files / "short.csv"])


def test_another_table_is_measured_whole(trained, files):
    asked = evaluate.Settings(
        run=str(trained["regression"]), dataset=f"csv:{files}/other.csv"
    )
    found = evaluate.evaluate(asked)
    columns = tabular.read_csv(files / "other.csv")
    said = np.asarray(runs.load(trained["regression"])(columns))[:, 0]
    true = np.array(columns["price"], float)
    assert found["metrics"]["mae"] == pytest.approx(
        np.abs(said - true).mean(), rel=1e-5
    )


@pytest.mark.usefixtures("without_pictures")
def test_folds_together_and_in_turn_are_equal(settings, tmp_path, capsys):
    for way in ("together", "in_turn"):
        asked = settings(folds=3, fold_way=way, workdir=str(tmp_path / way))
        assert tabular.main(asked) == 0
    one, other = (summary(tmp_path / way) for way in ("together", "in_turn"))
    assert list(one["members"]) == ["fold_0", "fold_1", "fold_2"]
    errors = [member["metrics"]["test"]["mae"] for member in one["members"].values()]
    assert one["metrics"]["test"]["mae"] == pytest.approx(np.mean(errors))
    assert one["spread"]["test"]["mae"] == pytest.approx(np.std(errors))
    assert len(set(errors)) == 3
    for name, member in one["members"].items():
        again = other["members"][name]
        assert member["best_step"] == again["best_step"]
        for split, figures in member["metrics"].items():
            expected = again["metrics"][split]
            assert figures == pytest.approx(expected, rel=1e-5), (name, split)
    fold = tmp_path / "together" / "members" / "fold_1"
    result = evaluate.evaluate(evaluate.Settings(run=str(fold)))
    assert result["differences"] == {}
    assert runs.load(fold)([[50.0, "Rome", "yes"]]).shape == (1, 1)
    capsys.readouterr()
    assert tabular.main(settings(folds=3, workdir=str(tmp_path / "together"))) == 0
    assert "finished" in capsys.readouterr().out


def test_a_fold_alone_is_the_fold_among_all(settings, tmp_path):
    asked = settings(folds=3, fold=2, max_steps=4, workdir=str(tmp_path / "alone"))
    task, plan = tabular.build(asked)
    other, its_plan = tabular.build_folds(asked)[2]
    assert plan == its_plan
    for part in ("train", "validation", "test"):
        one, again = (getattr(t.data, part).arrays for t in (task, other))
        np.testing.assert_array_equal(one["inputs"], again["inputs"])


def test_folds_share_their_functions_and_differ_in_state_and_data(settings):
    tasks = [task for task, _ in tabular.build_folds(settings(folds=3))]
    assert len({task.step for task in tasks}) == 1
    assert len({task.evaluation for task in tasks}) == 1
    states = [task.create(0) for task in tasks]
    shapes = [jax.tree.map(np.shape, state) for state in states]
    assert shapes[0] == shapes[1] == shapes[2]
    for task, state in zip(tasks, states, strict=True):
        targets = task.data.train.arrays["targets"]
        mean = float(state.model_state["target"]["mean"][0])
        assert mean == pytest.approx(targets.mean(), rel=1e-5)
    kernels = [state.params["output"]["kernel"] for state in states]
    np.testing.assert_array_equal(kernels[0], kernels[2])


@pytest.mark.parametrize(
    ("changes", "outputs", "kinds"),
    [
        ({"dataset": "wine", "model": "linear"}, 3, {"loss", "accuracy"}),
        ({"dataset": "breast_cancer"}, 2, {"loss", "accuracy"}),
        ({"dataset": "wine", "target_kind": "multiclass"}, 3, {"loss", "accuracy"}),
        ({"dataset": "diabetes", "model": "linear", "loss": "huber"}, 1, {"mae"}),
    ],
)
def test_the_target_decides_the_head(settings, changes, outputs, kinds):
    asked = {"target": "", **({"hidden": "64,64"} if "model" in changes else {})}
    task, _ = tabular.build(settings(**asked, **changes))
    state = jax.eval_shape(task.create, 0)
    batch = task.data.train.fetch(np.arange(4))
    measured = jax.eval_shape(task.evaluation, state, batch)
    assert kinds <= set(measured)
    found = jax.eval_shape(task.outputs, state, batch)
    assert found.shape == ((4,) if outputs == 1 else (4, outputs))
    assert jax.eval_shape(task.step, state, batch)[1].keys() >= kinds


BAD = {
    "dataset": ({"dataset": "mnist"}, "give diabetes, breast_cancer, wine, or csv:"),
    "no target": ({"target": ""}, "--target is missing: the columns are area, town"),
    "target": ({"target": "size"}, "--target=size: the columns are"),
    "kind": ({"target_kind": "binary"}, "price has 60 classes"),
    "text": ({"target": "sold", "target_kind": "regression"}, "is no number in row"),
    "ignore": ({"ignore": "size"}, "--ignore=size: the columns are"),
    "loss": ({"target": "sold", "loss": "mse"}, "sold holds classes"),
    "no loss": ({"loss": "l3"}, "give one of auto, mse"),
    "model": ({"model": "cnn"}, "--model is 'cnn': give one of mlp, linear"),
    "hidden": ({"hidden": "8,x"}, "--hidden is '8,x'"),
    "linear": ({"model": "linear"}, "--hidden is '8', but --model=linear has none"),
    "folds": ({"folds": 1}, "--folds is 1: give 2 or more"),
    "many folds": ({"folds": 61}, "allowed are 2 to 60 folds"),
    "fold": ({"folds": 3, "fold": 3}, "--fold is 3: give 0 to 2"),
    "no folds": ({"fold": 0}, "--fold is 0, but there are no folds"),
    "way": ({"folds": 3, "fold_way": "apart"}, "give one of together, in_turn"),
    "seeds": ({"folds": 3, "seeds": 2}, "--folds goes with neither --seeds"),
    "data_dir": ({"data_dir": "/tmp"}, "--data_dir is '/tmp', but tables"),
    "batch": ({"batch_size": 50}, "there are only 36 training examples"),
    "monitor": ({"monitor": "accuracy"}, "give one of loss, mae, rmse"),
}


@pytest.mark.parametrize(("changes", "words"), BAD.values(), ids=BAD.keys())
def test_a_bad_setting_is_one_line_and_no_folder(settings, tmp_path, changes, words):
    workdir = tmp_path / "run"
    with pytest.raises((ValueError, OSError)) as caught:
        tabular.main(settings(workdir=str(workdir), **changes))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not workdir.exists()


def test_the_log_is_of_every_check(trained):
    rows = writers.read(RunFolder(trained["binary"]).metrics)
    steps = [row["step"] for row in rows if row["split"] == "validation"]
    assert steps == [2, 4, 6]
