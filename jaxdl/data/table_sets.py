"""Tables by name, and how they are divided: into three parts, or into folds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from jaxdl.data import splits, tables
from jaxdl.data.csv_files import column, read_csv
from jaxdl.data.dataset import MEMORY_BUDGET, Dataset, warn_of_repeats
from jaxdl.data.embedded import scikit_learn_file
from jaxdl.data.source import in_memory
from jaxdl.data.targets import Target, target_of, values_of

# Fewer can't be divided into parts that say anything.
LEAST_ROWS = 10

TextColumns = dict[str, list[str]]


@dataclass(frozen=True, eq=False)
class Rows:
    """A table that was read, before it is divided.

    Attributes:
      name: as the user wrote it.
      columns: those to learn from, read by ``tables.parse``.
      target: what is to be told from them.
    """

    name: str
    columns: tables.Parsed
    target: Target


def read(
    name: str, target: str = "", kind: str = "auto", ignore: Sequence[str] = ()
) -> Rows:
    """A table by name.

    Args:
      name: one of ``EMBEDDED``, or "csv:PATH".
      target: name of the column to be told; an embedded table has one of its own.
      kind: of the target, one of ``targets.KINDS`` or "auto".
      ignore: columns not to learn from.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: in one line, a table or target that cannot be used.
    """
    columns, own = text_columns(name)
    target = target or own
    cells = column(columns, target, "target")
    for wrong in (n for n in ignore if n not in columns):
        raise ValueError(f"--ignore={wrong}: the columns are {', '.join(columns)}")
    if len(cells) < LEAST_ROWS:
        raise ValueError(
            f"{name} holds {len(cells)} rows: at least {LEAST_ROWS} are needed"
        )
    left = {k: v for k, v in columns.items() if k not in {target, *ignore}}
    told = target_of(target, cells, kind)
    return Rows(name, tables.parse(left), told)


def text_columns(name: str) -> tuple[TextColumns, str]:
    """The columns of the table of that name, and its target where it is embedded.

    Raises:
      FileNotFoundError, ValueError: there is none, or it is broken.
    """
    if name in EMBEDDED:
        return EMBEDDED[name]()
    prefix, _, path = name.partition(":")
    if prefix != "csv" or not path:
        raise ValueError(
            f"--dataset={name} is unknown: give {', '.join(EMBEDDED)}, or csv:PATH "
            "with --target=COLUMN"
        )
    return read_csv(path), ""


def divide(
    rows: Rows,
    validation_fraction: float | None = None,
    split_seed: int = 0,
    memory_budget: float = MEMORY_BUDGET,
) -> Dataset:
    """Training, validation and test part, preprocessed by what was fitted on the
    training part. Classes are shared out evenly, as in data sets of images.

    Args:
      rows: of the whole table.
      validation_fraction: of all rows; by the rule of ``jaxdl.data.splits`` if None.
      split_seed: what the division depends on, and nothing else.
      memory_budget: bytes of a part that may be kept on the device.

    Raises:
      ValueError: a part would be empty.
    """
    size = len(rows.target.values)
    sizes = splits.split_sizes(size, False, validation_fraction)
    parts = splits.split(size, sizes, split_seed, _labels(rows))
    return _dataset(rows, parts, memory_budget)


def folds(
    rows: Rows,
    count: int,
    validation_fraction: float | None = None,
    split_seed: int = 0,
    memory_budget: float = MEMORY_BUDGET,
) -> list[Dataset]:
    """The data sets of a cross-validation: every row is tested in exactly one.

    Rows are shuffled by the split seed (a file is often sorted). A fold's test part
    is one of ``count`` parts; its validation part is cut from the rest, of which the
    fraction is. All folds have the same features (see ``tables``).

    Raises:
      ValueError: fewer than 2 folds, more than rows, or a part would be empty.
    """
    size = len(rows.target.values)
    labels = _labels(rows)
    found = []
    for number, (rest, test) in enumerate(
        splits.kfold(size, count, split_seed, labels)
    ):
        train, validation, _ = splits.split_sizes(len(rest), True, validation_fraction)
        parts = splits.split(
            len(rest),
            (train, validation, 0),
            split_seed,
            None if labels is None else labels[rest],
        )
        named = replace(rows, name=f"{rows.name}, fold {number}")
        indices = (rest[parts[0]], rest[parts[1]], test)
        found.append(_dataset(named, indices, memory_budget))
    return found


def other_rows(name: str, own: Dataset, target: str = "") -> Dataset:
    """Another table with the columns of a data set, preprocessed as that was; all of
    its rows are the test part, and the other parts as well.

    Raises:
      FileNotFoundError, ValueError: it cannot be read, a column is missing, or a
        target is of no known class.
    """
    columns, _ = text_columns(name)
    target = target or own.preprocess.target
    values = values_of(target, column(columns, target, "target"), own.classes)
    source = in_memory(own.preprocess.apply(columns), values)
    return replace(own, name=name, train=source, validation=source, test=source)


def _labels(rows: Rows) -> np.ndarray | None:
    """Class indices to share out evenly; None where there are none, or chance does."""
    values = rows.target.values
    few = len(values) <= splits.STRATIFY_UP_TO
    return values if rows.target.classes and few else None


def _dataset(
    rows: Rows, parts: tuple[np.ndarray, ...], memory_budget: float
) -> Dataset:
    """The data set of indices of training, validation and test rows."""
    table = tables.fit(rows.columns, rows.target.name, parts[0])
    train, validation, test = (
        in_memory(
            table.apply({name: cells[part] for name, cells in rows.columns.items()}),
            rows.target.values[part],
            memory_budget,
        )
        for part in parts
    )
    warn_of_repeats(rows.name, train, validation, test)
    return Dataset(
        name=rows.name,
        train=train,
        validation=validation,
        test=test,
        classes=rows.target.classes,
        input_shape=(len(table.features),),
        preprocess=table,
    )


def diabetes() -> tuple[TextColumns, str]:
    """442 patients, ten measures each, and how far the disease has progressed a year
    later (Efron et al. 2004), in the measures' own units."""
    names = ["age", "sex", "bmi", "blood_pressure", "s1", "s2", "s3", "s4", "s5", "s6"]
    columns = _named(names, _table("diabetes_data_raw.csv.gz", None))
    (progression,) = _named(["p"], _table("diabetes_target.csv.gz", None)).values()
    return {**columns, "progression": progression}, "progression"


