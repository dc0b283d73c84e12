"""Tables by name, and their division into parts and folds."""

import numpy as np
import pytest
from sklearn import datasets

from jaxdl.data import table_sets

TRUE = {
    "diabetes": lambda: datasets.load_diabetes(scaled=False),
    "breast_cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
}


@pytest.fixture
def write(tmp_path):
    """Writes a CSV file; its name as a data set."""

    def make(text, name="table.csv"):
        (tmp_path / name).write_text(text)
        return f"csv:{tmp_path / name}"

    return make


def mixed(rows, seed=0):
    """The text of a table with numbers, text, missing cells and a class."""
    rng = np.random.default_rng(seed)
    lines = ["x,colour,y"]
    for _ in range(rows):
        x = "" if rng.random() < 0.2 else f"{rng.normal():.3f}"
        lines.append(f"{x},{rng.choice(['red', 'blue'])},{rng.choice(['no', 'yes'])}")
    return "\n".join(lines)


@pytest.mark.parametrize("name", table_sets.EMBEDDED)
def test_embedded_tables_are_scikit_learns(name):
    rows, true = table_sets.read(name), TRUE[name]()
    values = np.column_stack(list(rows.columns.values()))
    np.testing.assert_array_equal(values, true.data)
    target = rows.target
    if target.kind == "regression":
        np.testing.assert_array_equal(target.values, true.target.astype(np.float32))
    else:
        named = [target.classes[i] for i in target.values]
        assert named == [str(true.target_names[i]) for i in true.target]


def test_parts_are_standardised_by_the_training_part_alone():
    data = table_sets.divide(table_sets.read("wine"), split_seed=1)
    sizes = {name: part.size for name, part in data.parts.items()}
    assert sizes == {"train": 106, "validation": 36, "test": 36}
    train = data.train.arrays["inputs"]
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(train.std(0), 1, atol=1e-5)
    assert np.abs(data.test.arrays["inputs"].mean(0)).max() > 1e-3
    assert data.input_shape == (13,) == (len(data.preprocess.features),)
    for part in data.parts.values():  # every part has its share of each class
        share = np.bincount(part.arrays["targets"], minlength=3) / part.size
        np.testing.assert_allclose(share, [59 / 178, 71 / 178, 48 / 178], atol=0.03)


def test_every_row_is_tested_in_exactly_one_fold(write):
    rows = table_sets.read(write(mixed(50)), "y")
    folds = table_sets.folds(rows, 4, split_seed=2)
    assert [fold.test.size for fold in folds] == [13, 13, 12, 12]
    tested = np.concatenate([fold.test.arrays["targets"] for fold in folds])
    np.testing.assert_array_equal(np.sort(tested), np.sort(rows.target.values))
    assert len({fold.preprocess.features for fold in folds}) == 1
    assert len({fold.preprocess for fold in folds}) == 4  # the numbers are its own
    shares = [fold.test.arrays["targets"].mean() for fold in folds]
    assert max(shares) - min(shares) < 0.1
    again = table_sets.folds(rows, 4, split_seed=2)
    for one, other in zip(folds, again, strict=True):
        a, b = one.train.arrays["inputs"], other.train.arrays["inputs"]
        np.testing.assert_array_equal(a, b)


def test_other_rows_are_preprocessed_as_the_runs_own(write):
    own = table_sets.divide(table_sets.read(write(mixed(40)), "y"))
    name = write("y,colour,more,x\nyes,red,1,0.5\nno,green,2,\n", "other.csv")
    other = table_sets.other_rows(name, own)
    inputs = own.preprocess.apply({"x": [0.5, None], "colour": ["red", "green"]})
    np.testing.assert_array_equal(other.test.arrays["inputs"], inputs)
    np.testing.assert_array_equal(other.test.arrays["targets"], [1, 0])
    assert (other.train.size, other.classes) == (2, own.classes)


def test_columns_may_be_ignored_and_small_budgets_stream(write):
    rows = table_sets.read(write(mixed(30)), "y", ignore=["colour"])
    data = table_sets.divide(rows, memory_budget=0)
    assert data.preprocess.features == ("x", "x is missing")
    assert data.train.arrays is None
    assert data.train.fetch(np.array([2, 0]))["inputs"].shape == (2, 2)


def test_rows_in_two_parts_are_told(write, caplog):
    with caplog.at_level("WARNING"):
        table_sets.divide(table_sets.read(write("x,y\n" + "1,a\n2,b\n" * 10), "y"))
    assert "are also in the training part" in caplog.text


@pytest.mark.parametrize(
    ("text", "target", "words"),
    [
        (mixed(20), "", "--target is missing: the columns are x, colour, y"),
        (mixed(20), "z", "--target=z: the columns are x, colour, y"),
        (mixed(5), "y", "holds 5 rows: at least 10 are needed"),
        (mixed(20) + "\n1,red", "y", "line 22: 2 cells, but the header names 3"),
        ("x,y\n" + "1.5,a\n" * 20, "y", "all 20 targets y are 'a'"),
        ("x,y\n" + "1,a\n1,b\n" * 10, "y", "no column is left to learn from: x"),
    ],
)
def test_a_bad_table_is_one_line(write, text, target, words):
    with pytest.raises(ValueError, match=words) as caught:
        table_sets.read(write(text), target)
    assert "\n" not in str(caught.value)


def test_names_that_are_no_tables_are_one_line(write):
    for name in ("mnist", "csv:", "folder:x"):
        with pytest.raises(ValueError, match="unknown: give diabetes, breast_cancer"):
            table_sets.read(name)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        table_sets.read("csv:/missing.csv", "y")
    with pytest.raises(ValueError, match="--ignore=z: the columns are x, colour, y"):
        table_sets.read(write(mixed(20)), "y", ignore=["z"])
