"""Files of any content: read as data, or refused in one line; nothing else happens.

The fast suite tries a few hundred, the slow drill ten thousand.
"""

import io
import json
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxdl import data
from jaxdl.data import language, pairs, series_sets, table_sets, text_sets
from jaxdl.runs import flagfile, folder, summary

ALLOWED = (ValueError, OSError, RuntimeError)
SLOWEST = 10.0  # seconds of computing: nothing may hang

ODD = (b"\0", b"\xff\xfe", b"\x1b[31m", b"nan", b"1e999", b"-1", b'"', b",")
ODD += (b"\n", b"\r", "²İ\u2028".encode())


def spoil(draw, content):
    """Bytes with a few changes: flipped, cut, repeated, or with odd ones put in."""
    content = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(content) + 1)
        kind = draw.randrange(5)
        if kind == 0 and content:
            content[place % len(content)] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del content[place:]
        elif kind == 2:
            content[place:place] = content[: draw.randrange(64)]
        elif kind == 3:
            content[place:place] = draw.choice(ODD)
        else:
            del content[place : place + draw.randrange(32)]
    return bytes(content)


def read_npz(path):
    return data.load(f"npz:{path}")


def read_folder(path):
    place = path.parent / "pictures"
    for label in "ab":
        (place / label).mkdir(parents=True, exist_ok=True)
        for i in range(3):
            shutil.copy(path, place / label / f"{i}.png")
    return data.load(f"folder:{place}")


def read_table(path):
    return table_sets.divide(table_sets.read(f"csv:{path}", "c"))


READERS = {
    "npz": read_npz,
    "png": read_folder,
    "table": read_table,
    "series": lambda path: series_sets.text_columns(f"csv:{path}"),
    "texts": lambda path: text_sets.read(f"csv:{path}"),
    "pairs": lambda path: pairs.load(f"csv:{path}"),
    "text": lambda path: language.load(f"text:{path}", context=8),
    "flags": flagfile.read_flagfile,
    "json": folder.read_json,
    "summary": summary.read_summary,
}


def seeds():
    """A sound file for each reader."""
    draw = np.random.default_rng(0)
    archive, image = io.BytesIO(), io.BytesIO()
    pixels = draw.integers(0, 255, (40, 3, 3, 1)).astype(np.uint8)
    np.savez(archive, x=pixels, y=np.arange(40) % 2)
    Image.fromarray(pixels[0, ..., 0]).save(image, "PNG")
    rows = "".join(f"{i},{i * i % 7},{i % 3}\n" for i in range(40))
    mails = "".join(f"so {i} it goes,{i % 2}\n" for i in range(40))
    sums = "".join(f"{i}+1,{i + 1}\n" for i in range(40))
    about = summary.summarize(
        experiment="vae",
        status="completed",
        step=3,
        best_step=2,
        monitor="loss",
        metrics={"test": {"loss": 1.0}},
        baselines={},
        parameters=7,
        examples_per_second=None,
        compile_seconds=None,
        wall_seconds=1.0,
    )
    found = {
        "table": f"a,b,c\n{rows}",
        "series": f"a,b,c\n{rows}",
        "texts": f"text,label\n{mails}",
        "pairs": f"source,target\n{sums}",
        "text": "It was the best of times, it was the worst of times.\n" * 20,
        "flags": "# a run\n--dataset=digits\n--learning_rate=0.001\n",
        "json": '{"a": [1, 2.5, "x"], "b": {"c": null}}',
        "summary": json.dumps(about),
    }
    texts = {name: text.encode() for name, text in found.items()}
    return {"npz": archive.getvalue(), "png": image.getvalue(), **texts}


def listing(place):
    return sorted(str(path) for path in Path(place).rglob("*"))


def drill(name, count, tmp_path, monkeypatch):
    """Read so many spoilt files; how many were refused."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    path, draw, refused = tmp_path / "file", random.Random(7), 0
    sound = seeds()[name]
    path.write_bytes(sound)
    READERS[name](path)
    before = listing(tmp_path)
    for _ in range(count):
        content = spoil(draw, sound)
        path.write_bytes(content)
        began, line = time.process_time(), None
        try:
            READERS[name](path)
        except ALLOWED as error:
            refused, line = refused + 1, str(error)
        assert line is None or (line and "\n" not in line), content
        assert time.process_time() - began < SLOWEST, content
    assert listing(tmp_path) == before
    assert listing(home) == []
    return refused


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("name", READERS)
def test_a_file_of_any_content_is_read_or_refused(name, tmp_path, monkeypatch):
    assert drill(name, 40, tmp_path, monkeypatch) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_ten_thousand_files(name, tmp_path, monkeypatch):
    assert drill(name, 1_000, tmp_path, monkeypatch) > 0
