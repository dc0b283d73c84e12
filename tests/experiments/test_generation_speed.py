"""The figures of writing with and without the cache."""

import json

import jax.numpy as jnp
import pytest

from experiments import generation_speed

SMALL = {"width": 8, "layers": 1, "heads": 2, "classes": 5, "tokens": 3}


def test_each_prompt_has_its_figures(capsys):
    settings = generation_speed.Settings(prompts="4,7", json=True, **SMALL)
    assert generation_speed.main(settings) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["prompt"] for row in rows] == [4, 7]
    assert all(row["cached"] > 0 < row["anew"] for row in rows)


def test_a_cache_that_writes_something_else_is_an_error(monkeypatch):
    wrong = jnp.full((1, 3), -1)
    monkeypatch.setattr(generation_speed, "generate", lambda *_, **__: wrong)
    with pytest.raises(RuntimeError, match="after 4 tokens the cache writes others"):
        generation_speed.measure(generation_speed.Settings(prompts="4", **SMALL))


@pytest.mark.parametrize(
    "change", [{"prompts": "4,x"}, {"tokens": 0}, {"classes": 1}, {"heads": -1}]
)
def test_sizes_that_cannot_be_are_refused(change):
    settings = generation_speed.Settings(**{**SMALL, **change})
    with pytest.raises(ValueError, match=f"--{next(iter(change))} is"):
        generation_speed.measure(settings)
