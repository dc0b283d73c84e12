"""``experiments.benchmark``: both sides compute the same, and ratios point right."""

import dataclasses
import json
import os

import numpy as np
import pytest

from experiments import benchmark
from experiments.benchmark import Settings
from experiments.benchmarks import cases, ours, peer_flax, worker
from jaxdl import kernels
from jaxdl.runs import screen


@pytest.fixture(autouse=True)
def no_kernels(monkeypatch):
    """Nothing is built into the user's own cache."""
    monkeypatch.setenv(kernels.SWITCH, "off")


def test_a_case_end_to_end_with_plain_flax(capsys):
    short = {"rounds": 1, "seconds": 0.05, "device": "cpu", "json": True}
    measures = "training_step,memory,products"
    asked = Settings(only="mlp_32", measure=measures, peers="flax", **short)
    assert benchmark.main(asked) == 0
    shown = capsys.readouterr()
    assert shown.err.startswith("compiled kernels left out")
    rows = json.loads(shown.out)
    assert [(row["case"], row["measure"], row["peer"]) for row in rows] == [
        ("mlp_32", "training_step", "flax"),
        ("mlp_32", "memory", "flax"),
        ("mlp_32", "products", "XLA's choice"),
    ]
    for row in rows:
        assert set(row) == {f.name for f in dataclasses.fields(benchmark.Row)}
        assert row["ratio"] == pytest.approx(row["theirs"] / row["ours"])


def worker_that_finds(**losses):
    """Stands in for the processes: what each library's losses are."""

    def taking(task):
        return {"losses": losses[task.library], "milliseconds": 1.0}

    return taking


@pytest.mark.parametrize("third", [2.0 * (1 + 1.1 * benchmark.TOLERANCE), float("nan")])
def test_a_peer_that_differs_is_named(third):
    taking = worker_that_finds(jaxdl=[4.0, 3.0, 2.0], torch=[4.0, 3.0, third])
    with pytest.raises(benchmark.Different, match="case cnn: torch") as error:
        benchmark.measure("cnn", ["torch"], Settings(), lambda _: None, taking)
    assert "\n" not in str(error.value)


def test_a_step_that_differs_is_found(tmp_path, monkeypatch):
    """A plain step whose learning rate is 1% off fails the check of its losses."""
    case = dataclasses.replace(cases.CASES["mlp_32"], batches=3)
    params = _parameters(case)
    np.savez(tmp_path / "parameters.npz", **params)

    def losses():
        side = peer_flax.make(case, tmp_path / "parameters.npz", 1, "cpu")
        return [side.losses(side.step())[0] for _ in range(3)]

    right = losses()
    benchmark.check_equal("mlp_32", "flax", right, losses())
    monkeypatch.setattr(peer_flax, "LEARNING_RATE", 1.01 * cases.LEARNING_RATE)
    with pytest.raises(benchmark.Different, match="case mlp_32: flax"):
        benchmark.check_equal("mlp_32", "flax", right, losses())


def _parameters(case):
    rng = np.random.default_rng(1)
    sizes = [case.shape[0], *case.arguments["hidden"], case.arguments["classes"]]
    names = ["Dense_0", "Dense_1", "output"]
    made = {}
    for name, inputs, outputs in zip(names, sizes, sizes[1:], strict=False):
        kernel = rng.normal(size=(inputs, outputs)) * np.sqrt(2 / inputs)
        made[f"{name}/kernel"] = kernel.astype(np.float32)
        made[f"{name}/bias"] = np.zeros(outputs, np.float32)
    return made


def test_ratios_above_one_are_in_favour_of_jaxdl():
    found = {
        "jaxdl": [{"milliseconds": t, "peak_mib": 300.0} for t in (1.0, 9.0, 2.0)],
        "torch": [{"milliseconds": t, "peak_mib": 150.0} for t in (4.0, 4.0, 3.0)],
    }
    step, memory = benchmark.rows("cnn", ["training_step", "memory"], found)
    assert (step.ours, step.theirs, step.ratio) == (2.0, 4.0, 2.0)
    assert memory.ratio == 0.5


