"""Checkpoints: latest and best both survive; what does not fit is refused."""

import shutil
import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from jaxdl import optimizers, train
from jaxdl.train import checkpoints, manifest
from jaxdl.train.progress import start
from tests.train.problems import bits, state

RULE = train.Rule("loss")


def filled(number):
    first = state(ema_decay=0.5)
    return first.replace(step=jnp.asarray(number, jnp.int32))


def saved(folder, steps, best_step):
    progress = start(RULE, filled(0)).replace(best_step=jnp.asarray(best_step))
    with train.Checkpoints(folder) as saving:
        for number in steps:
            best = best_step if number >= best_step else -1
            saving.save(number, filled(number), progress, {"n": number}, best)
    return progress


def test_the_two_newest_and_the_best_are_kept(tmp_path):
    saved(tmp_path, [10, 20, 30, 40, 50], best_step=20)
    with train.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [20, 40, 50]


def test_what_makes_room_is_whole_until_it_is_gone(tmp_path, monkeypatch):
    """A process ended, or a disk that becomes read-only, while a step is deleted."""
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", lambda *_, **__: None)
        saved(tmp_path, [10, 20, 30, 40], best_step=20)
    assert [manifest.wrong(tmp_path / name) for name in ("20", "30", "40")] == [""] * 3
    assert not (tmp_path / "10").exists()
    saved(tmp_path, [50], best_step=20)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["20", "40", "50"]


def test_restores_every_bit(tmp_path):
    progress = saved(tmp_path, [10], best_step=10)
    totals = {"loss": [0.1 + 0.2, float("inf")]}
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(20, filled(20), progress, totals, 10)
    with train.Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(filled(0), progress)
    assert restored.step == 20
    assert bits(restored.state) == bits(filled(20))
    assert bits(restored.progress) == bits(progress)
    assert restored.totals == totals


@pytest.mark.parametrize("most", [checkpoints.COPIED_UP_TO, 0])
def test_the_next_step_may_take_the_arrays_at_once(tmp_path, monkeypatch, most):
    """Small states are saved from a copy; of larger ones Orbax makes one."""
    monkeypatch.setattr(checkpoints, "COPIED_UP_TO", most)
    progress, given = start(RULE, filled(0)), filled(7)
    with train.Checkpoints(tmp_path) as saving:
        saving.save(7, given, progress)
        jax.jit(lambda x: jax.tree.map(lambda a: a * 0, x), donate_argnums=0)(
            given.params
        )
    with train.Checkpoints(tmp_path) as reading:
        restored = reading.restore(filled(0), progress)
    assert bits(restored.state) == bits(filled(7))


def test_a_save_that_fails_behind_the_loop_is_told(tmp_path, monkeypatch):
    told = []
    with train.Checkpoints(tmp_path, warn=told.append) as saving:
        saving.save(1, filled(1), start(RULE, filled(0)))
        saving.wait()

        def full(*_):
            raise OSError("no room")

        monkeypatch.setattr(checkpoints, "_hand", full)
        saving.save(2, filled(2), start(RULE, filled(0)))
        saving.wait()
        monkeypatch.undo()
        saving.save(3, filled(3), start(RULE, filled(0)))
    assert saving.failed == [2]
    assert told[0].startswith("checkpoint 2 could not be saved (no room")
    assert told[1:] == ["checkpoints can be saved again: 3 is."]


def test_a_save_takes_until_it_is_on_disk_however_late_that_is_noticed(
    tmp_path, monkeypatch
):
    now = 0.0
    clock = SimpleNamespace(perf_counter=lambda: now)
    monkeypatch.setattr(checkpoints, "time", clock)
    with train.Checkpoints(tmp_path) as saving:
        saving.save(1, filled(1), start(RULE, filled(0)))
        while not saving.holds(1):
            time.sleep(0.01)
        now = 100.0
        saving.wait()
        assert saving.seconds == 0.0


def test_the_best_is_read_without_a_template(tmp_path):
    saved(tmp_path, [10, 20, 30, 40], best_step=20)
    with train.Checkpoints(tmp_path) as checkpoints:
        number, best = checkpoints.read_best()
    assert number == 20
    assert bits(best["params"]) == bits(filled(20).params)
    assert bits(best["ema"]) == bits(filled(20).ema)


def test_an_empty_folder_restores_nothing(tmp_path):
    with train.Checkpoints(tmp_path / "none") as checkpoints:
        assert checkpoints.restore(filled(0), start(RULE, filled(0))) is None
        assert checkpoints.read_best() is None
        assert checkpoints.steps() == []
    assert not (tmp_path / "none").exists()


def test_leaving_waits_until_all_is_on_disk(tmp_path):
    saved(tmp_path, [10], best_step=10)
    assert (tmp_path / "10").is_dir()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda s: s.replace(params={"w": jnp.ones(2)}), "params/w is absent there"),
        (lambda s: s.replace(ema=None), "ema/.* and absent here"),
        (
            lambda s: state(optimizers.make("adam"), ema_decay=0.5),
            "opt_state/.*absent there",
        ),
        (
            lambda s: s.replace(step=jnp.zeros((), jnp.float32)),
            r"step is int32\[\] there and float32\[\] here",
        ),
    ],
)
def test_another_structure_is_refused_in_one_line(tmp_path, other, message):
    progress = saved(tmp_path, [10], best_step=10)
    with (
        train.Checkpoints(tmp_path) as checkpoints,
        pytest.raises(ValueError, match=message) as error,
    ):
        checkpoints.restore(other(filled(0)), progress)
    assert "\n" not in str(error.value)


def test_a_step_saved_twice_is_left_alone(tmp_path):
    progress = saved(tmp_path, [10], best_step=10)
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(10, filled(99), progress, None, 10)
    with train.Checkpoints(tmp_path) as checkpoints:
        assert int(checkpoints.restore(filled(0), progress).state.step) == 10
