"""What is told of a model that writes: exact matches, answers, attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.data.pairs import END, load
from jaxdl.models import create
from jaxdl.optimizers import make
from jaxdl.runs import translation
from jaxdl.train import create_state


@pytest.fixture(scope="module")
def data():
    return load("addition", examples=60)


@pytest.fixture(scope="module")
def model(data):
    sides = data.preprocess.sides
    sizes = {
        "classes": len(sides["target"].names),
        "vocabulary": len(sides["source"].names),
    }
    return create("lstm_attention_seq2seq", **sizes, width=4)


@pytest.fixture(scope="module")
def state(model, data):
    lengths = {name: side.length for name, side in data.preprocess.sides.items()}
    inputs = {name: jnp.zeros((1, n), jnp.int32) for name, n in lengths.items()}
    params = jax.jit(model.init)(jax.random.key(0), inputs)["params"]
    return create_state(params, make("sgd"), hyper={"learning_rate": 1.0})


def stored(data):
    return data.test.fetch(np.arange(data.test.size))


def oracle(data, wrong=()):
    """Writes what is right, but for these examples: there the first token twice."""
    held = stored(data)
    right = {row.tobytes(): t for row, t in zip(*held.values(), strict=True)}
    bad = {held["inputs"][i].tobytes() for i in wrong}

    def write(params, source):
        del params
        rows = []
        for row in np.asarray(source):
            target = np.array(right[row.tobytes()])
            if row.tobytes() in bad:
                target[1] = target[0]
                target[2] = END
            rows.append(target)
        return jnp.asarray(rows)

    return write


def test_exact_match_is_the_share_of_whole_answers_that_are_right(data, state):
    held = stored(data)
    doubled = [i for i, row in enumerate(held["targets"]) if row[0] == row[1]]
    wrong = [i for i in range(5) if i not in doubled][:2]
    evaluation = translation.with_exact_match(lambda *_: {}, oracle(data, wrong))
    size = len(held["inputs"])
    batch = {**held, "mask": np.ones(size, np.float32)}
    assert evaluation(state, batch)["exact_match"].read() == (size - 2) / size
    batch["mask"][wrong[0]] = 0.0
    found = evaluation(state, batch)["exact_match"]
    assert found.read() == pytest.approx((size - 2) / (size - 1))
    assert float(found.count) == size - 1


def test_wrong_answers_are_listed_with_what_is_right(data, model, state):
    held = stored(data)
    texts = data.preprocess
    source = texts.source.decode(held["inputs"])[1]
    right = texts.target.decode(held["targets"])[1]
    tokens = held["targets"].copy()
    tokens[1] = texts.target.encode(["77"])[0]
    found = translation.findings(model, texts, state, tokens, data.test)
    assert found.pictures["wrong_answers.txt"] == (
        f"1 of {len(tokens)} answers are wrong\n{source} -> 77 (wrong: {right})\n"
    )
    plain = create("lstm_seq2seq", classes=model.classes, vocabulary=3, width=2)
    inputs = {"source": held["inputs"][:1] * 0, "target": held["targets"][:1] * 0}
    params = jax.jit(plain.init)(jax.random.key(0), inputs)["params"]
    assert set(found.pictures) == {"wrong_answers.txt", "attention.png"}
    other = translation.findings(
        plain, texts, state.replace(params=params), tokens, data.test
    )
    assert set(other.pictures) == {"wrong_answers.txt"}


def test_attention_is_cut_to_the_characters_and_their_ends(data, model, state):
    held = stored(data)
    texts = data.preprocess
    maps, read, wrote = translation.attention(
        model, texts, state.params, held["inputs"][:3], held["targets"][:3]
    )
    sources = texts.source.decode(held["inputs"])
    targets = texts.target.decode(held["targets"])
    for i in range(3):
        assert "".join(read[i][:-1]) == sources[i]
        assert "".join(wrote[i][:-1]) == targets[i]
        assert maps[i].shape == (len(targets[i]) + 1, len(sources[i]) + 1)
        np.testing.assert_allclose(maps[i].sum(1), 1, rtol=1e-5)


def test_what_is_shown_is_what_is_answered(data, model, state):
    shown = translation.show(translation.writer(model, data.preprocess), data)(state)
    lines = shown["answers.txt"].splitlines()
    assert len(lines) == translation.EXAMPLES
    sources = [line.split(" -> ")[0] for line in lines]
    answers = translation.answers(model, data.preprocess, state.params, sources)
    for line, source, answer in zip(lines, sources, answers, strict=True):
        right = str(sum(map(int, source.split("+"))))
        told = "" if answer == right else f" (wrong: {right})"
        assert line == f"{source} -> {answer}{told}"
    with pytest.raises(ValueError, match="has 9 characters: at most 7 fit"):
        translation.answers(model, data.preprocess, state.params, ["1000+1000"])
