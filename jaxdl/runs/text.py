"""How names and numbers are put into words, for the screen, plots and report."""

import math

# Shares of one, which people read in percent.
PERCENT = frozenset(
    {
        "accuracy",
        "top5_accuracy",
        "precision",
        "recall",
        "f1",
        "exact_match",
        "class_coverage",
        "knn_accuracy",
    }
)
SPLITS = ("train", "validation", "test")
# The metric an outcome is told by, where no monitor says which.
_OUTCOMES = (
    "accuracy",
    "roc_auc",
    "f1",
    "exact_match",
    "bits_per_character",
    "perplexity",
    "mae",
    "rmse",
    "negative_elbo",
    "frechet_distance",
    "loss",
)


def bare(name: str) -> str:
    """A metric's name without its split: ``validation_accuracy`` -> ``accuracy``."""
    for split in SPLITS:
        if name.startswith((f"{split}_", f"{split} ")):
            return name[len(split) + 1 :]
    return name


def outcome(metrics: dict[str, float], monitor: str | None = None) -> str | None:
    """The name of the metric that tells the outcome best; None when there is none.

    The first of accuracy, ROC AUC, ..., loss that was measured, for a test of
    images is read by its accuracy though its loss was monitored.
    """
    wanted = bare(monitor or "")
    preferred = () if wanted in ("", "loss") else (wanted,)
    for name in (*preferred, *_OUTCOMES):
        if name in metrics:
            return name
    return next(iter(metrics), None)


def value_text(name: str, value: object) -> str:
    """A metric's value as people read it: ``98.61%``, ``0.04213``, ``3``, ``nan``."""
    if isinstance(value, bool) or value is None:
        return "-" if value is None else str(value).lower()
    if isinstance(value, str):
        return printable(value)
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return printable(value)
    if not math.isfinite(number):
        return str(number)
    if bare(name) in PERCENT:
        return f"{100 * number:.2f}%"
    if number == int(number) and abs(number) < 1e15:
        return f"{int(number):,}"
    return f"{number:,.0f}" if abs(number) >= 1e4 else f"{number:.4g}"


def duration_text(seconds: float) -> str:
    """A time in seconds as ``0:42``, ``12:05`` or ``3:04:09``; ``-`` if unknown."""
    if not math.isfinite(seconds) or seconds < 0:
        return "-"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minute:02}:{second:02}"
    return f"{minute}:{second:02}"


def shape_text(shape: object) -> str:
    """A shape as ``28 x 28 x 1``; ``scalar`` for the empty one."""
    if not isinstance(shape, tuple | list):
        return printable(shape)
    return " x ".join(printable(size) for size in shape) or "scalar"


def printable_lines(text: str) -> str:
    """As ``printable``, for a text whose lines and tabs are to be seen as such."""
    return "".join(
        character
        if character.isprintable() or character in "\n\t"
        else repr(character)[1:-1]
        for character in text
    )


def printable(value: object, limit: int = 200) -> str:
    """Text fit for a screen: control characters escaped, cut at ``limit``.

    File and class names come from anywhere; an escape sequence in one must not
    reach the terminal.
    """
    text = "".join(
        character if character.isprintable() else repr(character)[1:-1]
        for character in str(value)
    )
    return text if len(text) <= limit else text[: limit - 3] + "..."
