"""Start a command as several processes of this machine that train together.

  python -m jaxdl.launch --processes=2 -- python -m experiments.image_classification

Each line they print is passed on behind its process's number. When one ends in
failure the others are ended too; started again, the same command goes on from the
newest checkpoint. Ctrl-C and SIGTERM are passed on. The exit code is that of the
first to fail.
"""

import argparse
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from jaxdl.hardware import cpu_count, memory_bytes

# What a small training process takes; more of them than that only wait for each other.
PROCESSES_PER_CORE, BYTES = 4, 2**29

# How long processes may take to end when they are asked to, before they are made to.
GRACE_SECONDS = 5.0

_VIRTUAL = "--xla_force_host_platform_device_count"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the launcher; the exit code."""
    asked = _parser().parse_args(arguments)
    command = asked.command[1:] if asked.command[:1] == ["--"] else asked.command
    wrong = _wrong(asked, command)
    if wrong:
        _say(wrong)
        return 2
    if command[0] in ("python", "python3"):  # the one with jaxdl in it
        command = [sys.executable, *command[1:]]
    coordinator = f"127.0.0.1:{free_port()}"
    started: list[subprocess.Popen[bytes]] = []
    with _forwarding(started) as forwarded:
        with contextlib.ExitStack() as printing:
            printing.callback(_end, started)
            for number in range(asked.processes):
                variables = variables_of(
                    number, asked.processes, coordinator, asked.devices_per_process
                )
                try:
                    started.append(_start(command, variables))
                except OSError as error:
                    _say(f"cannot start {command[0]}: {error.strerror}")
                    return 2
                printing.callback(_passing_on(number, started[-1]))
            code, told = _wait(started, forwarded)
            _end(started)
        if told:
            _say(told)  # last, below what they printed
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        usage="python -m jaxdl.launch [--processes=N] [--devices_per_process=N] "
        "-- COMMAND...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--processes", type=int, default=2, help="how many (2)")
    parser.add_argument(
        "--devices_per_process", type=int, help="virtual CPU devices of each"
    )
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, help="what to start, after --"
    )
    return parser


def _wrong(asked: argparse.Namespace, command: Sequence[str]) -> str:
    """What cannot be started, and what can; empty where all is well."""
    most, devices = most_processes(), asked.devices_per_process
    if not command:
        return "nothing to start: give the command after --, such as -- python -m X."
    if devices is not None and devices < 1:
        return f"--devices_per_process={devices}: give 1 or more."
    if not 1 <= asked.processes <= most:
        return (
            f"cannot start {asked.processes} processes here: {cpu_count()} cores and "
            f"their memory do for --processes=1 to {most}."
        )
    return ""


def most_processes() -> int:
    """How many training processes this machine has cores and memory for."""
    memory = memory_bytes()
    by_memory = memory // BYTES if memory else sys.maxsize
    return max(1, min(PROCESSES_PER_CORE * cpu_count(), by_memory))


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def variables_of(
    number: int, count: int, coordinator: str, devices: int | None = None
) -> dict[str, str]:
    """The environment of a process: which one it is, where the others are."""
    variables = {
        **os.environ,
        "JAXDL_COORDINATOR": coordinator,
        "JAXDL_PROCESS_COUNT": str(count),
        "JAXDL_PROCESS_ID": str(number),
        "PYTHONUNBUFFERED": "1",
    }
    if devices is not None:
        others = re.sub(rf"{_VIRTUAL}=\S+", "", variables.get("XLA_FLAGS", ""))
        variables["XLA_FLAGS"] = f"{others} {_VIRTUAL}={devices}".strip()
    return variables


def _start(command: Sequence[str], variables: dict[str, str]) -> Any:
    # A session of its own: Ctrl-C reaches the launcher alone, which passes it on.
    return subprocess.Popen(
        command,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _passing_on(number: int, process: "subprocess.Popen[bytes]") -> Any:
    """Passes on what the process prints, behind its number; the function returned
    waits until all of it is."""
    threads = [
        threading.Thread(target=_copy, args=(number, source, sink), daemon=True)
        for source, sink in (
            (process.stdout, sys.stdout.buffer),
            (process.stderr, sys.stderr.buffer),
        )
    ]
    for thread in threads:
        thread.start()

    def finish() -> None:
        for thread in threads:
            thread.join(GRACE_SECONDS)

    return finish


_WRITING = threading.Lock()


# How JAX begins what it prints of the end of a process that misses another; a stack
# of its C++ follows.
_ABORT = b"Terminating process because the JAX distributed service detected fatal"
_ALONE = (
    b"another process of this run is silent or gone, and so JAX ends this one; started "
    b"again, all with the same command, they go on from the newest checkpoint\n"
)


def _copy(number: int, source: IO[bytes], sink: IO[bytes]) -> None:
    ended = False
    for line in source:
        if ended:
            continue  # read all the same: a full pipe would hold the process up
        if ended := _ABORT in line:
            line = _ALONE
        with _WRITING, contextlib.suppress(BrokenPipeError):
            sink.write(
                b"[%d] %s" % (number, line if line[-1:] == b"\n" else line + b"\n")
            )
            sink.flush()


@contextlib.contextmanager
def _forwarding(started: "list[subprocess.Popen[bytes]]") -> Iterator[list[int]]:
    """While inside, signals go to all processes, the second one as SIGKILL."""
    caught: list[int] = []

    def forward(number: int, _frame: object) -> None:
        caught.append(number)
        for process in started:
            _signal(process, signal.SIGKILL if len(caught) > 1 else number)

    before = {n: signal.signal(n, forward) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(
    started: "list[subprocess.Popen[bytes]]", forwarded: list[int]
) -> tuple[int, str]:
    """Returns when all have ended, or some time after one ended in failure: the exit
    code of the first that did, and what there is to say of it."""
    first, fate, deadline = 0, "", float("inf")
    while True:
        codes = [process.poll() for process in started]
        failed = [(number, code) for number, code in enumerate(codes) if code]
        if failed and not first:
            number, code = failed[0]
            first = code if code > 0 else 128 - code
            fate = f"process {number} {_fate(code)}{_silent(started)}"
            # Asked to stop, all agree on a step, save and end by themselves.
            deadline = time.monotonic() + (GRACE_SECONDS if forwarded else 1.0)
        if None not in codes:
            alike = len(set(codes)) == 1
            return first, "" if alike else f"{fate}."
        if time.monotonic() > deadline:
            return first, f"{fate}; the others were ended too."
        time.sleep(0.05)


def _silent(started: "list[subprocess.Popen[bytes]]") -> str:
    """Which processes are stopped: the others end for want of a sign of their life."""
    stopped = []
    for number, process in enumerate(started):
        with contextlib.suppress(OSError):
            about = Path(f"/proc/{process.pid}/stat").read_text()
            if about.rpartition(")")[2].split()[0] in ("T", "t"):
                stopped.append(f"process {number}")
    return f" while {' and '.join(stopped)} did not run (SIGSTOP)" if stopped else ""


def _fate(code: int) -> str:
    if code > 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"


def _end(started: "list[subprocess.Popen[bytes]]") -> None:
    """Ask those that still run to end, then make them."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in started:
            _signal(process, number)
        deadline = time.monotonic() + GRACE_SECONDS
        for process in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))


def _signal(process: "subprocess.Popen[bytes]", number: int) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def _say(line: str) -> None:
    with _WRITING:
        print(f"jaxdl.launch: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
