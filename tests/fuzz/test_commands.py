"""Command lines of any content: settings that build, or one line; nothing else happens.

The fast suite tries a few hundred, the slow drill thousands.
"""

import dataclasses
import random
import time
from pathlib import Path

import numpy as np
import pytest
from absl import flags as absl_flags

from experiments import common, flags, gan, saved
from jaxdl.parallel import cluster
from jaxdl.runs import folder
from jaxdl.runs.machine import Machine
from tests.experiments.shared import stripes
from tests.fuzz.test_files import SLOWEST, listing

# What ``flags.run`` ends in a line for.
ALLOWED = (ValueError, OSError, RuntimeError, ImportError, MemoryError)

NUMBERS = ("-1", "0", "1", "2", "-0", "3.5", "1e999", "-inf", "nan", "1e-320", "1e30")
NUMBERS += ("0_2", "0x1F", "٣", "²", "2147483647", "2147483648", "4294967296")
NUMBERS += ("-9" + "9" * 20, "9" * 30, "9" * 5_000, "1e6", "1000000", "")
TEXTS = (
    " ",
    "\t",
    "a\nb",
    "a\r",
    "\0",
    "\x1b[31m",
    "\x9b31m",
    "\udcff",
    "é\u2028",
    "İ",
)
TEXTS += ("x" * 300, "x" * 100_000, "-", "--", "=", ",", ",,", ":", "::", ";", "%s{}")
TEXTS += ("(", "[", "*", "(?P<a>", "(x+)+$", ".*", "RUN:(", "nowhere:params/.*")
TEXTS += (".", "..", "../..", "/", "/dev/null", "~", "~nobody:x", "a/../../b", "//")
TEXTS += ("True", "none", "None", "auto", "must", "never", "__import__", "os.system")
TEXTS += ("csv:", "csv:.", "csv:/dev/null", "csv:\0", "npz:", "npz:.", "npz:~", "text:")
TEXTS += ("folder:", "folder:.", "folder:/dev", "folder:\udcff", "text:/", "x:y:z")
TEXTS += ("64,", "64,,64", "-1,2", "99999999,99999999", "9" * 20 + ",2", "1,٣", "0,0")
TEXTS += ("1:", ":1", "24:1", "-5:3", "0:0", "1:99999999999", "1:2:3", "50/50", "1/1/1")
TEXTS += ("nan/1/1", "0/0/0", "-1/100/1", "101/0/0", "1e9/1/1", "shift=", "shift=-1")
TEXTS += ("shift=99999999999999999999", "mixup=nan", "flip,flip", "rotation=inf", "=1")
TEXTS += ("normal:", "normal:nan", "normal:-1", "uniform:1e999", "shift=1,rotation=5")
TEXTS += ("data:", "data:0", "data:-1", "data:1", "data:9", "data:1,model:1", "model:x")
TEXTS += ("data:1,data:1", "localhost:1", "[::1]:1", "1.2.3.4:99999", "host:", ":1234")
# Data sets whose reading takes seconds.
DEAR = ("stdlib_docstrings", "stdlib_imports", "stdlib", "addition", "dates")

EXPERIMENTS = saved.EXPERIMENTS


def fields(module):
    return [field.name for field in dataclasses.fields(module.Settings)]


def own_values():
    """The defaults of all flags, which another flag may be given by mistake."""
    found = {
        str(field.default)
        for module in EXPERIMENTS.values()
        for field in dataclasses.fields(module.Settings)
    }
    return sorted(found - set(DEAR))


POOL = (*NUMBERS, *TEXTS, *own_values())


