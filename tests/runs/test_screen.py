"""What a run prints: its tables, result and progress line."""

import io
import subprocess
import sys
from types import SimpleNamespace

import jax
import pytest
from rich.console import Console

from jaxdl.runs import screen
from jaxdl.runs.progress_line import progress

HOSTILE = "[red]cat[/red] :smile: \x1b[31m\x07"


def plain(width=100):
    return Console(file=io.StringIO(), width=width, markup=True, emoji=True)


def terminal(width=60):
    return Console(
        file=io.StringIO(), width=width, force_terminal=True, _environ={"TERM": "xterm"}
    )


def printed(to):
    return to.file.getvalue()


def dataset(**change):
    parts = {name: SimpleNamespace(size=size) for name, size in SIZES.items()}
    about = {"name": "digits", "classes": ("0", "1"), "input_shape": (8, 8, 1)}
    return SimpleNamespace(**parts | about | change)


SIZES = {"train": 1077, "validation": 360, "test": 361}
LAYERS = [
    ("Conv_0", "Convolution", (64, 8, 8, 32), 320),
    ("Dense_0", "Dense", (64, 10), 20490),
]


def test_the_model_table_has_a_row_a_layer_and_the_sum():
    to = plain()
    screen.model_table(LAYERS, to)
    lines = [line.split("  ") for line in printed(to).splitlines()]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert ["Conv_0", "Convolution", "64 x 8 x 8 x 32", "320"] in rows
    assert ["all", "20,810"] in rows


def test_the_data_table_counts_every_part():
    to = plain()
    screen.data_table(dataset(), to)
    for wanted in ("data digits", "1,077", "360", "361", "8 x 8 x 1", "2: 0, 1"):
        assert wanted in printed(to)


def test_data_without_classes_and_with_many():
    assert screen.describe_data(dataset(classes=None))["classes"] is None
    assert screen.classes_text(None) == "-"
    assert screen.classes_text(list("abc"), limit=2) == "3: a, b, ..."


def test_the_state_table_adds_up_the_bytes():
    to = plain()
    rows = [("params/w", (3, 4), "float32", 48), ("step", (), "int32", 4)]
    screen.state_table(rows, to)
    assert "3 x 4" in printed(to)
    assert "scalar" in printed(to)
    assert "52" in printed(to)


def test_the_start_shows_model_data_and_devices():
    to = plain()
    task = SimpleNamespace(layers=lambda: LAYERS, data=dataset())
    screen.show_start(task, SimpleNamespace(devices=jax.devices()), to)
    assert "Conv_0" in printed(to)
    assert "1,077" in printed(to)
    assert f"devices {jax.device_count()} x cpu" in printed(to)


@pytest.mark.parametrize(
    ("loaded", "off", "compiler", "line"),
    [
        (True, False, True, "compiled kernels for attention"),
        (False, True, True, "compiled kernels left out (JAXDL_KERNELS=off)"),
        (False, False, True, "no compiled kernels: python -m jaxdl.kernels makes"),
        (False, False, False, ""),
    ],
)
def test_a_line_says_which_compiled_kernels_there_are(
    loaded, off, compiler, line, monkeypatch
):
    monkeypatch.setattr(screen.kernels, "load", lambda: loaded)
    monkeypatch.setattr(screen.kernels, "switched_off", lambda: off)
    monkeypatch.setattr(screen.kernels, "buildable", lambda: compiler)
    to = plain(200)
    screen.kernels_line(to)
    assert printed(to).count("\n") == bool(line)
    assert printed(to).startswith(line)


def test_names_from_strangers_are_neither_markup_nor_escape_sequences():
    for to in (plain(200), terminal(200)):
        screen.data_table(dataset(name=HOSTILE, classes=[HOSTILE]), to)
        screen.model_table([(HOSTILE, HOSTILE, (1,), 1)], to)
        screen.result_table({HOSTILE: 1.0}, {HOSTILE: {HOSTILE: 2.0}}, to=to)
        with progress(10, 5, "accuracy", to) as line:
            line.update(5, {HOSTILE: 0.5}, check=True)
        assert r"[red]cat[/red] :smile: \x1b[31m\x07" in printed(to)
        assert "\x1b[31m" not in printed(to)
        assert "\x07" not in printed(to)