def breast_cancer() -> tuple[TextColumns, str]:
    """569 tumours by 30 measures of their cells' nuclei: benign or malignant
    (Wolberg et al. 1995). Malignant is the positive class."""
    measures = (
        *("radius", "texture", "perimeter", "area", "smoothness", "compactness"),
        *("concavity", "concave_points", "symmetry", "fractal_dimension"),
    )
    names = [f"{m}_{of}" for of in ("mean", "error", "worst") for m in measures]
    return _with_classes("breast_cancer.csv", names, "diagnosis")


def wine() -> tuple[TextColumns, str]:
    """178 wines of three growers by 13 chemical measures (Forina et al. 1988)."""
    names = [
        "alcohol",
        "malic_acid",
        "ash",
        "alcalinity",
        "magnesium",
        "phenols",
        "flavanoids",
        "nonflavanoid_phenols",
        "proanthocyanins",
        "color_intensity",
        "hue",
        "od280_od315",
        "proline",
    ]
    return _with_classes("wine_data.csv", names, "grower")


# Name to the columns, all as text, and the name of the target's.
EMBEDDED: dict[str, Callable[[], tuple[TextColumns, str]]] = {
    "diabetes": diabetes,
    "breast_cancer": breast_cancer,
    "wine": wine,
}


def _table(file: str, separator: str | None) -> list[list[str]]:
    """The cells of a file that scikit-learn carries, by row."""
    text = scikit_learn_file(file)
    if text is None:
        raise FileNotFoundError(
            f"scikit-learn is not installed, or without its {file}: install it, or "
            "give --dataset=csv:PATH"
        )
    return [line.split(separator) for line in text.splitlines() if line.strip()]


def _named(names: Sequence[str], rows: Sequence[Sequence[str]]) -> TextColumns:
    return {
        n: list(cells) for n, cells in zip(names, zip(*rows, strict=True), strict=True)
    }


def _with_classes(
    file: str, names: Sequence[str], target: str
) -> tuple[TextColumns, str]:
    """Columns of a file whose first row is rows, features and class names, and whose
    last column is the class's number."""
    first, *rows = _table(file, ",")
    columns = _named([*names, target], rows)
    columns[target] = [first[2 + int(cell)] for cell in columns[target]]
    return columns, target
