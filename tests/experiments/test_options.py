"""What the flags of a training do, each seen in the run that it makes."""

import re

import jax
import numpy as np
import pytest
from PIL import Image

from experiments import image_classification
from jaxdl import models, runs
from jaxdl.runs import writers
from jaxdl.runs.folder import RunFolder, read_json
from jaxdl.train.checkpoints import Checkpoints
from tests.experiments.shared import digest, stripes

pytestmark = pytest.mark.usefixtures("without_pictures")

# Compiled in a fraction of the time of the MLP that other tests need.
LINEAR = "logistic_regression"


def metrics(folder):
    return (folder / "metrics.jsonl").read_bytes()


def rows(folder, split):
    return [r for r in writers.read(folder / "metrics.jsonl") if r["split"] == split]


def summary(folder):
    return read_json(RunFolder(folder).summary)


def test_a_finished_run_says_so_and_is_left_alone(trained, settings, capsys):
    before = digest(trained)
    for mode in ("auto", "must"):
        asked = settings(workdir=str(trained), resume=mode)
        assert image_classification.main(asked) == 0
    shown = capsys.readouterr().out
    assert shown.count("finished: raise --epochs") == 2
    assert digest(trained) == before


def test_a_finished_run_given_more_epochs_goes_on(train):
    asked = {"model": LINEAR, "schedule": "constant"}
    folder = train(epochs=1, **asked)
    first, tested = rows(folder, "validation"), rows(folder, "test")
    train(workdir=folder, epochs=2, resume="must", **asked)
    whole = train(epochs=2, **asked)
    assert summary(folder)["step"] == summary(whole)["step"] > first[-1]["step"]
    assert rows(folder, "validation")[: len(first)] == first
    assert len(rows(folder, "test")) == len(tested) == 1
    # The end of the shorter run was one more check; the parameters are the same.
    ends = [rows(f, "validation")[-1] for f in (folder, whole)]
    assert ends[0] == ends[1]


@pytest.mark.parametrize("steps", ["4", "auto"])
def test_steps_in_one_dispatch_change_no_byte_of_the_metrics(train, steps):
    asked = {"epochs": 4, "evaluate_every": 8, "dropout": 0.5}
    single = train(steps_per_call="1", **asked)
    assert metrics(train(steps_per_call=steps, **asked)) == metrics(single)


def test_accumulated_microbatches_train_as_the_whole_batch(train):
    asked = {"model": LINEAR, "max_steps": 6}
    whole, parts = train(**asked), train(accumulate_steps=4, **asked)
    expected, found = (rows(f, "validation")[-1]["loss"] for f in (whole, parts))
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_moving_average_is_what_is_measured_and_loaded(train):
    folder = train(ema_decay=0.9, max_steps=6)
    with Checkpoints(RunFolder(folder).states) as checkpoints:
        step, state = checkpoints.read_best()
    loaded = runs.load(folder)
    assert loaded.step == step
    kernel = loaded.params["Dense_0"]["kernel"]
    assert np.array_equal(kernel, state["ema"]["Dense_0"]["kernel"])
    assert not np.array_equal(kernel, state["params"]["Dense_0"]["kernel"])


def test_frozen_parameters_stay_as_they_began(train, settings):
    folder = train(freeze="Dense_0", max_steps=4)
    task, _ = image_classification.build(settings(freeze="Dense_0", max_steps=4))
    before = jax.device_get(task.create(0)).params
    after = runs.load(folder).params
    for name, leaf in before["Dense_0"].items():
        assert np.allclose(after["Dense_0"][name], leaf, rtol=1e-5, atol=1e-7)
    moved = np.abs(after["Dense_1"]["kernel"] - before["Dense_1"]["kernel"]).max()
    assert moved > 1e-3


def test_augmentation_changes_training_and_not_evaluation(train, settings):
    plain, changed = (
        train(max_steps=1, augment=a, dropout=0.0) for a in ("", "shift=2,flip")
    )
    losses = [rows(folder, "train")[0]["loss"] for folder in (plain, changed)]
    assert losses[0] != losses[1]
    one, other = (
        image_classification.build(settings(augment=a))[0] for a in ("", "shift=2,flip")
    )
    batch = {"inputs": stripes(8)[0][..., None], "targets": stripes(8)[1]}
    state = one.create(0)
    assert jax.tree.all(
        jax.tree.map(
            np.array_equal, one.evaluation(state, batch), other.evaluation(state, batch)
        )
    )


