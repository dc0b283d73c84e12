"""``--init_from``: a run begins with what another learned."""

import json

import numpy as np
import pytest

from experiments import common, evaluate, image_classification
from jaxdl import runs
from jaxdl.runs import warm_start


def begun(settings, **changes):
    """The state before the first step."""
    asked = settings(**changes)
    return image_classification.build(asked)[0].create(asked.seed)


def test_what_the_filter_names_is_taken_and_the_rest_is_new(settings, trained):
    best = runs.load(trained).params
    new = begun(settings)
    mine = begun(settings, init_from=f"{trained}:params/Dense_0", ema_decay=0.9)
    np.testing.assert_array_equal(
        mine.params["Dense_0"]["kernel"], best["Dense_0"]["kernel"]
    )
    last = sorted(best)[-1]
    np.testing.assert_array_equal(
        mine.params[last]["kernel"], new.params[last]["kernel"]
    )
    np.testing.assert_array_equal(
        mine.ema["Dense_0"]["kernel"], best["Dense_0"]["kernel"]
    )


def test_it_fine_tunes_and_is_part_of_the_run(
    train, settings, trained, capsys, without_pictures
):
    asked = {"init_from": f"{trained}:params/Dense_0", "freeze": "Dense_0"}
    folder = train(**asked, max_steps=6)
    out = capsys.readouterr().out
    assert f"from {trained}, step " in out
    assert "params/Dense_0/bias, params/Dense_0/kernel; not taken: params/Dense" in out
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["init_from"]["run"] == str(trained)
    assert summary["init_from"]["arrays"] == 2
    before, after = runs.load(trained).params, runs.load(folder).params
    for name in ("kernel", "bias"):
        np.testing.assert_array_equal(before["Dense_0"][name], after["Dense_0"][name])
    with pytest.raises(ValueError, match="init_from: .* -> "):
        train(workdir=folder, max_steps=6, freeze="Dense_0")
    # Its own parameters are read: where it began may be gone.
    flags = folder / "flags.txt"
    flags.write_text(flags.read_text().replace(str(trained), "/gone"))
    found = evaluate.evaluate(evaluate.Settings(run=str(folder)))
    assert found["differences"] == {}


def test_the_other_run_is_read_once(settings, trained, monkeypatch):
    read, asked = warm_start.read, []

    def noted(run):
        asked.append(run)
        return read(run)

    monkeypatch.setattr(warm_start, "read", noted)
    wanted = settings(init_from=str(trained), seeds=2)
    common.built(wanted, image_classification.build)
    assert len(asked) == 1
    common.seed_members(wanted, image_classification.build)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("spec", "changes", "words"),
    [
        ("/missing", {}, "no run at /missing"),
        ("{run}:params/Nothing", {}, "'params/Nothing' fits nothing of"),
        ("{run}:params/(", {}, "is no regular expression"),
        ("{run}", {"model": "simple_cnn"}, "no array that is taken|is .* there and"),
        (
            "{run}:params/Dense_0",
            {"dataset": "digits"},
            r"kernel is \[36, .* there and",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(settings, trained, spec, changes, words):
    with pytest.raises((ValueError, OSError), match=words) as caught:
        begun(settings, init_from=spec.format(run=trained), **changes)
    assert "\n" not in str(caught.value)


def test_statistics_of_batches_come_along(train, settings, without_pictures):
    source = train(batch_norm="true", max_steps=4)
    mine = begun(settings, batch_norm="true", init_from=str(source))
    loaded = runs.load(source)
    assert mine.model_state["batch_stats"]
    for name, found in mine.model_state["batch_stats"].items():
        for key, array in found.items():
            expected = loaded.model_state["batch_stats"][name][key]
            np.testing.assert_array_equal(array, expected)


def test_a_folder_with_a_colon_in_its_name_is_a_folder(trained, tmp_path):
    place = tmp_path / "a:b"
    place.symlink_to(trained)
    assert warm_start.read(str(place)).step == runs.load(trained).step
