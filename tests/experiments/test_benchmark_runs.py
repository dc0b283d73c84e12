"""``experiments.benchmark``: whole runs and data. Both sides follow one recipe, and
what is missing or missed is told. No time is asserted."""

import importlib
import io
import json

import jax
import numpy as np
import pytest
from absl import flags as absl_flags
from flax import linen as nn
from PIL import Image

from experiments import benchmark, flags
from experiments.benchmark import Settings
from experiments.benchmarks import cases, whole, worker
from jaxdl import models, objectives, optimizers, train

RUNS = {
    work: run for work in ("end_to_end", "nanogpt") for run in cases.WORK[work].values()
}


def test_every_work_has_a_function_and_every_measure_a_work():
    assert set(worker.WORKS) == set(cases.WORK)
    assert {told.work for told in benchmark.MEASURES.values()} == set(cases.WORK)


@pytest.mark.parametrize("work", RUNS)
def test_a_recipe_is_flags_of_the_public_command(work, tmp_path):
    run = RUNS[work]
    settings_class = importlib.import_module(f"experiments.{run.experiment}").Settings
    _, _, module, *given = whole.command(run, "DIR", tmp_path)
    settings = flags.read(
        settings_class, [module, *given], values=absl_flags.FlagValues()
    )
    assert settings.data_dir == "DIR"
    assert {name: getattr(settings, name) for name in run.flags} == dict(run.flags)


def test_measures_without_their_data_are_skipped_with_a_line_each(tmp_path):
    (tmp_path / "mnist").mkdir()
    asked, said = ["loop", "end_to_end", "nanogpt"], []
    assert benchmark.readable(asked, "", said.append) == ["loop"]
    assert benchmark.readable(asked, str(tmp_path), said.append) == asked[:2]
    assert [line.split(" is skipped")[0] for line in said] == [*asked[1:], "nanogpt"]
    assert "give --data_dir" in said[0]
    assert "holds none" in said[2]
    assert all("\n" not in line for line in said)


def test_nothing_to_measure_is_no_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAXDL_KERNELS", "off")  # none are built
    asked = Settings(measure="end_to_end", data_dir=str(tmp_path / "no"), json=True)
    assert benchmark.main(asked) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == []
    assert "end_to_end is skipped" in shown.err


def _found(reached):
    return {"reached": reached, "seconds": 9.0, "training": 4.0, "steps": 8} | {
        "versions": {}
    }


@pytest.mark.parametrize(
    ("work", "good", "bad"), [("end_to_end", 0.99, 0.9899), ("nanogpt", 1.88, 1.89)]
)
def test_a_side_that_misses_what_the_run_is_to_reach_has_no_figure(work, good, bad):
    (case,) = cases.WORK[work]
    task = worker.Task("torch", case, "", 1, work=work)
    right = whole.judged(task, RUNS[work], _found(good))
    assert (right["seconds"], right["milliseconds"]) == (9.0, 500.0)
    assert f"{good:.4f}" in right["told"]
    for reached in (bad, float("nan")):
        missed = whole.judged(task, RUNS[work], _found(reached))["absent"]
        assert f"torch: {' '.join(RUNS[work].figure)} {reached:.4f}" in missed
        assert "\n" not in missed


@pytest.mark.parametrize(
    ("misses", "left"), [("torch", ["jaxdl"]), ("jaxdl", []), ("", ["jaxdl", "torch"])]
)
def test_without_a_figure_of_jaxdl_there_is_none(misses, left):
    asked = []

    def taking(task):
        asked.append(task.library)
        found = _found(0.5 if task.library == misses else 1.0)
        return whole.judged(task, RUNS["end_to_end"], found)

    def measured(settings):
        return benchmark.measure(
            "mnist_99", ["torch"], settings, said.append, taking, "end_to_end"
        )

    said = []
    found = measured(Settings(rounds=1))
    assert list(found) == left
    assert len(benchmark.rows("mnist_99", ["end_to_end"], found)) == (misses == "")
    assert sum("skipped" in line for line in said) == (misses != "")
    assert asked[:1] == ["jaxdl"]


def test_a_whole_run_is_taken_once(monkeypatch):
    asked = []
    monkeypatch.setattr(
        benchmark, "measure", lambda *given, work: asked.append((given, work))
    )
    peers = ["torch", "flax"]
    benchmark.measure_case("mnist_99", ["end_to_end"], peers, Settings(), print)
    benchmark.measure_case("mlp_32", ["training_step"], peers, Settings(), print)
    (once, first), (again, second) = asked
    assert (once[1], once[2].rounds, first) == (["torch"], 1, "end_to_end")
    assert (again[1], again[2], second) == (peers, Settings(), "training")


