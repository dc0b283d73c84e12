"""The launcher: prefixes, exit codes, signals, and what it cannot start."""

import os
import signal
import subprocess
import sys
import time

import pytest

from jaxdl import launch


def start(code, processes=2, *options):
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "jaxdl.launch", f"--processes={processes}"),
            *(*options, "--", "python", "-c", code),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(code, processes=2, *options):
    began = time.monotonic()
    process = start(code, processes, *options)
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 30
    return process.returncode, sorted(out.splitlines()), err.splitlines()


ME = "import os, signal, sys, time; me = int(os.environ['JAXDL_PROCESS_ID'])\n"


def test_each_is_told_who_it_is_and_its_lines_bear_its_number():
    code, out, err = run(
        ME + "print('one', os.environ['JAXDL_PROCESS_COUNT'])\n"
        "print(os.environ['XLA_FLAGS'].split()[-1])\n"
        "sys.stderr.write('no end of line')",
        2,
        "--devices_per_process=3",
    )
    flag = "--xla_force_host_platform_device_count=3"
    assert code == 0
    assert out == sorted(f"[{n}] {text}" for n in (0, 1) for text in ("one 2", flag))
    assert sorted(err) == ["[0] no end of line", "[1] no end of line"]


@pytest.mark.parametrize(
    ("end", "code", "fate"),
    [
        ("sys.exit(3)", 3, "ended with exit code 3"),
        ("os.kill(os.getpid(), 9)", 137, "was killed by SIGKILL"),
    ],
)
def test_when_one_fails_all_end(end, code, fate):
    given, _, err = run(ME + f"if me == 1: {end}\ntime.sleep(60)")
    assert given == code
    assert err == [f"jaxdl.launch: process 1 {fate}; the others were ended too."]


def test_what_jax_aborts_with_is_one_line():
    code, _, err = run(
        ME + "if me == 1:\n"
        f"    print('F9 {launch._ABORT.decode()} errors.', file=sys.stderr)\n"
        "    print('***\\n    @ 0x7f', file=sys.stderr, flush=True)\n"
        "    os.kill(os.getpid(), 6)\n"
        "time.sleep(60)"
    )
    assert code == 134
    alone, end = err
    assert alone == f"[1] {launch._ALONE.decode().strip()}"
    assert end.startswith("jaxdl.launch: process 1 was killed by SIGABRT; ")


def test_an_error_that_all_have_is_not_said_again():
    assert run(ME + "sys.exit(2)") == (2, [], [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_all(number):
    process = start(
        ME + f"signal.signal({int(number)}, lambda *_: sys.exit({128 + number}))\n"
        "print('up')\ntime.sleep(60)"
    )
    for _ in range(2):
        assert process.stdout.readline().endswith("up\n")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (128 + number, "", "")


def test_a_second_signal_ends_those_that_do_not_listen():
    process = start(
        ME + "signal.signal(signal.SIGTERM, lambda *_: print('no'))\n"
        "print('up')\nwhile True: time.sleep(1)"
    )
    for said in ("up\n", "no\n"):
        for _ in range(2):
            assert process.stdout.readline().endswith(said)
        process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 137


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--processes=2"], "nothing to start"),
        (["--processes=0", "--", "x"], "cannot start 0 processes"),
        (["--processes=9999", "--", "x"], "cannot start 9999 processes here"),
        (["--devices_per_process=0", "--", "x"], "--devices_per_process=0: give 1"),
        (["--", "no_such_command"], "cannot start no_such_command: No such file"),
    ],
)
def test_what_cannot_be_started_is_said_in_a_line(arguments, message, capfd):
    assert launch.main(arguments) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("jaxdl.launch: ")
    assert message in line


def test_virtual_devices_replace_those_that_were_asked_for(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", f"{launch._VIRTUAL}=8 --xla_dump_to=here")
    given = launch.variables_of(1, 4, "127.0.0.1:5", devices=2)
    assert given["XLA_FLAGS"].split() == ["--xla_dump_to=here", f"{launch._VIRTUAL}=2"]
    assert given["JAXDL_COORDINATOR"] == "127.0.0.1:5"
    assert (given["JAXDL_PROCESS_ID"], given["JAXDL_PROCESS_COUNT"]) == ("1", "4")
    assert given["PATH"] == os.environ["PATH"]
    assert launch.variables_of(0, 1, "a:1")["XLA_FLAGS"] == os.environ["XLA_FLAGS"]