def test_where_more_is_better_a_ratio_above_one_is_still_in_favour_of_jaxdl():
    found = {
        "jaxdl": [{"examples_a_second": 300.0}],
        "no cache": [{"examples_a_second": 100.0}],
    }
    (row,) = benchmark.rows("transformer_512", ["generation"], found)
    assert (row.ratio, row.unit) == (pytest.approx(3.0), "tokens/s")


def test_members_as_one_program_and_in_turn_have_the_same_losses(tmp_path):
    mlps = cases.WORK["population"]["mlps_8"]
    case = dataclasses.replace(mlps, folds=2, batches=4)
    sides = [
        make(case, tmp_path / "parameters.npz", 1, "cpu")
        for make in (ours.make, ours.make_in_turn)
    ]
    one, other = (side.losses(side.step())[: worker.CHECKED] for side in sides)
    benchmark.check_equal("mlps_8", "in turn", one, other)


def test_a_case_that_a_peer_lacks_is_told_and_left_out():
    def taking(task):
        if task.library == "keras":
            return {"absent": "keras has no case lstm"}
        return {"losses": [1.0, 1.0, 1.0], "milliseconds": 1.0}

    said = []
    found = benchmark.measure("lstm", ["keras"], Settings(), said.append, taking)
    assert list(found) == ["jaxdl"]
    assert len(found["jaxdl"]) == Settings().rounds
    assert "lstm: skipped: keras has no case lstm" in said


def test_a_peer_that_is_not_installed_is_skipped_with_a_line(monkeypatch):
    monkeypatch.setitem(cases.LIBRARIES, "torch", "no_such_package")
    said = []
    assert benchmark.installed(["torch", "flax"], said.append) == ["flax"]
    assert len(said) == 1
    assert "torch is skipped" in said[0]


def test_a_worker_that_fails_is_told_in_one_line(tmp_path):
    task = worker.Task("flax", "mlp_32", str(tmp_path / "absent.npz"), 1)
    with pytest.raises(RuntimeError, match="case mlp_32, flax: .*absent.npz") as error:
        benchmark.take(task)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"only": "mlp_23"}, r"--only is 'mlp_23' \(did you mean mlp_32\?\)"),
        ({"measure": "speed"}, "--measure is 'speed'"),
        ({"measure": "end2end"}, "did you mean end_to_end"),
        ({"only": "mnist_98"}, "did you mean mnist_99"),
        ({"peers": "tensorflow"}, "--peers is 'tensorflow'"),
        ({"device": "tpu"}, "--device is 'tpu'"),
        ({"kernels": "on"}, "--kernels is 'on'"),
        ({"rounds": 0}, "--rounds"),
        ({"seconds": 0.0}, "--seconds"),
    ],
)
def test_wrong_settings_are_told_in_one_line(change, message):
    with pytest.raises(ValueError, match=message) as error:
        benchmark.main(Settings(**change))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("compiler", ["false", "no-such-compiler"])
def test_kernels_that_cannot_be_built_are_told_of_and_done_without(
    compiler, tmp_path, monkeypatch, capsys
):
    monkeypatch.delenv(kernels.SWITCH)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", compiler)
    benchmark.prepare_kernels("build", screen.console())
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith("building the compiled kernels, once")
    assert last.startswith("no compiled kernels: ")


def test_kernels_are_built_once_and_left_out_when_asked(monkeypatch, capsys):
    monkeypatch.setenv(kernels.SWITCH, "")
    there, built = [], "library.so"
    monkeypatch.setattr(kernels, "built", lambda: there and built)
    monkeypatch.setattr(kernels, "build", lambda: there.append(built))
    monkeypatch.setattr(kernels, "load", lambda: bool(there))
    for _ in range(2):
        benchmark.prepare_kernels("build", screen.console())
    assert there == [built]
    monkeypatch.setattr(kernels, "load", lambda: False)
    benchmark.prepare_kernels("off", screen.console())
    assert os.environ[kernels.SWITCH] == "off"
    said = capsys.readouterr().out
    assert said.count("compiled kernels for attention") == 2
    assert said.count("left out") == 1
