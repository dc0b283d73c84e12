"""The best step, not the last, is what a run gives back."""

import json

import numpy as np
import pytest

from experiments import evaluate
from jaxdl import runs
from jaxdl.runs import writers
from jaxdl.runs.folder import RunFolder


@pytest.fixture(scope="module")
def overfitted(train, tmp_path_factory):
    """A run on labels that mean nothing: its validation loss falls, then rises."""
    path = tmp_path_factory.mktemp("noise") / "noise.npz"
    rng = np.random.default_rng(0)
    np.savez(
        path,
        x=rng.integers(0, 255, (120, 6, 6, 1), dtype=np.uint8),
        y=rng.integers(0, 3, 120),
    )
    return train(
        dataset=f"npz:{path}",
        monitor="loss",
        epochs=0,
        max_steps=200,
        evaluate_every=10,
        learning_rate=0.01,
        dropout=0.0,
        schedule="constant",
    )


def test_the_best_step_is_loaded_and_not_the_last(overfitted):
    rows = writers.read(RunFolder(overfitted).metrics)
    checks = {r["step"]: r["loss"] for r in rows if r["split"] == "validation"}
    best = min(checks, key=lambda step: checks[step])
    last = max(checks)
    assert checks[last] > checks[best] * 1.5  # it did degrade
    assert runs.load(overfitted).step == best
    result = evaluate.evaluate(
        evaluate.Settings(run=str(overfitted), split="validation")
    )
    assert result["step"] == best
    assert result["metrics"]["loss"] == checks[best]
    summary = json.loads(RunFolder(overfitted).summary.read_text())
    assert summary["best_step"] == best
    assert summary["metrics"]["validation"]["loss"] == checks[best]


def test_what_is_loaded_computes_the_best_loss(overfitted, settings):
    from experiments import image_classification, saved

    place = RunFolder(overfitted)
    task, _ = image_classification.build(
        saved.settings_of(place, image_classification.Settings)
    )
    examples = task.data.validation.fetch(np.arange(task.data.validation.size))
    logits = np.asarray(runs.load(overfitted)(examples["inputs"]), np.float64)
    log = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    loss = -log[np.arange(len(log)), examples["targets"]].mean()
    rows = [r for r in writers.read(place.metrics) if r["split"] == "validation"]
    assert loss == pytest.approx(min(r["loss"] for r in rows), rel=1e-5)
