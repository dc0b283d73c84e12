"""Whether a folder's run is begun, continued, finished or refused."""

import pytest

from jaxdl.runs.flagfile import write_flagfile
from jaxdl.runs.folder import RunFolder, write_json
from jaxdl.runs.resume import decide

IDENTITY = {"learning_rate": 0.01, "model": "cnn"}
LENGTH = {"epochs": 5}


def ask(path, mode="auto", experiment="images", identity=IDENTITY, length=LENGTH):
    return decide(path, mode, experiment, identity, length)


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path)
    write_json(folder.environment, {"experiment": "images"})
    write_flagfile(folder.flags, {**IDENTITY, **LENGTH})
    folder.states.mkdir()
    return folder


def end(folder, status):
    write_json(folder.summary, {"status": status})


def test_an_empty_or_absent_folder_begins(tmp_path):
    assert ask(tmp_path) == "new"
    assert ask(tmp_path / "absent", "never") == "new"
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("status", ["interrupted", "failed", None])
def test_an_unfinished_run_goes_on(run, status):
    if status:
        end(run, status)
    assert ask(run.path) == "continue"
    assert ask(run.path, "must") == "continue"


@pytest.mark.parametrize("status", ["completed", "early_stopped"])
def test_a_finished_run_is_done_until_it_is_given_more(run, status):
    end(run, status)
    assert ask(run.path) == "finished"
    assert ask(run.path, length={"epochs": 6}) == "continue"


def test_settings_are_compared_by_value(run):
    assert ask(run.path, identity={"learning_rate": 1e-2, "model": "cnn"}) == "continue"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "never"}, "--resume=never, but .* holds a run"),
        ({"experiment": "texts"}, "a run of images, not of texts"),
        (
            {"identity": {**IDENTITY, "learning_rate": 0.1}},
            r"other settings \(learning_rate: 0.01 -> 0.1\)",
        ),
        ({"identity": {**IDENTITY, "model": "mlp"}}, "model: cnn -> mlp"),
        ({"mode": "perhaps"}, "auto, never, must"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(run, change, message):
    with pytest.raises(ValueError, match=message) as error:
        ask(run.path, **change)
    assert "\n" not in str(error.value)


def test_must_needs_a_run(tmp_path):
    with pytest.raises(ValueError, match="--resume=must, but .* holds no run"):
        ask(tmp_path, "must")


def test_states_without_settings_are_not_guessed_at(run):
    run.flags.unlink()
    with pytest.raises(ValueError, match="not the settings"):
        ask(run.path)


def test_a_run_of_other_code_goes_on_only_where_that_is_asked_for(run):
    about = {"experiment": "images", "code": {"jaxdl": "other", "gone": "1"}}
    write_json(run.environment, about)
    with pytest.raises(ValueError, match=r"other code \(changed: jaxdl\)") as error:
        ask(run.path)
    assert "--other_code" in str(error.value)
    asked = ("auto", "images", IDENTITY, LENGTH, True)
    assert decide(run.path, *asked) == "continue"
    end(run, "completed")  # nothing of it is computed any more
    assert ask(run.path) == "finished"
    with pytest.raises(ValueError, match="other code"):
        ask(run.path, length={"epochs": 6})
