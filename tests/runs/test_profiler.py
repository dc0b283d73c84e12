"""A trace of some dispatches, not of all."""

from jaxdl.runs import profiler
from jaxdl.train import Watch


def test_traces_from_the_third_dispatch_on_and_ends(tmp_path, monkeypatch):
    calls, heard = [], []
    monkeypatch.setattr(
        profiler.jax.profiler, "start_trace", lambda *a, **k: calls.append("start")
    )
    monkeypatch.setattr(
        profiler.jax.profiler, "stop_trace", lambda: calls.append("stop")
    )
    watch = Watch(timed=lambda what, seconds: heard.append(what))
    with profiler.profiled(watch, tmp_path, 30) as traced:
        for number in range(30):
            traced.timed("dispatch", 0.0)
            traced.timed("data", 0.0)
            started, ended = number >= 1, number >= 21
            assert calls == ["start"] * started + ["stop"] * ended
    assert calls == ["start", "stop"]
    assert len(heard) == 60
    calls.clear()
    with profiler.profiled(watch, tmp_path, 30) as traced:
        for _ in range(3):
            traced.timed("dispatch", 0.0)
    assert calls == ["start", "stop"]


def test_a_run_of_two_dispatches_is_traced_from_its_beginning(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        profiler.jax.profiler, "start_trace", lambda *a, **k: calls.append("start")
    )
    monkeypatch.setattr(
        profiler.jax.profiler, "stop_trace", lambda: calls.append("stop")
    )
    with profiler.profiled(Watch(), tmp_path, 2) as traced:
        assert calls == ["start"]
        traced.timed("dispatch", 0.0)
        traced.timed("dispatch", 0.0)
    assert calls == ["start", "stop"]


def test_without_a_folder_the_watch_is_the_same():
    watch = Watch()
    with profiler.profiled(watch, None, 1) as traced:
        assert traced is watch
