"""The comparison of initializers and shortcuts: one command, tables and pictures."""

import dataclasses
import json
import math
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

from experiments import architectures
from jaxdl import data as data_room
from jaxdl import models, train

TINY = architectures.Settings(
    initializers="zeros,normal,normal:0.01,xavier,he",
    units=16,
    mlp_steps=20,
    mlp_rate=0.05,
    depths="20",
    resnet_steps=3,
    batch_size=32,
    seeds=2,
)
NAMES = ["zeros", "normal", "normal:0.01", "xavier", "he"]


@pytest.fixture(scope="module")
def digits():
    return architectures.build(TINY)


@pytest.fixture(scope="module")
def initializers(digits):
    data, (family, _) = digits
    return architectures.train_family(data, family, say=lambda line: None)


def test_command_leaves_a_complete_run_folder(tmp_path, capsys, monkeypatch):
    # ResNet-20 takes long to compile; its small sibling says as much here.
    small = partial(models.ResNet, stages=(1,), channels=4)
    monkeypatch.setitem(models.MODELS, "resnet20", small)
    monkeypatch.setitem(models.MODELS, "plain20", partial(small, shortcut="none"))
    folder = tmp_path / "run"
    settings = dataclasses.replace(
        TINY,
        initializers="he",
        hidden_layers=1,
        mlp_steps=3,
        seeds=1,
        workdir=str(folder),
        json=True,
    )
    assert architectures.main(settings) == 0
    printed = json.loads(capsys.readouterr().out)
    kept = json.loads((folder / "comparison.json").read_text())
    assert {k: v for k, v in printed.items() if k != "report"} == kept
    mlp, resnet = (list(family["networks"]) for family in kept["families"])
    assert mlp == ["he"]
    assert resnet == ["resnet20", "plain20"]
    text = (folder / "comparison.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + 1 + 2  # headings, initializers, shortcuts
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png") == 2
    assert "resnet20" in page
    assert (folder / "flags.txt").is_file()
    with pytest.raises(ValueError, match="another --workdir"):
        architectures.main(settings)


def test_zero_initializer_leaves_hidden_units_identical(initializers):
    outcome = initializers["zeros"]
    assert outcome.identical.all()
    assert (outcome.dead == 1).all()
    np.testing.assert_allclose(outcome.start, math.log(10), rtol=1e-6)
    # Only the output's biases learn, which know no more than class frequencies.
    np.testing.assert_allclose(outcome.curve, math.log(10), atol=5e-3)


def test_table_has_a_row_for_every_network(digits, initializers):
    family = digits[1][0]
    (table,) = architectures.Comparison([(family, initializers)]).tables()
    assert [row[0] for row in table.rows] == NAMES
    assert all(len(row) == len(table.columns) and all(row) for row in table.rows)
    assert "identical, 100% dead" in table.rows[0][-1]
    assert " ± " in table.rows[-1][1]


def test_other_initializers_break_the_symmetry(initializers):
    for name in NAMES[1:]:
        assert not initializers[name].identical.any(), name
        assert np.ptp(initializers[name].deviations[:, 0]) > 0, name  # seeds differ
        assert (initializers[name].dead < 1).all(), name


def test_spread_by_layer_is_what_theory_says(initializers):
    """Of n units, N(0, s) multiplies the deviation by about s sqrt(n / 2) a layer."""
    for name, expected in {
        "normal": math.sqrt(16 / 2),
        "normal:0.01": 0.01 * math.sqrt(16 / 2),
        "xavier": math.sqrt(1 / 2),
        "he": 1.0,
    }.items():
        deviations = initializers[name].deviations
        factor = (deviations[:, -1] / deviations[:, 0]) ** (1 / 4)
        np.testing.assert_allclose(np.mean(factor), expected, rtol=0.35, err_msg=name)


def test_members_of_one_program_equal_separate_runs(digits, initializers):
    """5e-5 relative: XLA may sum in another order where members are batched."""
    data, (family, _) = digits
    for name in ("normal:0.01", "he"):
        network = family.networks[name]
        for seed in range(family.seeds):
            rows: list[tuple[int, str, Any]] = []
            train.fit(
                jax.jit(network.create)(seed),
                network.step,
                data_room.feed(data.train, family.batch_size, seed=0),
                steps=family.steps,
                evaluate=lambda state: {"loss": 0.0},
                evaluate_every=2,
                watch=train.Watch(metrics=lambda *row, to=rows: to.append(row)),
            )
            losses = [values["loss"] for _, part, values in rows if part == "train"]
            np.testing.assert_allclose(
                initializers[name].curve[seed], losses, rtol=5e-5, err_msg=name
            )


def test_shortcuts_add_no_parameters(digits):
    _, (_, family) = digits
    sizes = {
        name: sum(
            leaf.size for leaf in jax.tree.leaves(jax.eval_shape(n.create, 0).params)
        )
        for name, n in family.networks.items()
    }
    assert sizes["resnet20"] == sizes["plain20"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"initializers": "zeros,hee"}, "unknown initializer 'hee'"),
        ({"depths": "21"}, "--depths has '21'"),
        ({"depths": "", "initializers": ""}, "both empty"),
        ({"seeds": 0}, "--seeds is 0"),
        ({"mlp_rate": float("nan")}, "--mlp_rate"),
        ({"batch_size": 5000}, "--batch_size is 5000"),
        ({"split_seed": -1}, "--split_seed is -1"),
    ],
)
def test_wrong_settings_are_told_in_one_line(change, message):
    with pytest.raises(ValueError, match=message) as error:
        architectures.build(dataclasses.replace(TINY, **change))
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.first
def test_default_comparison_shows_what_the_notes_describe():
    # Of three seeds one: README's table has them all.
    data, families = architectures.build(architectures.Settings(seeds=1))
    found = architectures.compare(data, families, say=lambda line: None)
    (_, mlp), (_, resnet) = found.families
    last = {name: outcome.curve[:, -1] for name, outcome in {**mlp, **resnet}.items()}
    for stuck in ("zeros", "normal:0.01"):
        np.testing.assert_allclose(last[stuck], math.log(10), atol=5e-3)
        assert (mlp[stuck].validation < 0.2).all()
    assert not np.isfinite(last["normal"]).any()
    assert (last["he"] < last["xavier"]).all()
    assert (last["xavier"] < 0.2).all()
    # Not their test accuracies: of one seed they may tie, as rounding decides.
    assert last["resnet20"].max() < 0.2 * last["plain20"].min()