def test_a_loss_that_is_not_finite_stops_the_run_and_says_so(train, capsys):
    wild = {"model": LINEAR, "learning_rate": 1e38, "optimizer": "sgd", "max_steps": 9}
    folder = train(code=1, **wild)
    assert "not finite" in capsys.readouterr().out
    assert summary(folder)["status"] == "failed"
    skipped = train(on_nonfinite="skip", **wild)
    assert summary(skipped)["status"] == "completed"
    assert sum(row["skipped"] for row in rows(skipped, "train")) > 0


def test_profiling_leaves_a_trace(train):
    folder = train(model=LINEAR, profile=True, max_steps=6)
    traces = list((folder / "plugins" / "profile").rglob("*trace*"))
    assert any(path.stat().st_size > 0 for path in traces)


def test_half_precision_is_kept_for_loading(train):
    folder = train(precision="bfloat16", max_steps=4)
    loaded = runs.load(folder)
    assert loaded.model == models.create("mlp", classes=3, dtype="bfloat16")
    assert loaded.params["Dense_0"]["kernel"].dtype == "float32"
    assert np.isfinite(summary(folder)["metrics"]["test"]["loss"])


def test_an_initializer_and_an_activation_reach_the_model(train):
    folder = train(initializer="zeros", activation="tanh", max_steps=1)
    about = read_json(RunFolder(folder).model)["model"]["arguments"]
    assert about == {"classes": 3, "activation": "tanh", "initializer": "zeros"}


def test_one_device_is_what_none_asks_for(train):
    asked = {"model": LINEAR, "max_steps": 4, "evaluate_every": 2}
    folder = train(parallel="none", **asked)
    if len(jax.local_devices()) == 1:
        assert metrics(folder) == metrics(train(parallel="auto", **asked))
    assert summary(folder)["status"] == "completed"


def test_patience_ends_a_run_early_and_resuming_leaves_it_ended(train, capsys):
    asked = {"epochs": 9, "patience": 2, "learning_rate": 1e-9, "monitor": "accuracy"}
    folder = train(**asked)
    checks = rows(folder, "validation")
    assert summary(folder)["status"] == "early_stopped"
    assert len(checks) == 3
    train(workdir=folder, **asked)
    assert "finished" in capsys.readouterr().out


def test_images_in_folders_are_learned_as_their_arrays_are(train, tmp_path):
    images, labels = stripes(40)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        (tmp_path / str(label)).mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / str(label) / f"{i:02}.png")
    # Folders are read class by class.
    order = np.argsort(labels, kind="stable")
    np.savez(tmp_path / "same.npz", x=images[order], y=labels[order])
    found = [
        train(dataset=name, model=LINEAR, max_steps=4, batch_size=8)
        for name in (f"folder:{tmp_path}", f"npz:{tmp_path / 'same.npz'}")
    ]
    assert metrics(found[0]) == metrics(found[1])


def test_the_step_that_was_not_finite_is_kept_whole(train, tmp_path, capsys):
    wild = {"model": LINEAR, "learning_rate": 1e38, "optimizer": "sgd", "max_steps": 9}
    folder = train(code=1, **wild)
    out = capsys.readouterr().out
    step = int(re.search(r"step (\d+) was not finite \(first ", out)[1])
    with np.load(folder / "failure.npz", allow_pickle=False) as kept:
        assert int(kept["state/step"]) == step
        assert kept["batch/inputs"].shape[0] == 16
        assert {name.split("/")[0] for name in kept.files} == {"batch", "state"}
    members = train(code=0, seeds=2, **wild)
    assert capsys.readouterr().out.count(" was not finite (first ") == 2
    for place in (members / "members").iterdir():
        assert (place / "failure.npz").is_file()
        assert summary(place)["status"] == "failed"