RECIPE = {
    "optimizer": "adamw",
    "learning_rate": 0.05,
    "schedule": "warmup_cosine",
    "warmup_steps": 3,
    "weight_decay": 0.1,
    "clip_norm": 0.5,
    "evaluate_every": 100,
}
STEPS = 12


def test_a_recipe_takes_the_same_steps_in_pytorch():
    torch = pytest.importorskip("torch")
    from experiments.benchmarks import torch_runs

    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(STEPS, 16, 5)).astype(np.float32)
    targets = rng.integers(0, 3, (STEPS, 16)).astype(np.int32)
    net = nn.Dense(3)
    params, model_state = models.init(net, jax.random.key(0), inputs[0, :1])
    kernel = np.asarray(params["kernel"])
    params = {"kernel": kernel, "bias": np.ones(3, np.float32)}
    optimizer = optimizers.make("adamw", weight_decay=0.1)
    step = train.make_step(
        objectives.classification(models.forward(net)),
        optimizer,
        clip_norm=RECIPE["clip_norm"],
        schedules={
            "learning_rate": optimizers.schedule(
                "warmup_cosine", STEPS, warmup_steps=RECIPE["warmup_steps"]
            )
        },
    )
    hyper = {name: RECIPE[name] for name in ("learning_rate", "weight_decay")}
    state = train.create_state(params, optimizer, model_state, hyper=hyper)
    run = jax.jit(step)
    for x, y in zip(inputs, targets, strict=True):
        state, _ = run(state, {"inputs": x, "targets": y})

    model = torch.nn.Linear(5, 3)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(kernel.T.copy()))
        model.bias.fill_(1.0)

    def batch(at):
        return torch.from_numpy(inputs[at]), torch.from_numpy(targets[at]).long()

    torch_runs.fit(model, RECIPE, STEPS, batch, lambda: 1.0)
    ours = {"weight": state.params["kernel"].T, "bias": state.params["bias"]}
    for name, value in ours.items():
        theirs = getattr(model, name).detach().numpy()
        np.testing.assert_allclose(theirs, value, rtol=1e-4, atol=1e-5)


def test_pytorch_moves_images_as_jaxdl_does():
    torch = pytest.importorskip("torch")
    from experiments.benchmarks import torch_runs

    images = np.random.default_rng(0).normal(size=(50, 1, 6, 6)).astype(np.float32)
    moved = torch_runs.shifted(torch.from_numpy(images), 1).numpy()
    padded = np.pad(images, [(0, 0), (0, 0), (1, 1), (1, 1)], mode="edge")
    found = []
    for image, border in zip(moved, padded, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(border[0], (6, 6))
        found += [tuple(at) for at in np.argwhere((windows == image[0]).all((2, 3)))]
    assert len(found) == len(images)
    assert set(found) == {(down, right) for down in range(3) for right in range(3)}


def test_pytorch_reads_the_records_of_tfds(tmp_path):
    pytest.importorskip("torch")
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    from experiments.benchmarks import torch_records

    pixels = np.random.default_rng(0).integers(0, 255, (3, 6, 5), dtype=np.uint8)
    folder = tmp_path / "little" / "1.0.0"
    folder.mkdir(parents=True)
    file = folder / "little-train.array_record-00000-of-00001"
    writer = ArrayRecordWriter(str(file), "group_size:1")
    for i, image in enumerate(pixels):
        encoded = io.BytesIO()
        Image.fromarray(image).save(encoded, "PNG")
        example = tf_example_pb2.Example()
        example.features.feature["image"].bytes_list.value.append(encoded.getvalue())
        example.features.feature["label"].int64_list.value.append(i)
        example.features.feature["text"].bytes_list.value.append(b"to be")
        writer.write(example.SerializeToString())
    writer.close()
    images, labels = torch_records.images(str(tmp_path), "little", "train")
    np.testing.assert_array_equal(images.numpy(), pixels)
    assert labels.tolist() == [0, 1, 2]
    lazy = torch_records.Images(str(tmp_path), "little", "train")
    assert len(lazy) == 3
    np.testing.assert_array_equal(lazy[2][0].numpy(), pixels[2])
    assert torch_records.text(str(tmp_path), "little", "train").split("\n")[0] == (
        "to be"
    )
    with pytest.raises(FileNotFoundError, match="no ArrayRecord of little, test"):
        torch_records.images(str(tmp_path), "little", "test")
