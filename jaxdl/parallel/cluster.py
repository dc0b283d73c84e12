"""Joining the other processes of a run: which they are, and whether they can be met.

What ``jax.distributed.initialize`` would abort the process for, minutes later and
in many lines, is looked at before.
"""

import contextlib
import dataclasses
import importlib.util
import ipaddress
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import jax

MODES = ("auto", "off", "on")

# How the launcher tells a process which one it is.
COORDINATOR, COUNT, INDEX = (
    "JAXDL_COORDINATOR",
    "JAXDL_PROCESS_COUNT",
    "JAXDL_PROCESS_ID",
)

# How long processes wait for one another to begin: queues start them minutes apart.
WAIT_SECONDS = 300

# When a process that waits for others says so.
SAY_AFTER_SECONDS = 10


@dataclasses.dataclass(frozen=True)
class Asked:
    """Which processes to train with, as flags say it.

    Attributes:
      mode: "auto" joins a cluster where there is one; "off" never; "on" must.
      coordinator: HOST:PORT at which process 0 listens; empty: not given.
      count: of the processes; 0: not given.
      index: of this one, from 0 on; -1: not given.
      heartbeat: seconds without a sign of life after which a process counts as dead.
    """

    mode: str = "auto"
    coordinator: str = ""
    count: int = 0
    index: int = -1
    heartbeat: int = 100


