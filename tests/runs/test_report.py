"""The report: one page, self-contained, from the folder alone, safe to open."""

import base64
import json
import os
from html.parser import HTMLParser

import numpy as np
import pytest

from jaxdl.runs import plots, writers
from jaxdl.runs.flagfile import write_flagfile
from jaxdl.runs.folder import create, write_json
from jaxdl.runs.report import write_report
from jaxdl.runs.summary import summarize, write_summary

HOSTILE = "<script>alert(1)</script><img src=x onerror='alert(2)'>\"&\ud800\x1b"
ALLOWED = {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p"}
ALLOWED |= {"div", "table", "tr", "th", "td", "figure", "img", "figcaption"}


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data.strip())


def outcome(**change):
    return summarize(
        **{
            "experiment": "image_classification",
            "status": "early_stopped",
            "step": 100,
            "best_step": 80,
            "monitor": "loss",
            "metrics": {
                "test": {"loss": 0.06, "accuracy": 0.9861},
                "train": {"loss": 0.01, "gradient_norm": 3.0},
            },
            "baselines": {"majority": {"accuracy": 0.1011}},
            "parameters": 20810,
            "examples_per_second": 31020.0,
            "compile_seconds": 1.2,
            "wall_seconds": 63.2,
        }
        | change
    )


@pytest.fixture
def run(tmp_path):
    folder = create(tmp_path / "run")
    write_flagfile(folder.flags, {"dataset": "digits", "learning_rate": 1e-3})
    about = {"name": "digits", "examples": {"train": 1077}, "input_shape": [8, 8, 1]}
    layers = [("Conv_0", "Convolution", (64, 8, 8, 32), 320)]
    write_json(folder.model, {"data": about, "layers": layers})
    write_json(
        folder.environment, {"versions": {"jax": "0.10.1"}, "command": ["a", "b"]}
    )
    writers.SpeedLog(folder.speed).append(1, {"steps_per_second": 321.0})
    write_summary(folder.summary, outcome())
    plots.image_grid(np.zeros((1, 2, 2, 1)), folder.plots / "samples_of_mine.png")
    return folder


def test_the_page_holds_all_of_the_folder(run):
    path = write_report(run)
    assert path == run.report
    page = Page(path.read_text())
    for words in (
        "image_classification",
        "test accuracy 98.61% | majority 10.11%",
        "learning_rate",
        "0.001",
        "Conv_0",
        "64 x 8 x 8 x 32",
        "1,077",
        "versions jax",
        "0.10.1",
        "a b",
        "321",
        "Samples of mine.",
    ):
        assert words in page.words, words
    assert "Left out" not in page.words
    assert "gradient_norm" not in page.words


def test_what_went_wrong_stands_below_the_outcome(run):
    write_summary(run.summary, outcome(warnings=["checkpoint 3 <is> damaged"]))
    assert "checkpoint 3 <is> damaged" in Page(write_report(run).read_text()).words


def test_the_page_needs_nothing_from_elsewhere(run):
    page = Page(write_report(run.path).read_text())
    sources = [value for name, value in page.attributes if name in ("src", "href")]
    (source,) = sources
    kind, data = source.split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == next(run.plots.iterdir()).read_bytes()
    assert set(page.tags) <= ALLOWED


def test_it_is_rebuilt_the_same(run):
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


def test_every_text_of_a_stranger_is_escaped(run):
    hostile = HOSTILE.encode("utf-8", "replace").decode()
    write_flagfile(run.flags, {"dataset": hostile})
    names = {"name": hostile, "examples": {hostile: 1}, "input_shape": hostile}
    layers = [[hostile, hostile, hostile, 1]]
    write_json(run.model, {"data": {**names, "classes": [hostile]}, "layers": layers})
    run.environment.write_text(json.dumps({"experiment": HOSTILE, HOSTILE: HOSTILE}))
    writers.SpeedLog(run.speed).append(2, {hostile: 1.0})
    metrics = {"test": {hostile: 0.5}}
    baselines = {hostile: {hostile: 0.5}}
    given = {"experiment": hostile, "monitor": hostile}
    write_summary(run.summary, outcome(metrics=metrics, baselines=baselines, **given))
    (run.plots / "samples_of_mine.png").rename(run.plots / "<script>alert(3)<.png")
    page = Page(write_report(run).read_text())
    assert set(page.tags) <= ALLOWED
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert sum("<script>" in words for words in page.words) >= 10


def test_links_out_of_the_folder_are_not_followed(run, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(json.dumps({"password": "hunter2"}))
    run.environment.unlink()
    run.environment.symlink_to(secret)
    picture = tmp_path / "private.png"
    plots.image_grid(np.ones((1, 2, 2, 1)), picture)
    (run.plots / "private.png").symlink_to(picture)
    text = write_report(run).read_text()
    assert "hunter2" not in text
    assert base64.b64encode(picture.read_bytes()).decode() not in text
    assert "environment.json leads out of the folder." in text
    assert "plots/private.png is no picture of this folder." in text


def test_a_report_that_is_a_link_is_replaced_not_written_through(run, tmp_path):
    target = tmp_path / "target"
    target.write_text("keep")
    run.report.symlink_to(target)
    write_report(run)
    assert target.read_text() == "keep"
    assert not run.report.is_symlink()


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"3",
        b"\xff",
        b'{"data": [], "layers": 3}',
        b'{"data": {"examples": [], "classes": {}}, "layers": [1, [1, 2, 3, "x"]]}',
        b'{"metrics": 1e999}',
        b'{"a":' * 400 + b"1" + b"}" * 400,
        b"[" * 10_000,
        b"9" * 10_000,
    ],
)
@pytest.mark.parametrize("name", ["summary", "model", "environment", "flags", "speed"])
def test_broken_files_are_left_out_and_the_rest_is_shown(run, name, content):
    getattr(run, name).write_bytes(content + b"\n")
    page = Page(write_report(run).read_text())
    assert "Samples of mine." in page.words
    if name == "summary":
        assert "Left out" in page.words
        assert "This run has no outcome yet." in page.words


def test_what_is_no_picture_is_left_out(run):
    (run.plots / "page.png").write_text("<svg onload='alert(1)'/>")
    os.mkfifo(run.plots / "pipe.png")
    page = Page(write_report(run).read_text())
    assert page.tags.count("img") == 1
    assert "plots/page.png is no picture of this folder." in page.words


def test_a_run_that_only_began_has_a_report(tmp_path):
    folder = create(tmp_path / "run")
    write_flagfile(folder.flags, {"epochs": 3})
    page = Page(write_report(folder).read_text())
    assert "This run has no outcome yet." in page.words
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        write_report(tmp_path / "none")