def test_the_result_stands_beside_the_baselines():
    to = plain(40)
    test = {"loss": 0.05, "accuracy": 0.9861}
    baselines = {
        "majority": {"accuracy": 0.1011},
        "logistic": {"accuracy": 0.9639, "loss": 0.2},
        "other": {"loss": 1.0},
    }
    screen.result_table(test, baselines, "loss", "/runs/a/report.html", to)
    # Wider than the screen, and one line all the same: it can be copied.
    assert printed(to).splitlines() == [
        "test accuracy 98.61% | majority 10.11% | logistic 96.39%",
        "test loss 0.05",
        "report /runs/a/report.html",
    ]


def test_no_test_metrics_print_nothing():
    to = plain()
    screen.result_table({}, {"majority": {"accuracy": 0.1}}, to=to)
    assert printed(to) == ""


def test_json_mode_leaves_stdout_alone(capsys):
    screen.model_table(LAYERS, screen.console(json=True))
    screen.data_table(dataset(), screen.console())
    out, err = capsys.readouterr()
    assert "Conv_0" in err
    assert "Conv_0" not in out
    assert "digits" in out


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


VALUES = {
    "accuracy": 0.98123,
    "loss": 0.0421345,
    "learning_rate": 1e-3,
    "examples_per_second": 52310.2,
    "best": 0.9861,
    "best_step": 1000,
}


def test_plain_lines_are_spaced_in_time_and_never_miss_a_check_or_the_end():
    to, clock = plain(), Clock()
    with progress(1000, 100, "accuracy", to, every_seconds=10, clock=clock) as line:
        for step in range(100, 1000, 100):
            clock.now += 4
            line.update(step, {"loss": 1.0}, check=step == 200)
    steps = [text.split("/")[0] for text in printed(to).splitlines()]
    # At 4 s the first; at 8 s a check; 18 s is past at 20 s, 30 s at 32 s; the last.
    assert steps == ["step 100", "step 200", "step 500", "step 800", "step 900"]
    assert "\x1b" not in printed(to)


def test_the_line_tells_everything():
    to, clock = plain(10), Clock()
    with progress(5000, 250, "accuracy", to, clock=clock) as line:
        line.update(1000, VALUES)
        clock.now = 30.0
        line.update(2000, {"loss": 0.5}, check=True)
    assert printed(to).splitlines()[-1] == (
        "step 2,000/5,000  epoch 8.0  loss 0.5  accuracy 98.12%  "
        "best accuracy 98.61% at 1,000  rate 0.001  52,310 examples/s  left 1:30"
    )


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_on_a_terminal_no_line_is_wider_than_the_screen(width):
    to = terminal(width)
    with progress(5000, 250, "accuracy", to) as line:
        line.update(1000, VALUES)
        lines = line.text(width).splitlines()
    assert "  ".join(lines).startswith("step 1,000/5,000  epoch 4.0")
    assert all(len(text) <= width or "  " not in text for text in lines)


def test_the_terminal_is_given_back_after_ctrl_c():
    to = terminal()

    def interrupted():
        with progress(10, 5, "loss", to) as line:
            line.update(3, {"loss": 0.25})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    hidden, shown = "\x1b[?25l", "\x1b[?25h"
    assert printed(to).count(hidden) == printed(to).count(shown) == 1
    assert printed(to).rindex(shown) > printed(to).rindex(hidden)
    assert "loss 0.25" in printed(to)


def test_time_left_is_unknown_at_first_and_nothing_at_the_end():
    clock = Clock()
    with progress(10, 5, "loss", plain(), clock=clock) as line:
        line.update(4)
        assert "left" not in line.text(200)
        clock.now = 2.0
        line.update(6)
        assert line.seconds_left() == pytest.approx(4.0)
        line.update(10)
        assert line.seconds_left() == 0.0


def test_importing_the_room_imports_nothing_heavy_and_touches_no_device():
    names = ("folder", "flagfile", "writers", "summary", "environment", "screen")
    names += ("progress_line", "plots", "report", "analysis", "text")
    code = (
        "import importlib, sys, jax\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(f'jaxdl.runs.{name}')\n"
        "heavy = {'matplotlib', 'tensorboardX', 'tensorflow', 'sklearn', 'PIL'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "from jax._src import xla_bridge\n"
        "print(xla_bridge.backends_are_initialized())\n"
    )
    run = [sys.executable, "-c", code]
    out = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert out == "[]\nFalse\n"