@dataclasses.dataclass(frozen=True)
class Address:
    """Where process 0 listens, and which process this is of how many."""

    host: str
    port: int
    count: int
    index: int

    @property
    def text(self) -> str:
        """``host:port``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def join(
    asked: Asked | None = None,
    environ: Mapping[str, str] | None = None,
    wait: float = WAIT_SECONDS,
) -> None:
    """Make this process one of those that train together, where it is.

    Must come before anything touches a device. Alone, it does nothing.

    Args:
      asked: what the flags say; by default, that a cluster is joined if there is one.
      environ: environment variables; the process's own by default.
      wait: seconds to wait for the others.

    Raises:
      ValueError: in one line, for flags that do not fit.
      OSError: in one line, when process 0 cannot listen or be reached.
    """
    asked = asked or Asked()
    environ = os.environ if environ is None else environ
    address = find(asked, environ)
    kind = "" if address or asked.mode == "off" else detect(environ, asked.mode)
    if address is not None and address.count > 1:
        bind = _bind(address, environ) if address.index == 0 else None
        whom = f"{address.count} processes at {address.text}"
        if address.index > 0:
            with _told(f"process 0 of {whom}", wait):
                _reach(address, wait)
        with _watched(whom, wait):
            _initialize(
                asked,
                wait,
                coordinator_address=address.text,
                num_processes=address.count,
                process_id=address.index,
                coordinator_bind_address=bind,
                cluster_detection_method="deactivate",
            )
    elif kind:
        with _watched(f"the processes of this {kind} job", wait):
            _initialize(asked, wait)


def find(asked: Asked, environ: Mapping[str, str]) -> Address | None:
    """What flags or the launcher say of the cluster; None where they say nothing.

    Raises:
      ValueError: in one line, for what does not fit together.
    """
    if asked.mode not in MODES:
        raise ValueError(f"--distributed={asked.mode}: give one of {', '.join(MODES)}.")
    if asked.heartbeat < 1:
        raise ValueError(f"--heartbeat={asked.heartbeat}: give a second or more.")
    given: dict[str, object] = {
        "--coordinator": asked.coordinator or None,
        "--process_count": asked.count or None,
        "--process_id": None if asked.index == -1 else asked.index,
    }
    if asked.mode == "off":
        return None
    if all(value is None for value in given.values()):
        given = {name: environ.get(name) for name in (COORDINATOR, COUNT, INDEX)}
    if all(value is None for value in given.values()):
        return None
    missing = [name for name, value in given.items() if value is None]
    if missing:
        raise ValueError(
            f"{', '.join(missing)} missing: {', '.join(given)} belong together."
        )
    coordinator, many, which = (f"{name}={value}" for name, value in given.items())
    host, port = _parse(coordinator)
    count = _number(many, "give the number of processes, 1 or more")
    if count < 1:
        raise ValueError(f"{many}: give the number of processes, 1 or more.")
    index = _number(which, f"{count} processes are numbered 0 to {count - 1}")
    if index >= count:
        raise ValueError(f"{which}: {count} processes are numbered 0 to {count - 1}.")
    return Address(host, port, count, index)


def _number(given: str, allowed: str) -> int:
    text = given.partition("=")[2]
    if not text.isdecimal():
        raise ValueError(f"{given}: {allowed}.")
    return int(text)


def _parse(given: str) -> tuple[str, int]:
    """Host and port of ``name=HOST:PORT``; an IPv6 address stands in brackets."""
    host, _, port = given.partition("=")[2].rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    good = bare and (":" not in bare or host.startswith("["))
    if not (good and port.isdecimal() and 0 < int(port) < 2**16):
        raise ValueError(
            f"{given}: give HOST:PORT of process 0, such as 10.0.0.1:1234."
        )
    return bare, int(port)


def detect(environ: Mapping[str, str], mode: str = "auto") -> str:
    """The kind of cluster that JAX will find out about by itself; empty where this
    process is alone. It looks at environment variables only, and takes no time.

    Raises:
      ValueError: mode "on", and there is none.
    """
    kind = _slurm(environ) or _mpi(environ) or _kubernetes(environ) or _tpu(environ)
    if mode == "on" and not kind:
        raise ValueError(
            "--distributed=on, but neither SLURM, Open MPI, Kubernetes (with "
            "pip install 'jax[k8s]') nor a Cloud TPU started this process: give "
            "--coordinator, --process_count and --process_id, or use jaxdl.launch."
        )
    return kind


def _slurm(environ: Mapping[str, str]) -> str:
    # Only what srun starts has a node list; a shell in an allocation is alone.
    names = ("JOB_ID", "STEP_NODELIST", "NTASKS", "PROCID", "LOCALID")
    found = all(f"SLURM_{name}" in environ for name in names)
    return "SLURM" if found and environ["SLURM_NTASKS"] != "1" else ""


def _mpi(environ: Mapping[str, str]) -> str:
    found = "OMPI_MCA_orte_hnp_uri" in environ
    alone = environ.get("OMPI_COMM_WORLD_SIZE", "1") == "1"
    return "Open MPI" if found and not alone else ""


def _kubernetes(environ: Mapping[str, str]) -> str:
    # An indexed job; any other pod is alone.
    names = ("KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX")
    if not all(name in environ for name in names):
        return ""
    return "Kubernetes" if importlib.util.find_spec("kubernetes") else ""


def _tpu(environ: Mapping[str, str]) -> str:
    # JAX sets the first when it is imported on a Cloud TPU machine.
    if "TPU_ML_PLATFORM" not in environ:
        return ""
    workers = environ.get("TPU_PROCESS_ADDRESSES") or environ.get(
        "TPU_WORKER_HOSTNAMES"
    )
    several = "," in workers if workers else "TPU_SKIP_MDS_QUERY" not in environ
    return "Cloud TPU" if several else ""


def _initialize(asked: Asked, wait: float, **arguments: object) -> None:
    # SIGTERM stays with Python: runs agree on where to stop by themselves.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        initialization_timeout=int(wait) + 60,
        heartbeat_timeout_seconds=asked.heartbeat,
        **arguments,  # type: ignore[arg-type]
    )


def _bind(address: Address, environ: Mapping[str, str]) -> str | None:
    """The one address of this machine on which process 0 is to listen; None leaves it
    to JAX: all of them.

    Raises:
      OSError: it cannot listen there.
    """
    if "JAX_COORDINATOR_BIND_ADDRESS" in environ:
        return None
    family, place = _resolve(address)[0]
    local = ipaddress.ip_address(place[0]).is_loopback
    if local and not _names_loopback(address.host):
        return None  # many a machine's own name means 127.0.1.1, to itself alone
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(place)
        except OSError as error:
            raise OSError(
                f"process 0 cannot listen at {address.text} ({error.strerror}): "
                "--coordinator must name its machine and a free port."
            ) from error
    return dataclasses.replace(address, host=place[0]).text


def _names_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _resolve(address: Address) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise OSError(
            f"the coordinator's host {address.host!r} is not known here "
            f"({error.strerror})."
        ) from error
    return [(row[0], (str(row[4][0]), int(row[4][1]))) for row in found]


def _reach(address: Address, wait: float) -> None:
    """Return when process 0 listens.

    Raises:
      OSError: it does not within the time.
    """
    deadline = time.monotonic() + wait
    while True:
        try:
            with socket.create_connection((address.host, address.port), timeout=5):
                return
        except OSError as error:
            # Also a name that is not known yet: it may belong to a pod to come.
            if time.monotonic() > deadline:
                raise OSError(
                    f"nobody answered at {address.text} for {wait:g} seconds "
                    f"({error.strerror or error}): is process 0 running, and may its "
                    "port be reached from here?"
                ) from error
        time.sleep(0.2)


@contextlib.contextmanager
def _watched(whom: str, wait: float) -> Iterator[None]:
    """While inside: when the time is over, a line and the end, before JAX aborts."""

    def give_up() -> None:
        print(
            f"not all of {whom} came within {wait:g} seconds: were all started?",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)

    with _told(f"all of {whom}", wait), _after(wait, give_up):
        yield


def _told(whom: str, wait: float) -> contextlib.AbstractContextManager[None]:
    """While inside: after a while, a line that says for whom this process waits."""
    line = f"waiting for {whom}, up to {wait:g} seconds"
    return _after(SAY_AFTER_SECONDS, lambda: print(line, file=sys.stderr, flush=True))


@contextlib.contextmanager
def _after(seconds: float, call: Callable[[], None]) -> Iterator[None]:
    """Calls, where it still is inside after so many seconds."""
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
