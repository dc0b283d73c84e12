"""What the tests of the experiments share: a tiny data set and runs on it."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax

from experiments import image_classification
from jaxdl.runs import outcome
from tests.experiments.shared import digest, stripes


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    """Compiled programs are shared by all runs of these tests and by nothing else."""
    before = jax.config.values["jax_compilation_cache_dir"]
    folder = str(tmp_path_factory.mktemp("xla"))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    jax.config.update("jax_compilation_cache_dir", folder)
    yield
    del os.environ["JAX_COMPILATION_CACHE_DIR"]
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The name of a data set of 150 small images of 3 classes."""
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    images, labels = stripes(150)
    np.savez(path, images=images, labels=labels, classes=["row", "column", "diagonal"])
    return f"npz:{path}"


@pytest.fixture(scope="session")
def settings(tiny):
    """Makes settings of a short run on the tiny data set."""

    def make(**changes):
        base = image_classification.Settings(
            dataset=tiny, model="mlp", epochs=2, batch_size=16, learning_rate=0.01
        )
        return dataclasses.replace(base, **changes)

    return make


@pytest.fixture(scope="session")
def train(settings, tmp_path_factory):
    """Trains in this process; the run's folder."""

    def run(workdir=None, code=0, **changes):
        folder = Path(workdir or tmp_path_factory.mktemp("run") / "run")
        assert (
            image_classification.main(settings(workdir=str(folder), **changes)) == code
        )
        return folder

    return run


@pytest.fixture(scope="session")
def trained(train):
    """A finished run that tests read and must not change."""
    folder = train()
    before = digest(folder)
    yield folder
    assert digest(folder) == before


@pytest.fixture
def without_pictures(monkeypatch):
    """Runs draw nothing: that is half of a short run's time, and tested elsewhere."""
    figures = outcome.test
    monkeypatch.setattr(outcome, "test", lambda *to: (figures(*to)[0], {}))
    monkeypatch.setattr(outcome.plots, "learning_curves", lambda *_, **__: None)
