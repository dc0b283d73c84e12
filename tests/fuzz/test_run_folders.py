"""Run folders of which any file is spoilt: read as before, or refused in one line.

The fast suite tries a few dozen, the slow drill hundreds.
"""

import dataclasses
import random
import shutil
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import common, evaluate, flags, image_classification, predict
from jaxdl import runs, train
from jaxdl.runs import outcome, warm_start, writers
from jaxdl.runs.folder import RunFolder
from jaxdl.runs.summary import read_summary
from tests.experiments.shared import digest, stripes
from tests.fuzz.test_commands import ALLOWED
from tests.fuzz.test_files import SLOWEST, listing, spoil

NAME = image_classification.NAME


@dataclasses.dataclass(frozen=True)
class Sound:
    """A finished run, and what is read from it.

    Attributes:
      folder: the run's.
      settings: of a run that goes on from there.
      images: a file for ``predict``.
      states: step to the parameters' bytes.
    """

    folder: Path
    settings: image_classification.Settings
    images: Path
    states: dict[int, list[bytes]]


def content(params):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(params)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    place = tmp_path_factory.mktemp("sound")
    images, labels = stripes(60)
    np.savez(place / "tiny.npz", images=images, labels=labels)
    np.save(place / "seen.npy", images[:4, ..., None])
    settings = image_classification.Settings(
        dataset=f"npz:{place / 'tiny.npz'}",
        model="logistic_regression",
        epochs=0,
        max_steps=12,
        batch_size=8,
        evaluate_every=4,
        save_every=4,
        schedule="constant",
        workdir=str(place / "run"),
    )
    with pytest.MonkeyPatch.context() as patch:
        # Pictures take the longest, and are read by nobody.
        figures = outcome.test
        patch.setattr(outcome, "test", lambda *to: (figures(*to)[0], {}))
        patch.setattr(outcome.plots, "learning_curves", lambda *_, **__: None)
        assert image_classification.main(settings) == 0
        with train.Checkpoints(place / "run/states", read_only=True) as checkpoints:
            states = {
                step: content(checkpoints.read(step)["state"]["params"])
                for step in checkpoints.steps()
            }
        assert len(states) >= 2
        asked = dataclasses.replace(settings, max_steps=20)
        yield Sound(place / "run", asked, place / "seen.npy", states)


def check_params(sound, step, params):
    """That they are those which were saved at the step."""
    assert content(params) == sound.states[step]


def load(sound, folder):
    loaded = runs.load(folder)
    check_params(sound, loaded.step, loaded.params)
    return loaded


def make_of_images(sound, folder):
    rows = predict.predict(load(sound, folder), [sound.images], lambda line: None)
    assert len(rows) == 4


def begin_from(sound, folder):
    start = warm_start.read(str(folder))
    check_params(sound, start.step, start.arrays)


def measure_again(sound, folder):
    figures = evaluate.evaluate(evaluate.Settings(run=str(folder)))
    assert set(figures["metrics"]) >= {"accuracy", "loss"}


def decide(sound, folder):
    asked = dataclasses.replace(sound.settings, workdir=str(folder))
    request = common.request(NAME, asked)
    assert request.standing(folder) in ("new", "continue", "finished")


def read_logs(sound, folder):
    place = RunFolder(folder)
    writers.read(place.metrics)
    writers.read(place.speed)
    read_summary(place.summary)


def go_on(sound, folder):
    asked = dataclasses.replace(sound.settings, workdir=str(folder))
    assert image_classification.main(asked) in (0, 1)


_TEXTS = ("model.json", "flags.txt", "summary.json", "environment.json")
_LOGS = ("metrics.jsonl", "speed.jsonl", "summary.json")
# Reader to the files that it looks at, and how many of 100 tries it is given.
READERS = {
    load: (("model.json", "flags.txt", "states/**/*"), 18),
    make_of_images: (("model.json", "states/**/*"), 10),
    begin_from: (("states/**/*",), 14),
    measure_again: ((*_TEXTS, "states/**/*"), 4),
    decide: (_TEXTS, 26),
    read_logs: (_LOGS, 26),
    go_on: ((*_TEXTS, *_LOGS, "states/**/*"), 2),
}


def damage(draw, path):
    """Spoil a file, or leave nothing or a folder in its place."""
    kind, whole = draw.randrange(8), path.read_bytes()
    path.unlink()
    if kind == 0:
        path.mkdir()
    elif kind > 1:
        path.write_bytes(spoil(draw, whole))


def drill(sound, count, tmp_path, monkeypatch, reader=None):
    """Read so many spoilt copies; how many were refused, and how many read."""
    home, folder, draw = tmp_path / "home", tmp_path / "run", random.Random(7)
    home.mkdir()
    monkeypatch.chdir(home)
    before, refused = digest(sound.folder.parent), 0
    shares = [share for _, share in READERS.values()]
    for _ in range(count):
        shutil.copytree(sound.folder, folder)
        read = reader or draw.choices(list(READERS), shares)[0]
        files = [
            path
            for pattern in READERS[read][0]
            for path in sorted(folder.glob(pattern))
            if path.is_file()
        ]
        for path in draw.sample(files, draw.choice((1, 1, 2))):
            damage(draw, path)
        spoilt, began, line = digest(folder), time.process_time(), None
        try:
            read(sound, folder)
        except ALLOWED as error:
            refused, line = refused + 1, flags.told(NAME, error)
        assert line is None or (line.isprintable() and line != f"{NAME}: "), line
        assert time.process_time() - began < SLOWEST, line
        if read is not go_on:
            assert digest(folder) == spoilt
        shutil.rmtree(folder)
    assert digest(sound.folder.parent) == before
    assert listing(tmp_path) == [str(home)]
    return refused, count - refused


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_a_spoilt_run_is_read_or_refused(sound, tmp_path, monkeypatch, reader):
    count = max(1, READERS[reader][1] // 4)
    drill(sound, count, tmp_path, monkeypatch, reader)


@pytest.mark.slow
def test_hundreds_of_spoilt_runs(sound, tmp_path, monkeypatch):
    refused, read = drill(sound, 120, tmp_path, monkeypatch)
    assert refused > 30
    assert read > 30
