"""Baselines of writing one text from another: answers that nobody has learned."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from jaxdl.data.dataset import Dataset
from jaxdl.data.drawn_pairs import MONTHS
from jaxdl.data.source import Source
from jaxdl.train.task import Figures

# Comparing the test part with more would take longer than it tells.
NEAREST_EXAMPLES = 20_000
_AT_ONCE = 500


def pairs(data: Dataset) -> dict[str, Figures]:
    """The share of test targets that are met exactly, by

    - ``majority``: the most frequent training target;
    - ``copy``: the source itself;
    - ``nearest``: the target of the training source that is most alike (cosine of
      counts of neighbouring characters, weighted by rarity, among the first 20,000);
    - ``month_first``, for dates: a fixed rule, ``month_first_date``.
    """
    train, targets = _texts(data, data.train)
    asked, right = _texts(data, data.test)
    most_frequent, _ = Counter(targets).most_common(1)[0]
    answers = {
        "majority": [most_frequent] * len(asked),
        "copy": asked,
        "nearest": [targets[i] for i in nearest(train[:NEAREST_EXAMPLES], asked)],
    }
    if data.name == "dates":
        answers["month_first"] = [month_first_date(source) for source in asked]
    return {
        name: {"exact_match": float(np.mean(np.array(given) == np.array(right)))}
        for name, given in answers.items()
    }


def _texts(data: Dataset, part: Source) -> tuple[list[str], list[str]]:
    """The sources and the targets of a part."""
    stored, texts = part.fetch(np.arange(part.size)), data.preprocess
    return texts.source.decode(stored["inputs"]), texts.target.decode(stored["targets"])


def nearest(known: Sequence[str], asked: Sequence[str]) -> np.ndarray:
    """[asked], which of the known texts shares most pairs of characters with each."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    # Rows are of length one, so that their products are cosines. Marked ends make
    # two pairs of a text of one character.
    counts = TfidfVectorizer(
        analyzer="char",
        ngram_range=(2, 2),
        preprocessor=lambda text: f"\x02{text}\x03",
        dtype=np.float32,
    )
    columns, rows = counts.fit_transform(known).T.tocsr(), counts.transform(asked)
    return np.concatenate(
        [
            (rows[start : start + _AT_ONCE] @ columns).toarray().argmax(axis=1)
            for start in range(0, len(asked), _AT_ONCE)
        ]
    )


def month_first_date(text: str) -> str:
    """A date in ISO 8601 by one rule: four digits are the year, a name is the month,
    and of two further numbers the first is the month, as it is in America."""
    text = re.sub(r"^(\d{4})(\d\d)(\d\d)$", r"\1/\2/\3", text)
    numbers = re.findall(r"\d+", text)
    year = next((n for n in numbers if len(n) == 4), "")
    rest = [n for n in numbers if n != year]
    for number, name in enumerate(MONTHS, 1):
        if name[:3] in text:
            rest.insert(0, str(number))
    month, day = (int(n) for n in (rest + ["0", "0"])[:2])
    return f"{year}-{month:02}-{day:02}"