@pytest.fixture(scope="session")
def sound(tmp_path_factory):
    """For each experiment flags that build quickly, on small files."""
    place = tmp_path_factory.mktemp("sound")
    images, labels = stripes(60)
    np.savez(place / "images.npz", images=images, labels=labels)
    rows = "".join(f"{i},{i * i % 7},{i % 3}\n" for i in range(90))
    (place / "table.csv").write_text(f"a,b,c\n{rows}")
    mails = "".join(f"so {i} it goes,{'ab'[i % 2]}\n" for i in range(60))
    (place / "mails.csv").write_text(f"text,label\n{mails}")
    sums = "".join(f"{i}+1,{i + 1}\n" for i in range(60))
    (place / "pairs.csv").write_text(f"source,target\n{sums}")
    (place / "text.txt").write_text("It was the best of times. " * 60)
    small = {"batch_size": "8", "epochs": "2", "max_steps": "0"}
    pictures = {"dataset": f"npz:{place / 'images.npz'}", **small}
    table = {"dataset": f"csv:{place / 'table.csv'}", "target": "c", **small}
    return {
        "image_classification": {**pictures, "model": "mlp"},
        "vae": pictures,
        "gan": pictures,
        "tabular": table,
        "forecasting": {**table, "window": "4", "horizon": "2"},
        "text_classification": {"dataset": f"csv:{place / 'mails.csv'}", **small},
        "language_model": {
            "dataset": f"text:{place / 'text.txt'}",
            **small,
            "context": "8",
            "width": "8",
            "layers": "1",
            "heads": "2",
        },
        "sequence_to_sequence": {
            "dataset": f"csv:{place / 'pairs.csv'}",
            **small,
            "width": "8",
            "heads": "2",
            "layers": "1",
        },
    }


def build(name, settings):
    """All that a command does before its first step and its first file; of a GAN what
    it does before its classifier trains."""
    module = EXPERIMENTS[name]
    cluster.find(common.asked(settings), {})
    asked = common.request(name, settings)
    path = Path(settings.workdir or folder.default_workdir(name))
    if asked.standing(path) != "new":
        return
    if name == gan.NAME:
        gan.check(settings)
        return
    if settings.seeds > 1:
        common.seed_members(settings, module.build)
    Machine.of(*common.built(settings, module.build))


def drawn(draw, name, sound):
    """A command line: sound flags, some of them with other values."""
    settings = EXPERIMENTS[name].Settings
    given = dict(sound[name])
    for flag in draw.sample(fields(EXPERIMENTS[name]), draw.choice((1, 1, 1, 2, 3))):
        numeric = type(getattr(settings, flag)) in (int, float)
        given[flag] = draw.choice(NUMBERS if numeric and draw.random() < 0.8 else POOL)
    return [name, *(f"--{flag}={value}" for flag, value in given.items())]


def line_of(name, argv, then):
    """The line that a command line ends in, or "" where it does not."""
    try:
        settings = flags.read(
            EXPERIMENTS[name].Settings, argv, values=absl_flags.FlagValues()
        )
    except (absl_flags.Error, OSError, ValueError) as error:
        return flags.told(name, error)
    try:
        then(name, settings)
    except ALLOWED as error:
        return flags.told(name, error)
    return ""


def drill(name, sound, count, tmp_path, monkeypatch):
    """Try so many command lines; how many were refused."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    # Nothing of the home folder's data sets is to be looked through.
    monkeypatch.setenv("HOME", str(home))
    before, draw, refused = listing(tmp_path), random.Random(f"7 {name}"), 0
    for _ in range(count):
        argv = drawn(draw, name, sound)
        began = time.process_time()
        line = line_of(name, argv, build)
        assert line.isprintable(), argv
        assert line != f"{name}: ", argv
        assert time.process_time() - began < SLOWEST, argv
        refused += line != ""
    assert listing(tmp_path) == before
    return refused


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_command_line_builds_or_is_refused(name, sound, tmp_path, monkeypatch):
    assert 0 < drill(name, sound, 15, tmp_path, monkeypatch) <= 15


# In a quiet minute in all: a model that is large to trace is tried less often.
COUNTS = {"gan": 2_000, "language_model": 100, "sequence_to_sequence": 50}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_thousands_of_command_lines(name, sound, tmp_path, monkeypatch):
    count = COUNTS.get(name, 250)
    assert 0 < drill(name, sound, count, tmp_path, monkeypatch) < count


@pytest.mark.slow
def test_ten_thousand_flags_are_read_or_refused(tmp_path, monkeypatch):
    """Any flag of any experiment with any value of the pool; nothing is built."""
    monkeypatch.chdir(tmp_path)
    draw, refused = random.Random(7), 0
    for _ in range(10_000):
        name = draw.choice(list(EXPERIMENTS))
        flag = draw.choice(fields(EXPERIMENTS[name]))
        argv = [name, f"--{flag}={draw.choice(POOL)}"]
        line = line_of(name, argv, lambda _, settings: common.check(settings))
        assert line.isprintable(), argv
        refused += line != ""
    assert 0 < refused < 10_000
    assert listing(tmp_path) == []
