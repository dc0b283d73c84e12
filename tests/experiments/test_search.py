"""``experiments.search``: any experiment's trials, in programs; killed and resumed."""

import json

import pytest

from experiments import image_classification, search
from jaxdl.runs import outcome, trials
from jaxdl.runs import search as running
from jaxdl.runs.folder import RunFolder
from jaxdl.search import Asked

SPACE = "learning_rate=log(1e-3,1e-1); weight_decay=log(1e-6,1e-1)"


GIVEN = "model=logistic_regression; dropout=0; epochs=2; batch_size=32"


@pytest.fixture(scope="module")
def asked(tiny):
    """Makes settings of a short search on the tiny data set."""

    def make(folder, **changes):
        given = {
            "settings": f"dataset={tiny}; {GIVEN}",
            "space": SPACE,
            "trials": 6,
            "rounds": 2,
            **changes,
        }
        return search.Settings(workdir=str(folder), **given)

    return make


@pytest.fixture(scope="module")
def searched(asked, tmp_path_factory):
    """A finished search, and how often the test part was read."""
    folder = tmp_path_factory.mktemp("search") / "run"
    reads = []
    with pytest.MonkeyPatch.context() as patch:
        measure = outcome.measure
        patch.setattr(outcome, "measure", lambda *to: reads.append(to) or measure(*to))
        assert search.main(asked(folder)) == 0
    return RunFolder(folder), len(reads)


def rows(folder):
    return [json.loads(line) for line in running.table_path(folder).open()]


def test_the_best_of_all_trials_is_tested_once(searched):
    folder, reads = searched
    assert reads == 1
    table = rows(folder)
    assert [row["number"] for row in table] == [-1, 0, 1, 2, 3, 4, 5]
    summary = json.loads(folder.summary.read_text())
    values = {row["number"]: row["value"] for row in table}
    assert summary["best"]["value"] == max(values.values())
    assert summary["default"]["value"] == values[-1]
    assert 0 <= summary["test"]["accuracy"] <= 1
    alone = json.loads((folder.members / "best" / "summary.json").read_text())
    assert alone["metrics"]["validation"]["accuracy"] == pytest.approx(
        summary["best"]["value"], abs=0.04
    )


def test_a_search_leaves_tables_and_pictures(searched):
    folder, _ = searched
    text = (folder.path / "comparison.md").read_text()
    assert "default settings" in text
    assert "learning_rate" in text
    names = {path.name for path in folder.plots.iterdir()}
    assert names == {"parallel_coordinates.png", "progress.png"}  # few trials
    assert folder.report.read_text().count("data:image/png") == 2
    assert not folder.states.exists() or not any(folder.states.iterdir())


@pytest.mark.usefixtures("without_pictures")
def test_killed_and_resumed_gives_the_same_table(searched, asked, tmp_path, capsys):
    """Once between two programs, and once within one, which goes on where it was."""
    expected = running.table_path(searched[0]).read_bytes()
    folder = tmp_path / "killed"
    whole, calls = trials.train_together, []

    def killed(*given, **also):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*given, **also)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "train_together", killed)
        with pytest.raises(KeyboardInterrupt):
            search.main(asked(folder))
    assert len(rows(RunFolder(folder))) == 4

    def signalled(*given, **also):
        return whole(*given, **{**also, "interrupted": lambda: True})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "train_together", signalled)
        assert search.main(asked(folder)) == 130
    assert "go on with" in capsys.readouterr().out
    assert any((folder / "states").iterdir())
    assert search.main(asked(folder)) == 0
    assert running.table_path(RunFolder(folder)).read_bytes() == expected
    assert search.main(asked(folder)) == 0
    assert "finished" in capsys.readouterr().out


def test_trials_together_reach_what_they_reach_in_turn(asked):
    about = search.subject(
        "image_classification", asked("").settings, "learning_rate=log(1e-3,1e-2)"
    )
    some = [Asked(i, 0, {"learning_rate": rate}) for i, rate in enumerate((1e-3, 1e-2))]
    (program,) = search.programs(about, some)
    members = program.members()
    together = trials.train_together(program, members)
    in_turn = list(trials.train_in_turn(program, members))
    assert [t.step for t in together] == [t.step for t in in_turn]
    for one, other in zip(together, in_turn, strict=True):
        assert one.metrics == pytest.approx(other.metrics, rel=1e-4, abs=1e-5)


def test_which_names_are_numbers_is_found_and_not_listed(tiny):
    """A name of hyper is no number of the program where something else hangs on it."""
    space = (
        "learning_rate=log(1e-3,1e-1); dropout=uniform(0,0.5); "
        "label_smoothing=uniform(0,0.2); activation=choice(relu,tanh)"
    )
    about = search.subject("image_classification", f"dataset={tiny}; model=mlp", space)
    assert about.numbers == {"learning_rate", "dropout"}
    some = [
        Asked(i, 0, {**search._inside(about.space, 0.1 * i), "label_smoothing": 0.1})
        for i in range(10)
    ]
    programs = search.programs(about, some)
    assert sorted(len(program.asked) for program in programs) == [5, 5]


def test_steps_with_other_numbers_inside_are_other_programs(settings):
    build = image_classification.build
    one = build(settings(learning_rate=0.1))
    assert trials.same_program(one, build(settings(learning_rate=0.2)))
    assert not trials.same_program(one, build(settings(label_smoothing=0.1)))
    assert not trials.same_program(one, build(settings(dropout=0.0)))


def test_halving_shortens_runs(asked):
    about = search.subject("image_classification", asked("").settings, SPACE)
    steps = about.plan.steps
    short = about.trial(Asked(0, 0, {"learning_rate": 0.1}, share=1 / 3))
    assert short.max_steps == -(-steps // 3)
    assert about.trial(Asked(0, 0, {"learning_rate": 0.1})).max_steps == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"experiment": "image_clasification"}, "did you mean image_classification"),
        ({"space": "rate=log(1,2)"}, "--space is 'rate'"),
        ({"space": "epochs=log(1,2)"}, "--epochs is a whole number"),
        ({"space": "model=log(1,2)"}, "--model is no number"),
        ({"space": "seeds=int(1,2)"}, "nothing to search"),
        ({"settings": "modell=mlp"}, "did you mean model"),
        ({"settings": "model"}, "give NAME=VALUE"),
        ({"settings": "epochs=many"}, "epochs is 'many': give int"),
        ({"trials": 1}, "at least one trial a round"),
        ({"strategy": "grid"}, "--strategy is 'grid'"),
    ],
)
def test_wrong_settings_are_told_in_one_line(asked, tmp_path, change, message):
    with pytest.raises(ValueError, match=message) as error:
        search.main(asked(tmp_path / "run", **change))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
